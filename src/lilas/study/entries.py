"""Entries of a study: what is trained or sampled, where it is used, and with which seeds."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from lilas.errors import LilasError
from lilas.settings import Entry, choice, extended, refuse_shared, refuse_unknown, tag
from lilas.settings.values import Distinct, Name, Positive, Seed, Width
from lilas.study import autoencoders, emulators, samplers
from lilas.study.autoencoders import (
    AutoencoderSettings,
    GivenAutoencoder,
    TrainedAutoencoder,
)
from lilas.study.emulators import EmulatorSettings, GivenEmulator
from lilas.study.leads import Direction
from lilas.study.samplers import AlgorithmSettings, GuidanceSettings

Temperature = Annotated[float, Field(gt=0, le=10)]

# Methods that are no emulators, and what else a key may say.
RESERVED = ("truth", "reconstruction", "persistence", "climatology", "model")

AUTOENCODERS = extended(
    "lilas.autoencoders", TrainedAutoencoder, autoencoders.OURS, "architecture", RESERVED
)
EMULATORS = extended("lilas.methods", EmulatorSettings, emulators.OURS, "method", RESERVED)
ALGORITHMS = extended("lilas.algorithms", AlgorithmSettings, samplers.OURS, "algorithm")

Autoencoder = choice([GivenAutoencoder, *AUTOENCODERS], "model", "architecture")
Emulator = choice([GivenEmulator, *EMULATORS], "model", "method")
Algorithm = choice(ALGORITHMS, "algorithm")
GUIDANCE = extended("lilas.guidance", GuidanceSettings, samplers.GUIDANCE, "kind")
Guidance = choice(GUIDANCE, "kind")


def autoencoder_settings(values: dict[str, Any]) -> AutoencoderSettings:
    """Returns an autoencoder's settings as a record of its making has them.

    Raises:
        LilasError: they are none of this version's, nor of a plug-in that is installed.
    """
    return _made("autoencoder", Autoencoder, values)


def emulator_settings(values: dict[str, Any]) -> EmulatorSettings:
    """Returns an emulator's settings as a record of its making has them.

    Raises:
        LilasError: they are none of this version's, nor of a plug-in that is installed.
    """
    return _made("emulator", Emulator, values)


def _made(what: str, kind: Any, values: dict[str, Any]) -> Any:
    try:
        # As JSON, which has no integers for keys and no tuples.
        return TypeAdapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        key = ".".join(map(str, finding["loc"][1:]))
        told = " ".join(f"{key}: {finding['msg']}".removeprefix(": ").split())
        raise LilasError(
            f"{what} as it was made: {told}. Install the plug-in that it was made with, or the "
            "version of LILAS."
        ) from None


class Trained(Entry):
    """Where an autoencoder or an emulator is used: seeds, datasets, and what differs by dataset."""

    gathered: ClassVar = "model"

    seeds: Distinct[Seed] = Field(default=[0], min_length=1, description="One training per seed.")
    datasets: Distinct[Name] | None = Field(
        default=None,
        min_length=1,
        description="Datasets to train on; null is every one of the study.",
    )
    per_dataset: dict[Name, dict[str, Any]] = Field(
        default={}, description="Settings that replace this entry's on one dataset."
    )
    weights: Literal["last", "best"] = Field(
        default="last", description="Weights used downstream: the last, or the best validated."
    )

    @property
    def given(self) -> str | None:
        """Whose weights are taken as they are; None where they are not."""
        return getattr(self.model, "model", None)

    @property
    def is_trained(self) -> bool:
        """Whether there is something to train: not in pixel space, nor of a given model."""
        return "train" in type(self.model).model_fields

    @model_validator(mode="after")
    def _replaced(self) -> "Trained":
        for name, settings in self.per_dataset.items():
            for key in ("datasets", "per_dataset"):
                if key in settings:
                    raise ValueError(
                        f"per_dataset.{name}.{key}: unknown key; allowed: settings that may differ "
                        "by dataset"
                    )
        return self

    @model_validator(mode="after")
    def _seeded(self) -> "Trained":
        if self.is_trained and self.model.train is None:
            raise ValueError("train is missing")
        if not self.is_trained and (self.seeds != [0] or self.weights != "last"):
            raise ValueError("seeds and weights are of trainings; here is none: leave them out")
        return self


class AutoencoderEntry(Trained):
    """An autoencoder of a study."""

    model: Autoencoder = Field(description="What it is.")


class EmulatorEntry(Trained):
    """An emulator of a study."""

    autoencoders: Distinct[Name] = Field(min_length=1, description="Latent spaces to learn in.")
    samplers: Distinct[Name] = Field(
        min_length=1,
        description="Samplers to roll out with; the first stands for the emulator where emulators "
        "are compared.",
    )
    model: Emulator = Field(description="What it is.")

    @model_validator(mode="after")
    def _learned(self) -> "EmulatorEntry":
        refuse_unknown("method", [self.model.method], [tag(one, ["method"]) for one in EMULATORS])
        return self


class SamplerEntry(Entry):
    """A sampler of a study: how a rollout is made."""

    gathered: ClassVar = "algorithm"

    context: Positive = Field(default=1, description="True states given at the start.")
    overlap: Positive = Field(default=1, description="Generated states kept as next context.")
    direction: Direction = Field(
        default="forward",
        description="Which way in time: `forward` from a window's first states, or `backward` from "
        "its last, over the same steps.",
    )
    crop: Positive | None = Field(
        default=None, description="States kept of each window; null is the whole window."
    )
    members: Width = Field(default=1, description="Ensemble members.")
    context_noise: float = Field(
        default=0.0,
        ge=0,
        description="Standard deviation of noise on the known states of each window, which the "
        "network is told; of emulators that are trained with such noise.",
    )
    seed: Seed = Field(default=0, description="Seed of the noise.")
    temperature: Temperature = Field(
        default=1.0,
        description="Factor of all noise that sampling draws; above 1 members lie further apart.",
    )
    tune_temperature: Distinct[Temperature] | None = Field(
        default=None,
        min_length=2,
        description="Temperatures to try: rollouts have the one of the lowest CRPS on the "
        "validation split, in latent space; null is `temperature`.",
    )
    batch_size: Positive = Field(default=64, description="Windows generated at once.")
    compile: bool = Field(
        default=False,
        description="Compile the network with torch.compile; pays where sampling takes minutes.",
    )
    guidance: Guidance | None = Field(default=None, description="Wrapper of the denoiser.")
    algorithm: Algorithm = Field(description="How a window is generated.")

    @model_validator(mode="after")
    def _keeps_new_states(self) -> "SamplerEntry":
        given = max(self.context, self.overlap)
        if self.crop is not None and self.crop <= given:
            raise ValueError(
                f"crop {self.crop} keeps no new state of a window that is given {given}; "
                f"allowed: at least {given + 1}"
            )
        if self.guidance is not None and self.algorithm.fits != "denoiser":
            raise ValueError(f"guidance wraps a denoiser; {self.algorithm.algorithm} has none")
        return self

    @model_validator(mode="after")
    def _tuned(self) -> "SamplerEntry":
        if self.tune_temperature is None:
            return self
        if self.temperature != 1:
            raise ValueError("temperature and tune_temperature: allowed: one of them")
        if self.guidance is not None:
            raise ValueError("tune_temperature: of guided rollouts none is tuned; set temperature")
        if self.members == 1:
            raise ValueError("tune_temperature: one member has no spread; allowed: members from 2")
        return self


refuse_shared("lilas.autoencoders", AutoencoderEntry, AUTOENCODERS, "architecture")
refuse_shared("lilas.methods", EmulatorEntry, EMULATORS, "method")
refuse_shared("lilas.algorithms", SamplerEntry, ALGORITHMS, "algorithm")
