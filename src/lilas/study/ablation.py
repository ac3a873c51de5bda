"""Which trainings of autoencoders are compared: alike but for the optimiser and initialisation."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from pydantic import Field

from lilas.settings import Model
from lilas.study.study import Study

# What a training may set differently because its optimiser is another.
OF_OPTIMIZER = (
    "optimizer",
    "learning_rate",
    "betas",
    "weight_decay",
    "precondition_every",
    "precondition_size",
)


class Variant(Model):
    """One of several entries of autoencoders that are alike but for optimiser and initialisation.

    Those of one `group` are: it names the settings that its groups differ in, with their values.
    """

    entry: str = Field(description="Its name.")
    seeds: list[int] = Field(description="Of its trainings.")
    group: str = Field(description="What else it is, where others are compared too.")
    identity_init: bool | None = Field(description="None where an architecture has no such choice.")
    optimizer: dict[str, Any] = Field(description="The optimiser and its own settings.")


def variants(study: Study, swept: Collection[str] = ()) -> dict[str, list[Variant]]:
    """Returns by dataset the trained autoencoders that are compared; datasets without have none.

    They are those of which another differs in optimiser or initialisation alone, and those of
    sweeps.

    Args:
        study: The study.
        swept: Names of the autoencoders that sweeps made.
    """
    found = {}
    for dataset in study.datasets:
        groups: dict[str, list[Variant]] = defaultdict(list)
        others: dict[str, dict[str, Any]] = {}
        for name, entry in study.entries("autoencoders", dataset).items():
            if not entry.is_trained:
                continue
            settings = flat(entry.model.model_dump(mode="json"))
            settings["weights"] = entry.weights
            own = {key: settings.pop(f"train.{key}") for key in OF_OPTIMIZER}
            identity = settings.pop("identity_init", None)
            key = repr(sorted(settings.items()))
            others[key] = settings
            made = {"entry": name, "seeds": entry.seeds, "group": key}
            groups[key].append(Variant(**made, identity_init=identity, optimizer=own))
        kept = {
            key: its
            for key, its in groups.items()
            if len(its) > 1 or any(one.entry in swept for one in its)
        }
        words = labels({key: others[key] for key in kept})
        if kept:
            found[dataset] = [
                one.model_copy(update={"group": words[key]})
                for key, its in kept.items()
                for one in its
            ]
    return found


def flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Returns nested settings by their keys, joined by dots."""
    found = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def labels(groups: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Returns of each group the settings that not all share, in words; empty for a single one."""
    keys = dict.fromkeys(key for settings in groups.values() for key in settings)
    apart = [
        key
        for key in keys
        if len({repr(settings.get(key, "-")) for settings in groups.values()}) > 1
    ]
    return {
        name: ", ".join(f"{key} {settings[key]}" for key in apart if key in settings)
        for name, settings in groups.items()
    }
