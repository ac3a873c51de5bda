"""The section `latent_analysis` of a study: what latents hold of parameters (paper, Appendix D)."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from lilas.settings import Model, listed, refuse_unknown
from lilas.settings.values import Distinct, Name, Positive, Seed, Text, shown
from lilas.study.extent import Extent

# Labels are float32.
Value = Annotated[float, Field(ge=-1e20, le=1e20)]


class Counterfactual(Model):
    """Rollouts of one initial state under several values of a parameter, all else the same.

    Members draw the same noise at every value, so that nothing but the label makes them differ.
    """

    parameter: Text = Field(description="The parameter that is changed, one of the label's.")
    values: Distinct[Value] = Field(
        min_length=2, description="Its values, in its own unit; training need not have seen them."
    )
    emulators: Distinct[Name] | None = Field(
        default=None,
        min_length=1,
        description="Emulators to roll out; null is every one on these autoencoders.",
    )
    samplers: Distinct[Name] | None = Field(
        default=None,
        min_length=1,
        description="Samplers to roll out with; null is every one of theirs without guidance.",
    )
    trajectories: Positive = Field(
        default=1, description="Test trajectories that begin rollouts: the first evaluated ones."
    )
    lead_times: Distinct[Positive] | None = Field(
        default=None,
        min_length=1,
        description="Lead times of the table; null takes the first of each horizon and the last.",
    )


class LatentAnalysis(Model):
    """What is asked of the latents of one dataset: parameters, a counterfactual, or both."""

    autoencoders: Distinct[Name] | None = Field(
        default=None,
        min_length=1,
        description="Autoencoders whose latents are analysed; null is every one but pixel space.",
    )
    parameters: Distinct[Text] = Field(
        default=[],
        description="Parameters that are predicted from a latent's central token, and by whose "
        "values the tokens' distributions are compared.",
    )
    counterfactual: Counterfactual | None = Field(
        default=None, description="Rollouts that differ in one parameter alone."
    )
    seed: Seed = Field(default=0, description="Seed of the predictor and of the resamples.")

    @model_validator(mode="after")
    def _asks(self) -> "LatentAnalysis":
        if not self.parameters and self.counterfactual is None:
            raise ValueError("nothing to analyse; allowed: parameters, a counterfactual, or both")
        return self


def analysed_autoencoders(study: Any, name: str) -> list[str]:
    """Returns the autoencoders whose latents of a dataset are analysed."""
    entries = study.entries("autoencoders", name)
    latent = [key for key, entry in entries.items() if not entry.model.is_pixel_space]
    return study.latent_analysis[name].autoencoders or latent


def rolls_out(study: Any, name: str, autoencoder: str, emulator: str, sampler: str) -> bool:
    """Whether a rollout of a dataset is among those of its counterfactual."""
    analysis = study.latent_analysis.get(name)
    if analysis is None or (asked := analysis.counterfactual) is None:
        return False
    unguided = study.samplers[sampler].guidance is None
    return (
        autoencoder in analysed_autoencoders(study, name)
        and (asked.emulators is None or emulator in asked.emulators)
        and (unguided if asked.samplers is None else sampler in asked.samplers)
    )


def parameters_task(study: Any, name: str) -> dict[str, Any]:
    """Returns what `latent_parameters` reads of an analysis, so that nothing else runs it again."""
    return study.latent_analysis[name].model_dump(
        include={"parameters", "seed"}, exclude_defaults=True
    )


def counterfactual_task(study: Any, name: str) -> dict[str, Any]:
    """Returns what `counterfactual` reads of an analysis.

    Which runs there are, and what a table shows of them, is not a run's.
    """
    return study.latent_analysis[name].model_dump(
        include={"counterfactual"},
        exclude={"counterfactual": {"emulators", "samplers", "lead_times"}},
        exclude_defaults=True,
    )


def table_lead_times(study: Any, name: str) -> list[int]:
    """Returns the lead times of a counterfactual's table."""
    asked = study.latent_analysis[name].counterfactual.lead_times
    if asked is not None:
        return sorted(asked)
    entry = study.datasets[name]
    stride, last = entry.stride, entry.evaluation.last // entry.stride * entry.stride
    firsts = (-(-first // stride) * stride for first, _ in entry.evaluation.horizons)
    return sorted({*(lead for lead in firsts if lead <= last), last})


def check_references(study: Any, name: str) -> None:
    """Refuses an analysis of autoencoders, emulators or samplers that are not there or do not fit.

    Raises:
        ValueError: which, and what is allowed.
    """
    analysis, where = study.latent_analysis[name], f"latent_analysis.{name}"
    here = study.entries("autoencoders", name)
    latent = [key for key, entry in here.items() if not entry.model.is_pixel_space]
    for key in analysis.autoencoders or []:
        if key not in latent:
            raise ValueError(
                f"{where}.autoencoders: {shown(key)} is no autoencoder of {name} with latents of "
                f"its own, as pixel space has none; allowed: {listed(latent) or 'none'}"
            )
    if not latent:
        raise ValueError(
            f"{where}: no autoencoder of {name} has latents of its own; allowed: leave it out"
        )
    if analysis.counterfactual is not None:
        _check_counterfactual(study, name, analysis.counterfactual, f"{where}.counterfactual")


def _check_counterfactual(study: Any, name: str, asked: Counterfactual, where: str) -> None:
    latent = analysed_autoencoders(study, name)
    emulators = {
        key: entry
        for key, entry in study.entries("emulators", name).items()
        if set(latent) & set(entry.autoencoders)
    }
    if not emulators:
        raise ValueError(
            f"{where}: no emulator of {name} is on {listed(latent)}; allowed: emulators of these, "
            "or leave it out"
        )
    refuse_unknown(f"{where}.emulators", asked.emulators or [], emulators)
    used = [emulators[key] for key in asked.emulators or emulators]
    samplers = [key for entry in used for key in entry.samplers]
    unguided = [key for key in samplers if study.samplers[key].guidance is None]
    # What guides is true of the data's own value alone.
    for key in asked.samplers or (() if unguided else samplers):
        if key not in unguided:
            raise ValueError(
                f"{where}.samplers: {shown(key)} is no sampler of these emulators without "
                f"guidance; allowed: {listed(dict.fromkeys(unguided)) or 'none'}"
            )
    entry = study.datasets[name]
    for lead in asked.lead_times or []:
        if lead > entry.evaluation.last:
            raise ValueError(
                f"{where}.lead_times: {lead} is beyond the horizons of {name}; allowed: at most "
                f"{entry.evaluation.last}"
            )
        if lead % entry.stride:
            raise ValueError(
                f"{where}.lead_times: {lead} is no multiple of the stride of {name}; allowed: "
                f"multiples of {entry.stride}"
            )
    if (most := entry.evaluation.trajectories) is not None and asked.trajectories > most:
        raise ValueError(
            f"{where}.trajectories {asked.trajectories}: {most} of {name} are evaluated; allowed: "
            f"at most {most}"
        )


def check_analysis(study: Any, name: str, extent: Extent) -> None:
    """Refuses an analysis of parameters that a dataset lacks, or of one that has a single value.

    Raises:
        ValueError: which, and what is allowed.
    """
    if (analysis := study.latent_analysis.get(name)) is None:
        return
    where, asked = f"latent_analysis.{name}", analysis.counterfactual
    if extent.parameters is not None:
        refuse_unknown(f"{where}.parameters", analysis.parameters, extent.parameters)
        if asked is not None:
            key = f"{where}.counterfactual.parameter"
            refuse_unknown(key, [asked.parameter], extent.parameters)
    values = extent.values or {}
    for parameter in analysis.parameters:
        if len(set(values.get(parameter, (0, 1)))) == 1:
            several = [key for key, found in values.items() if len(set(found)) > 1]
            raise ValueError(
                f"{where}.parameters: {parameter} is {next(iter(values[parameter])):g} in every "
                f"trajectory of {name}, so nothing depends on it; allowed: "
                f"{listed(several) or 'a dataset with several values'}"
            )
    if asked is None:
        return
    if study.datasets[name].label.get(asked.parameter) == "log" and min(asked.values) <= 0:
        raise ValueError(
            f"{where}.counterfactual.values: {min(asked.values):g} has no logarithm, which the "
            f"label has of {asked.parameter}; allowed: more than 0"
        )
    found = extent.trajectories.get("test")
    if found is not None and asked.trajectories > found:
        raise ValueError(
            f"{where}.counterfactual.trajectories {asked.trajectories}: the test split of {name} "
            f"has {found}; allowed: at most {found}"
        )
