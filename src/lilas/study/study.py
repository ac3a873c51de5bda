"""A study: datasets x autoencoders x emulators x samplers, checked as a whole.

This package imports neither torch nor Snakemake, so that reading a study takes milliseconds.
"""

from typing import Any

from pydantic import Field, ValidationError, model_validator

from lilas.settings import Model, Name, Positive, describe, refuse_unknown
from lilas.study.datasets import Dataset, Well
from lilas.study.entries import AutoencoderEntry, EmulatorEntry, SamplerEntry
from lilas.study.methods import METHODS
from lilas.systems.base import System

# Folders of a study's results that no dataset may be named after.
RESERVED = ("tables", "figures", "logs", "benchmarks")


class Figures(Model):
    """How figures look; nothing here changes a number."""

    trajectories: Positive = Field(default=1, description="Test trajectories drawn and shown.")
    lead_times: list[Positive] | None = Field(
        default=None, description="Lead times of the panels; null spaces five over the rollout."
    )
    dpi: Positive = Field(default=120, description="Resolution of bitmaps.")


class Study(Model):
    """A study: datasets x autoencoders x emulators x samplers."""

    datasets: dict[Name, Dataset] = Field(min_length=1, description="Datasets by name.")
    autoencoders: dict[Name, AutoencoderEntry] = Field(min_length=1, description="Autoencoders.")
    emulators: dict[Name, EmulatorEntry] = Field(min_length=1, description="Emulators.")
    samplers: dict[Name, SamplerEntry] = Field(min_length=1, description="Samplers.")
    figures: Figures = Field(default=Figures(), description="Figures.")

    @model_validator(mode="after")
    def _references(self) -> "Study":
        for kind in ("autoencoders", "emulators"):
            for name, entry in getattr(self, kind).items():
                for key in ("datasets", "per_dataset"):
                    refuse_unknown(f"{kind}.{name}.{key}", getattr(entry, key) or [], self.datasets)
                for dataset in entry.per_dataset:
                    self.resolve(kind, name, dataset)
        for name, dataset in self.datasets.items():
            if name in RESERVED:
                raise ValueError(f"datasets.{name}: this name is taken by a folder of results")
            self._check_emulators(name)
            self._check_horizons(name)
            try:
                extent = dataset.extent()
            except ValueError as error:
                raise ValueError(f"datasets.{name}.{error}") from None
            if extent is not None:
                self.check_extent(name, *extent)
            if isinstance(dataset.source, System):
                self.check_names(name, dataset.source.axes, dataset.source.parameters)
            elif isinstance(dataset.source, Well):
                facts = dataset.source.facts
                self.check_names(name, facts.axes, facts.parameters)
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

    def trainings(self, kind: str, dataset: str) -> list[tuple[str, int]]:
        """Returns the (name, seed) of every autoencoder or emulator of `dataset`."""
        return [
            (name, seed)
            for name, entry in getattr(self, kind).items()
            if entry.datasets is None or dataset in entry.datasets
            for seed in self.resolve(kind, name, dataset).seeds
        ]

    def _entries(self, kind: str, dataset: str) -> dict[str, Any]:
        """Returns the autoencoders or emulators of a dataset by name, as it has them."""
        names = dict.fromkeys(name for name, _ in self.trainings(kind, dataset))
        return {name: self.resolve(kind, name, dataset) for name in names}

    def _check_emulators(self, dataset: str) -> None:
        """Refuses emulators whose autoencoders or samplers are not there, or do not fit."""
        here = self._entries("autoencoders", dataset)
        for name, emulator in self._entries("emulators", dataset).items():
            where = f"emulators.{name}"
            refuse_unknown(f"{where}.autoencoders", emulator.autoencoders, self.autoencoders)
            refuse_unknown(f"{where}.samplers", emulator.samplers, self.samplers)
            if not set(here) & set(emulator.autoencoders):
                raise ValueError(
                    f"{where}.autoencoders: none is trained on {dataset}; "
                    f"allowed: {', '.join(sorted(here))}"
                )
            for sampler in emulator.samplers:
                self._check_sampler(dataset, name, emulator, sampler)

    def _check_sampler(self, dataset: str, name: str, emulator: EmulatorEntry, key: str) -> None:
        """Refuses a sampler that does not fit an emulator on a dataset."""
        sampler, model = self.samplers[key], emulator.model
        stride, start = self.datasets[dataset].stride, self.datasets[dataset].evaluation.start
        if (needed := (sampler.context - 1) * stride) > start:
            raise ValueError(
                f"samplers.{key}.context {sampler.context}: its states begin {needed} steps before "
                f"evaluation.start, which is {start}; start at {needed} or later"
            )
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

    def _check_horizons(self, dataset: str) -> None:
        stride = self.datasets[dataset].stride
        for first, last in self.datasets[dataset].evaluation.horizons:
            if last // stride * stride < first:
                raise ValueError(
                    f"datasets.{dataset}.evaluation: horizon [{first}, {last}] holds no lead time; "
                    f"with stride {stride} they are the multiples of {stride}"
                )

    def check_names(self, dataset: str, axes: Any, parameters: Any) -> None:
        """Refuses axes and parameters that the data do not have."""
        entry, where = self.datasets[dataset], f"datasets.{dataset}"
        refuse_unknown(f"{where}.label", entry.label, parameters)
        for key in ("flip", "roll"):
            refuse_unknown(f"{where}.augment.{key}", getattr(entry.augment, key), axes)
        for name, autoencoder in self._entries("autoencoders", dataset).items():
            named = autoencoder.model.named_axes
            refuse_unknown(f"autoencoders.{name}.periodic", named, axes)

    def check_extent(self, dataset: str, size: list[int], steps: int, channels: int) -> None:
        """Refuses what cannot fit the data: windows, horizons and latents that are too large."""
        entry = self.datasets[dataset]
        where = f"datasets.{dataset}"
        last = entry.evaluation.start + entry.evaluation.last
        if last >= steps:
            raise ValueError(
                f"{where}.evaluation: start {entry.evaluation.start} + lead time "
                f"{entry.evaluation.last} is step {last}; a trajectory has {steps} steps, "
                f"so at most {steps - 1}"
            )
        for emulator in self._entries("emulators", dataset).values():
            window = emulator.model.window
            if (window - 1) * entry.stride >= steps:
                raise ValueError(
                    f"{where}.stride {entry.stride}: a window of {window} states spans "
                    f"{(window - 1) * entry.stride + 1} steps, longer than a trajectory of "
                    f"{steps}; allowed: at most {(steps - 1) // (window - 1)}"
                )
        for name, autoencoder in self._entries("autoencoders", dataset).items():
            if (factor := autoencoder.model.factor) is None:
                continue
            for points in size:
                if points % factor:
                    raise ValueError(
                        f"autoencoders.{name}: each axis shrinks by {factor}, which does not "
                        f"divide the {points} points of {dataset}"
                    )
            pixels = channels * factor ** len(size)
            latent = getattr(autoencoder.model, "latent_channels", 1)
            if latent > pixels:
                raise ValueError(
                    f"autoencoders.{name}.latent_channels {latent}: wider than the "
                    f"pixels of {dataset}; allowed: at most {pixels} ({channels} channels x "
                    f"{factor}^{len(size)} pixels)"
                )


def _merge(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in update.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged
