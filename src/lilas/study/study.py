"""A study: datasets x autoencoders x emulators x samplers, checked as a whole.

This package imports neither torch nor Snakemake, so that reading a study takes milliseconds.
"""

from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from lilas.settings import Model, describe, listed, refuse_unknown
from lilas.settings.values import Distinct, Name, Positive
from lilas.study.datasets import Dataset
from lilas.study.entries import AutoencoderEntry, EmulatorEntry, SamplerEntry
from lilas.study.extent import Extent
from lilas.study.fit import (
    check_augmentation,
    check_grid,
    check_guidance,
    check_laws,
    check_names,
    check_padding,
    check_time,
    check_trajectories,
)
from lilas.study.latent_analysis import LatentAnalysis, check_analysis, check_references
from lilas.study.leads import Direction, rollout_steps
from lilas.study.methods import METHODS
from lilas.study.samplers import observes
from lilas.study.starts import check_starts
from lilas.study.sweep import expanded

# What twins may differ in: guidance, and what is for memory and speed alone.
SAME_NUMBERS = {"guidance", "batch_size", "compile"}
# Folders of results that nothing may be named after, in a study's and in an emulator's.
RESERVED = {"datasets": ("tables", "figures", "logs", "benchmarks"), "samplers": ("checkpoint",)}


class Figures(Model):
    """How figures look; nothing here changes a number."""

    trajectories: Positive = Field(default=1, description="Test trajectories drawn and shown.")
    lead_times: Distinct[Positive] | None = Field(
        default=None,
        min_length=1,
        description="Lead times of the panels; null spaces five over the rollout.",
    )
    dpi: int = Field(default=120, ge=10, le=1200, description="Resolution of bitmaps.")


class Timing(Model):
    """What is measured anew, and alone: what a state costs; a job that needs the whole machine."""

    turns: Annotated[int, Field(ge=6, le=1000)] = Field(
        default=9, description="Measurements of each; their median counts."
    )


