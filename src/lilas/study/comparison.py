"""Which emulators are compared: on the same latents, by what training and sampling may cost."""

from collections import defaultdict
from typing import Any, Literal

from pydantic import Field

from lilas.settings import Model
from lilas.study import paths
from lilas.study.ablation import flat, labels
from lilas.study.emulators import EmulatorSettings
from lilas.study.entries import SamplerEntry
from lilas.study.study import SAME_NUMBERS, Study


class Ancestor(Model):
    """A training that another starts from, or that one's."""

    run: str = Field(description="Its folder, DATASET/AUTOENCODER/EMULATOR.")
    windows: int = Field(description="Windows that its network is called for in a step.")


class Compared(Model):
    """What the training of an emulator may cost, to compare it with others.

    A training that starts from another has had that one's budget too. Where one of them has none,
    or one of another kind, or where weights come from elsewhere, what it cost in all is not known.
    """

    autoencoder: str = Field(description="Its folder.")
    emulator: str = Field(description="Its folder.")
    windows: int | None = Field(description="As an ancestor's; None of given weights.")
    unit: Literal["FLOPs", "hours", ""] = Field(description="Of the budget; empty without one.")
    budget: float | None = Field(description="Of it and of those it starts from.")
    ancestors: list[Ancestor] = Field(description="What it starts from, nearest first.")
    elsewhere: bool = Field(description="Whether the first weights are of no training here.")

    @property
    def costs(self) -> str:
        """The budget in words."""
        return "unknown" if self.budget is None else f"{self.budget:g} {self.unit}"


class Sampling(Model):
    """How a sampler generates, for comparisons of its steps.

    Samplers of one `rest` differ in algorithm and steps alone.
    """

    algorithm: str = Field(description="The algorithm, and its own settings where these differ.")
    steps: int | None = Field(description="None of a single evaluation.")
    rest: str = Field(description="The other settings that not all samplers share, in words.")


def compared(study: Study) -> dict[str, list[Compared]]:
    """Returns by dataset the emulators of which another entry forecasts on the same latents."""
    found: dict[str, list[Compared]] = {}
    runs = {
        (run["dataset"], run["autoencoder"], run["emulator"]): run for run in paths.forecasts(study)
    }
    entries = defaultdict(set)
    for dataset, autoencoder, emulator in runs:
        entries[dataset, autoencoder].add(paths.split_training_name(emulator)[0])
    for (dataset, autoencoder, _), run in runs.items():
        if len(entries[dataset, autoencoder]) > 1:
            found.setdefault(dataset, []).append(trained_for(study, run))
    return found


def trained_for(study: Study, run: dict[str, str]) -> Compared:
    """Returns what the training of an emulator may cost, and what it starts from.

    Args:
        study: The study.
        run: Dataset, and the folders of autoencoder and emulator.
    """
    chain, one = [], run
    while one is not None and (model := _trained(study, one)) is not None:
        folder = "/".join(one[kind] for kind in ("dataset", "autoencoder", "emulator"))
        chain.append((folder, model.train.batch_size * model.passes, model.train))
        one = paths.parent(study, "emulator", one)
    # Where the chain ends at given weights, or its first training starts from a file.
    elsewhere = one is not None or chain[-1][2].start is not None
    budgets = [train.budget for *_, train in chain]
    units = {"" if budget is None else "hours" if budget.hours else "flops" for budget in budgets}
    unit = units.pop() if len(units) == 1 and not elsewhere else ""
    return Compared(
        autoencoder=run["autoencoder"],
        emulator=run["emulator"],
        windows=chain[0][1] if chain else None,
        unit={"flops": "FLOPs"}.get(unit, unit),
        budget=sum(getattr(budget, unit) for budget in budgets) if unit else None,
        ancestors=[Ancestor(run=folder, windows=its) for folder, its, _ in chain[1:]],
        elsewhere=elsewhere,
    )


def _trained(study: Study, run: dict[str, str]) -> EmulatorSettings | None:
    """Returns the settings of an emulator that is trained; None where its weights are given."""
    name, _ = paths.split_training_name(run["emulator"])
    entry = study.resolve("emulators", name, run["dataset"])
    return entry.model if entry.is_trained else None


def sampling(study: Study) -> dict[str, Sampling]:
    """Returns how each sampler of forecasts generates, where those of an emulator are compared.

    They are where two of one emulator differ in their steps or algorithm alone.
    """
    guided = study.twins()
    samplers = {name: one for name, one in study.samplers.items() if name not in guided}
    rest = labels({name: _rest(one) for name, one in samplers.items()})
    found = {}
    for own in _by_algorithm(samplers).values():
        words = labels(own)
        for name in own:
            algorithm = samplers[name].algorithm
            found[name] = Sampling(
                algorithm=", ".join(filter(None, (algorithm.algorithm, words[name]))),
                steps=getattr(algorithm, "steps", None),
                rest=rest[name],
            )
    for dataset in study.datasets:
        for entry in study.entries("emulators", dataset).values():
            ways = defaultdict(set)
            for one in (found[name] for name in entry.samplers if name in found):
                ways[one.rest].add((one.algorithm, one.steps))
            if any(len(its) > 1 for its in ways.values()):
                return found
    return {}


def _rest(sampler: SamplerEntry) -> dict[str, Any]:
    """Returns the settings that change numbers, where they are set, but those of its algorithm."""
    settings = flat(sampler.model_dump(mode="json", exclude_none=True))
    for key in (*sampler.algorithm.model_dump(mode="json"), *SAME_NUMBERS):
        settings.pop(key, None)
    return settings


def _by_algorithm(samplers: dict[str, SamplerEntry]) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns by algorithm the settings of its samplers, by name, but for their steps.

    An order that is as high as the steps allow is the highest that there is.
    """
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for name, one in samplers.items():
        found[one.algorithm.algorithm][name] = one.algorithm.model_dump(mode="json")
    for its in found.values():
        highest = max((own["order"] for own in its.values() if "order" in own), default=None)
        for own in its.values():
            if "order" in own and own["order"] == own["steps"]:
                own["order"] = highest
            own.pop("steps", None)
    return found
