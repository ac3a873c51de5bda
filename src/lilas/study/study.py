"""The configuration: what a study is, as frozen models that refuse what they do not know.

A study is datasets x autoencoders x emulators x samplers, written as data in one YAML file. The
models here check it before any job is planned; inside the library, plain arguments travel. This
module imports neither torch nor Snakemake, so that reading a study takes milliseconds.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    Field,
    ValidationError,
    model_validator,
)

from lilas.errors import LilasError
from lilas.study.base import Model, Name, Positive, _known, describe
from lilas.study.datasets import AXES, PARAMETERS, Dataset, Simulate, _extent
from lilas.study.models import Autoencoder, Emulator, Sampler, _trained

# Folders of a study's results that no dataset may be named after.
RESERVED = ("tables", "figures", "logs", "benchmarks")


# --- Datasets ---------------------------------------------------------------------------------


# --- Training ---------------------------------------------------------------------------------


# --- The study --------------------------------------------------------------------------------


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
    autoencoders: dict[Name, Autoencoder] = Field(min_length=1, description="Autoencoders.")
    emulators: dict[Name, Emulator] = Field(min_length=1, description="Emulators.")
    samplers: dict[Name, Sampler] = Field(min_length=1, description="Samplers.")
    figures: Figures = Field(default=Figures(), description="Figures.")

    @model_validator(mode="after")
    def _references(self) -> "Study":
        for kind in ("autoencoders", "emulators"):
            for name, run in getattr(self, kind).items():
                _trained(f"{kind}.{name}", run)
                for key in ("datasets", "per_dataset"):
                    _known(f"{kind}.{name}.{key}", getattr(run, key) or [], self.datasets)
                for dataset in run.per_dataset:
                    resolved = self.resolve(kind, name, dataset)
                    _trained(f"{kind}.{name}.per_dataset.{dataset}", resolved)
                    if (resolved.official is None) != (run.official is None):
                        raise ValueError(
                            f"{kind}.{name}.per_dataset.{dataset}.official: an entry is trained "
                            "on every dataset or on none; make it two entries"
                        )
        for dataset, entry in self.datasets.items():
            if dataset in RESERVED:
                raise ValueError(f"datasets.{dataset}: this name is taken by a folder of results")
            here = {name for name, _ in self.runs("autoencoders", dataset)}
            for name in dict.fromkeys(name for name, _ in self.runs("emulators", dataset)):
                emulator = self.resolve("emulators", name, dataset)
                _known(f"emulators.{name}.autoencoders", emulator.autoencoders, self.autoencoders)
                _known(f"emulators.{name}.samplers", emulator.samplers, self.samplers)
                if not here & set(emulator.autoencoders):
                    raise ValueError(
                        f"emulators.{name}.autoencoders: none is trained on {dataset}; "
                        f"allowed: {', '.join(sorted(here))}"
                    )
                for sampler in emulator.samplers:
                    _sampler_fits(name, emulator, sampler, self.samplers[sampler], entry)
            self._check_horizons(dataset, entry)
            if (found := _extent(dataset, entry)) is not None:
                self.check_extent(dataset, *found)
            if isinstance(entry.source, Simulate):
                system = entry.source.system
                self.check_names(dataset, AXES[system], PARAMETERS[system])
        return self

    def resolve(self, kind: str, name: str, dataset: str) -> Any:
        """Returns the autoencoder or emulator `name` as `dataset` has it."""
        run = getattr(self, kind)[name]
        merged = _merge(run.model_dump(mode="json"), run.per_dataset.get(dataset, {}))
        merged["per_dataset"] = {}
        try:
            return type(run)(**merged)
        except ValidationError as error:
            where = f"{kind}.{name}.per_dataset.{dataset}"
            raise ValueError(describe(error, type(run), where)) from None

    def runs(self, kind: str, dataset: str) -> list[tuple[str, int]]:
        """Returns the (name, seed) of every autoencoder or emulator trained on `dataset`."""
        return [
            (name, seed)
            for name, run in getattr(self, kind).items()
            if run.datasets is None or dataset in run.datasets
            for seed in self.resolve(kind, name, dataset).seeds
        ]

    @staticmethod
    def _check_horizons(dataset: str, entry: Dataset) -> None:
        for first, last in entry.evaluation.horizons:
            if last // entry.stride * entry.stride < first:
                raise ValueError(
                    f"datasets.{dataset}.evaluation: horizon [{first}, {last}] holds no lead time; "
                    f"with stride {entry.stride} they are the multiples of {entry.stride}"
                )

    def check_names(self, dataset: str, axes: list[str], parameters: list[str]) -> None:
        """Refuses axes and parameters that the data do not have."""
        entry, where = self.datasets[dataset], f"datasets.{dataset}"
        _known(f"{where}.label", entry.label, parameters)
        for key in ("flip", "roll"):
            _known(f"{where}.augment.{key}", getattr(entry.augment, key), axes)
        for name, _ in self.runs("autoencoders", dataset):
            periodic = self.resolve("autoencoders", name, dataset).periodic
            _known(f"autoencoders.{name}.periodic", periodic, axes)

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
        for name, _ in self.runs("emulators", dataset):
            window = self.resolve("emulators", name, dataset).window
            if (window - 1) * entry.stride >= steps:
                raise ValueError(
                    f"{where}.stride {entry.stride}: a window of {window} states spans "
                    f"{(window - 1) * entry.stride + 1} steps, longer than a trajectory of "
                    f"{steps}; allowed: at most {(steps - 1) // (window - 1)}"
                )
        for name, _ in self.runs("autoencoders", dataset):
            run = self.resolve("autoencoders", name, dataset)
            if run.factor is None:
                continue
            for points in size:
                if points % run.factor:
                    raise ValueError(
                        f"autoencoders.{name}: each axis shrinks by {run.factor}, which does not "
                        f"divide the {points} points of {dataset}"
                    )
            pixels = channels * run.factor ** len(size)
            if run.latent_channels and run.latent_channels > pixels:
                raise ValueError(
                    f"autoencoders.{name}.latent_channels {run.latent_channels}: wider than the "
                    f"pixels of {dataset}; allowed: at most {pixels} ({channels} channels x "
                    f"{run.factor}^{len(size)} pixels)"
                )


class Config(Model):
    """`config.yaml`: which study to run, and where data and results live."""

    study: str = Field(
        default="demo", description="Name of a file in workflow/studies, or a path to your own."
    )
    data: str = Field(default="results/data", description="Folder of the data.")
    results: str = Field(default="results", description="Folder of the results.")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?|mps)$",
        description="cpu, cuda, cuda:N, mps, or auto: the best that is there.",
    )
    checkpoint_seconds: float = Field(
        default=60.0, ge=0, description="Time between checkpoints; 0 saves one whenever it logs."
    )


def _sampler_fits(
    name: str, emulator: Emulator, key: str, sampler: Sampler, dataset: Dataset
) -> None:
    needed = (sampler.context - 1) * dataset.stride
    if needed > dataset.evaluation.start:
        raise ValueError(
            f"samplers.{key}.context {sampler.context}: its states begin {needed} steps before "
            f"evaluation.start, which is {dataset.evaluation.start}; start at {needed} or later"
        )
    direct = sampler.method == "direct"
    if direct != (emulator.objective == "solver"):
        fit = "direct" if emulator.objective == "solver" else "any but direct"
        raise ValueError(
            f"emulators.{name}.samplers: {key!r} has method {sampler.method!r}; "
            f"allowed for objective {emulator.objective!r}: {fit}"
        )
    if direct and sampler.members > 1:
        raise ValueError(f"samplers.{key}.members: a solver is deterministic; allowed: 1")
    for part in ("context", "overlap"):
        if getattr(sampler, part) >= emulator.window:
            raise ValueError(
                f"samplers.{key}.{part} {getattr(sampler, part)}: emulator {name!r} has windows "
                f"of {emulator.window} states; allowed: at most {emulator.window - 1}"
            )
    if sampler.crop is not None and sampler.crop > emulator.window:
        raise ValueError(
            f"samplers.{key}.crop {sampler.crop}: emulator {name!r} has windows of "
            f"{emulator.window} states; allowed: at most {emulator.window}"
        )


def _merge(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in update.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


# --- Reading ----------------------------------------------------------------------------------


def read_config(values: dict[str, Any]) -> Config:
    """Returns the validated `config.yaml`.

    Raises:
        LilasError: a key is unknown or a value not allowed.
    """
    try:
        return Config(**values)
    except ValidationError as error:
        raise LilasError(f"config.yaml: {describe(error, Config)}") from None


def study_path(study: str, folder: Path) -> Path:
    """Returns the file of a study: one of `folder` by name, or the user's own path.

    Raises:
        LilasError: there is no such study.
    """
    path = Path(study) if study.endswith((".yaml", ".yml")) else folder / f"{study}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        raise LilasError(
            f"config.yaml: study {study!r} not found; allowed: {', '.join(names)}, "
            "or the path of a .yaml file"
        )
    return path


def read_study(path: str | Path) -> Study:
    """Returns the validated study in a YAML file.

    Raises:
        LilasError: the file is not YAML, a key is unknown, or a value is not allowed.
    """
    try:
        text = Path(path).read_text()
        values = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise LilasError(f"{path}: cannot be read as YAML: {error}") from None
    _refuse_repeated(path, yaml.compose(text, yaml.SafeLoader))
    if not isinstance(values, dict):
        raise LilasError(f"{path}: a study is a mapping with keys {', '.join(Study.model_fields)}")
    try:
        return Study(**_numbers(values))
    except ValidationError as error:
        raise LilasError(f"{path}: {describe(error, Study)}") from None


def _refuse_repeated(path: str | Path, node: yaml.Node | None) -> None:
    """Refuses a mapping that has a key twice, of which YAML would keep the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise LilasError(f"{path}: line {line} has the key {key.value!r} a second time")
            seen.add(key.value)
            _refuse_repeated(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated(path, item)


def _numbers(value: Any) -> Any:
    """Reads 1e5 as the number that its author meant; YAML 1.1 reads it as a string."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and value[:1] in "0123456789.-+":
        try:
            return float(value)
        except ValueError:
            return value
    return value