class Study(Model):
    """A study: datasets x autoencoders x emulators x samplers."""

    datasets: dict[Name, Dataset] = Field(min_length=1, description="Datasets by name.")
    autoencoders: dict[Name, AutoencoderEntry] = Field(min_length=1, description="Autoencoders.")
    emulators: dict[Name, EmulatorEntry] = Field(
        default={}, description="Emulators; without any, a study is of its autoencoders."
    )
    samplers: dict[Name, SamplerEntry] = Field(default={}, description="Samplers.")
    sweep: dict[str, dict[str, Any]] = Field(
        default={},
        description="Entries crossed into several: by entry (`autoencoders.NAME`, `emulators.NAME` "
        "or `samplers.NAME`), by key (such as `train.learning_rate`), a list of values, or values "
        "by a name; mappings set their keys together. Each entry is called by what is set, and "
        "emulators and latent analyses of the swept one are of all.",
    )
    latent_analysis: dict[Name, LatentAnalysis] = Field(
        default={}, description="What is asked of latents, by dataset."
    )
    figures: Figures = Field(default=Figures(), description="Figures.")
    timing: Timing | None = Field(
        default=None,
        description="Seconds, FLOPs and memory of a state, as in the paper's Table 1; null times "
        "nothing but whole jobs.",
    )

    @model_validator(mode="before")
    @classmethod
    def _swept(cls, values: Any) -> Any:
        return expanded(values)[0] if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _references(self) -> "Study":
        for kind, taken in RESERVED.items():
            for name in set(taken) & set(getattr(self, kind)):
                raise ValueError(f"{kind}.{name}: this name is taken by a folder of results")
        for kind in ("autoencoders", "emulators"):
            for name, entry in getattr(self, kind).items():
                for key in ("datasets", "per_dataset"):
                    refuse_unknown(f"{kind}.{name}.{key}", getattr(entry, key) or [], self.datasets)
                for dataset in entry.per_dataset:
                    if entry.datasets is not None and dataset not in entry.datasets:
                        raise ValueError(
                            f"{kind}.{name}.per_dataset.{dataset}: it is not used there; allowed: "
                            f"{', '.join(entry.datasets)}"
                        )
                    self.resolve(kind, name, dataset)
        if self.timing is not None and not self.emulators:
            raise ValueError("timing: there are no emulators to time; allowed: null")
        for name in self.latent_analysis:
            refuse_unknown("latent_analysis", [name], self.datasets)
        for name, dataset in self.datasets.items():
            self._check_emulators(name)
            self._check_horizons(name)
            self._check_figures(name)
            if name in self.latent_analysis:
                check_references(self, name)
            try:
                extent = dataset.extent()
            except ValueError as error:
                raise ValueError(f"datasets.{name}.{error}") from None
            if extent is not None:
                self.check_extent(name, extent)
        check_starts(self)
        return self

    def resolve(self, kind: str, name: str, dataset: str) -> Any:
        """Returns the entry `name` of autoencoders or emulators as `dataset` has it."""
        entry = getattr(self, kind)[name]
        merged = _merge(entry.model_dump(exclude_unset=True), entry.per_dataset.get(dataset, {}))
        try:
            return type(entry)(**merged | {"per_dataset": {}})
        except ValidationError as error:
            where = f"{kind}.{name}.per_dataset.{dataset}"
            raise ValueError(describe(error, type(entry), where)) from None

    def key(self, kind: str, name: str, dataset: str, *keys: str) -> str:
        """Returns the key that decides a setting of an entry on a dataset, as people wrote it."""
        inside: Any = getattr(self, kind)[name].per_dataset.get(dataset, {})
        for key in keys:
            inside = inside.get(key) if isinstance(inside, dict) else None
        place = () if inside is None else ("per_dataset", dataset)
        return ".".join((kind, name, *place, *keys))

    def trainings(self, kind: str, dataset: str) -> list[tuple[str, int]]:
        """Returns the (name, seed) of every autoencoder or emulator of `dataset`."""
        return [
            (name, seed)
            for name, entry in getattr(self, kind).items()
            if entry.datasets is None or dataset in entry.datasets
            for seed in self.resolve(kind, name, dataset).seeds
        ]

    def entries(self, kind: str, dataset: str) -> dict[str, Any]:
        """Returns the autoencoders or emulators of a dataset by name, as it has them."""
        names = dict.fromkeys(name for name, _ in self.trainings(kind, dataset))
        return {name: self.resolve(kind, name, dataset) for name in names}

    def samplers_of(self, dataset: str) -> list[str]:
        """Returns the names of the samplers that a dataset's emulators are rolled out with."""
        emulators = self.entries("emulators", dataset).values()
        return list(dict.fromkeys(key for its in emulators for key in its.samplers))

    def runs(self) -> str:
        """Returns as JSON what is trained, rolled out and scored; no claim depends on the rest."""
        return self.model_dump_json(exclude={"figures", "timing", "latent_analysis"})

    def twins(self) -> dict[str, str]:
        """Returns the samplers that observe the truth, each with its twin that does not.

        Of what changes the numbers, the twin differs in guidance alone; empty where there is none.
        """
        plain: dict[str, str] = {}
        for name, sampler in self.samplers.items():
            if sampler.guidance is None:
                plain.setdefault(sampler.model_dump_json(exclude=SAME_NUMBERS), name)
        return {
            name: plain.get(sampler.model_dump_json(exclude=SAME_NUMBERS), "")
            for name, sampler in self.samplers.items()
            if observes(sampler)
        }

    def begins(self, dataset: str) -> dict[str, tuple[int, Direction]]:
        """Returns the steps that a dataset's rollouts begin at and which way they go, by a name.

        Where a context has no room before `evaluation.start` a rollout begins later, and a backward
        one at the end. The name is empty where all do the same.
        """
        entry = self.datasets[dataset]
        start, last = entry.evaluation.start, entry.evaluation.last
        found = set()
        for sampler in map(self.samplers.__getitem__, self.samplers_of(dataset)):
            asked = sampler.context, entry.stride, last, sampler.direction
            begin = rollout_steps(start, *asked)[sampler.context - 1]
            found.add((begin, sampler.direction))
        if len(found) < 2:
            return {"": next(iter(found), (start, "forward"))}
        way = {"forward": "from", "backward": "backward_from"}
        return {f"{way[to]}_{begin}": (begin, to) for begin, to in sorted(found)}

    def _check_emulators(self, dataset: str) -> None:
        """Refuses emulators whose autoencoders or samplers are not there, or do not fit."""
        here = self.entries("autoencoders", dataset)
        for name, emulator in self.entries("emulators", dataset).items():
            where = f"emulators.{name}"
            refuse_unknown(f"{where}.autoencoders", emulator.autoencoders, self.autoencoders)
            refuse_unknown(f"{where}.samplers", emulator.samplers, self.samplers)
            if not set(here) & set(emulator.autoencoders):
                raise ValueError(
                    f"{where}.autoencoders: none of {listed(emulator.autoencoders)} is used on "
                    f"{dataset}, by their datasets; allowed: {listed(sorted(here))}"
                )
            for sampler in emulator.samplers:
                self._check_sampler(dataset, name, emulator, sampler)

    def _check_sampler(self, dataset: str, name: str, emulator: EmulatorEntry, key: str) -> None:
        """Refuses a sampler that does not fit an emulator on a dataset."""
        sampler, model = self.samplers[key], emulator.model
        method = METHODS[model.method]
        if sampler.algorithm.fits != method.predicts:
            fitting = [k for k, s in self.samplers.items() if s.algorithm.fits == method.predicts]
            raise ValueError(
                f"emulators.{name}.samplers: {key!r} has algorithm "
                f"{sampler.algorithm.algorithm!r}, which does not fit method {model.method!r}; "
                f"allowed: {', '.join(fitting) or 'none of this study'}"
            )
        if not method.probabilistic and sampler.members > 1:
            raise ValueError(
                f"samplers.{key}.members: method {model.method!r} is deterministic; allowed: 1"
            )
        if not method.probabilistic and (sampler.temperature != 1 or sampler.tune_temperature):
            which = "tune_" if sampler.tune_temperature else ""
            raise ValueError(
                f"samplers.{key}.{which}temperature: method {model.method!r} draws no noise; "
                "allowed: leave it out"
            )
        if emulator.given is None:
            self.check_context(name, key, model.context_forward, model.context_noise)
        for part, states in (("context", sampler.context), ("overlap", sampler.overlap)):
            if states >= model.window:
                raise ValueError(
                    f"samplers.{key}.{part} {states}: emulator {name!r} has windows of "
                    f"{model.window} states; allowed: at most {model.window - 1}"
                )
        if sampler.crop is not None and sampler.crop > model.window:
            raise ValueError(
                f"samplers.{key}.crop {sampler.crop}: emulator {name!r} has windows of "
                f"{model.window} states; allowed: at most {model.window}"
            )

    def check_context(self, emulator: str, sampler: str, share: float, noise: float) -> None:
        """Refuses a sampler whose known states an emulator is not trained with.

        Args:
            emulator: Its name.
            sampler: The sampler's.
            share: Of the emulator's training windows, of which the first states are known.
            noise: Its `context_noise`.

        Raises:
            ValueError: what is allowed.
        """
        way = self.samplers[sampler].direction
        if share == {"forward": 0.0, "backward": 1.0}[way]:
            raise ValueError(
                f"samplers.{sampler}.direction {way}: emulator {emulator!r} is trained with the "
                f"{'first' if share else 'last'} states of a window known alone (context_forward "
                f"{share:g}); allowed: the other direction, or context_forward between 0 and 1"
            )
        if (asked := self.samplers[sampler].context_noise) > noise:
            raise ValueError(
                f"samplers.{sampler}.context_noise {asked:g}: emulator {emulator!r} is trained "
                f"with at most {noise:g}; allowed: no more than that"
            )

    def _check_horizons(self, dataset: str) -> None:
        stride = self.datasets[dataset].stride
        for first, last in self.datasets[dataset].evaluation.horizons:
            if last // stride * stride < first:
                raise ValueError(
                    f"datasets.{dataset}.evaluation: horizon [{first}, {last}] holds no lead time; "
                    f"with stride {stride} they are the multiples of {stride}"
                )

    def _check_figures(self, dataset: str) -> None:
        last = self.datasets[dataset].evaluation.last
        for lead in self.figures.lead_times or []:
            if lead > last:
                raise ValueError(
                    f"figures.lead_times: {lead} is beyond the horizons of {dataset}; allowed: at "
                    f"most {last}"
                )

    def check_extent(self, dataset: str, extent: Extent) -> None:
        """Refuses settings that do not fit what is known of a dataset's data.

        It is called with what the settings tell, and by a plan with what files that exist tell: of
        each split its shortest trajectory, the boundaries of all training files.

        Raises:
            ValueError: the key, and what is allowed.
        """
        for check in (
            *(check_names, check_laws, check_time, check_guidance),
            *(check_trajectories, check_augmentation, check_grid, check_padding),
            check_analysis,
        ):
            check(self, dataset, extent)


def _merge(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in update.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged
