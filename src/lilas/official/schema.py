"""What an official config.yaml must say before anything is read from it.

Only keys that every run has, and their types, are checked here; which values are understood is the
matter of `lilas.official.entries`.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from lilas.errors import broken

Positive = Annotated[int, Field(gt=0, strict=True)]


class _Stats(BaseModel):
    mean: list[float]
    std: list[float]


class _Dataset(BaseModel):
    name: str
    dimensions: list[str] = Field(min_length=1, max_length=3)
    fields: list[str] = Field(min_length=1)
    stats: _Stats
    transform: dict[int, str] | None = None
    augment: list[str] | None = None

    @model_validator(mode="after")
    def _lengths(self) -> "_Dataset":
        if not len(self.fields) == len(self.stats.mean) == len(self.stats.std):
            raise ValueError(f"stats: a mean and a std for each of {len(self.fields)} fields")
        return self


class _Losses(BaseModel):
    losses: list[str] = Field(min_length=1)
    weights: list[float]

    @model_validator(mode="after")
    def _lengths(self) -> "_Losses":
        if len(self.losses) != len(self.weights):
            raise ValueError("a weight for each loss")
        return self


class _Autoencoder(BaseModel):
    arch: str
    spatial: Positive
    pix_channels: Positive
    saturation: str | None
    attention_heads: dict[int, Positive] | None = None
    loss: _Losses | None = None


class _Schedule(BaseModel):
    name: str


class _Prior(BaseModel):
    distribution: str = "uniform"


class _Solver(BaseModel):
    arch: str
    spatial: Annotated[int, Field(ge=2, le=4)]
    channels: Positive
    label_features: Positive
    attention_heads: Positive | dict[int, Positive] | None
    patch_size: Positive | list[Positive] = 1


class _Denoiser(_Solver):
    schedule: _Schedule
    loss: _Prior | None = None


class _Trajectory(BaseModel):
    length: Positive
    stride: Positive


class _Run(BaseModel):
    dataset: _Dataset
    ae: _Autoencoder | None = None
    denoiser: _Denoiser | None = None
    surrogate: _Solver | None = None
    trajectory: _Trajectory | None = None

    @model_validator(mode="after")
    def _emulator_has_windows(self) -> "_Run":
        if self.ae is None and self.trajectory is None:
            raise ValueError("trajectory: an emulator's windows")
        return self


def check_config(path: Path, config: dict[str, Any]) -> None:
    """Checks that a configuration has what every official run's has.

    Raises:
        LilasError: a key is missing or of another type; which, and what was found.
    """
    try:
        _Run.model_validate(config)
    except ValidationError as error:
        finding = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in finding["loc"])
        message = finding["msg"].removeprefix("Value error, ")
        expected = f"{where}: {message}" if where else message
        found = "no such key" if finding["type"] == "missing" else repr(finding["input"])
        raise broken(path, expected, found[:200], "Use the run's own config.yaml.") from None
