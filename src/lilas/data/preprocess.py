"""From physical units to what networks see, and back: a transform, then standardisation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lilas.data.transforms import Transform
from lilas.errors import LilasError
from lilas.files import read_json


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of each channel: y = (f(x) - mean) / std, with a transform f.

    Source: paper, Appendix B; official code 1.1.0.

    Attributes:
        names: Names of the channels, for messages.
        transforms: Their transforms f.
        mean: Mean of f(x).
        std: Standard deviation of f(x), not zero.

    Raises:
        LilasError: the attributes differ in length, or a channel cannot be standardised.
    """

    names: tuple[str, ...]
    transforms: tuple[Transform, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count == len(self.transforms) == len(self.mean) == len(self.std):
            raise LilasError(
                f"preprocessing: {count} channels, {len(self.transforms)} transforms, "
                f"{len(self.mean)} means and {len(self.std)} stds; expected as many of each"
            )
        for name, mean, std in zip(self.names, self.mean, self.std, strict=True):
            if not (abs(mean) < float("inf") and 0 < std < float("inf")):
                raise LilasError(
                    f"preprocessing: channel {name!r} has mean {mean:g} and std {std:g}; expected "
                    "a finite mean and a positive std. A constant field cannot be standardised: "
                    "leave it out of states.fields."
                )

    @classmethod
    def from_statistics(cls, statistics: Mapping[str, Any], source: str | Path) -> Self:
        """Returns the preprocessing that statistics describe (see `lilas.data.statistics`).

        Args:
            statistics: Channels by name under `channels`, each with `transform`, `mean`, `std`.
            source: Where the statistics come from, for messages.

        Raises:
            LilasError: a channel lacks a value, or its transform is unknown.
        """
        channels = statistics["channels"]
        for name, entry in channels.items():
            for key in ("transform", "mean", "std"):
                if key not in entry:
                    raise LilasError(
                        f"{source}: channel {name!r} lacks {key!r}. Delete it and run again."
                    )
        return cls(
            names=tuple(channels),
            transforms=tuple(
                Transform.read(entry["transform"], f"{source}: channel {name!r}")
                for name, entry in channels.items()
            ),
            mean=tuple(float(entry["mean"]) for entry in channels.values()),
            std=tuple(float(entry["std"]) for entry in channels.values()),
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Returns the preprocessing of a statistics file, transforms included.

        Raises:
            LilasError: the file is missing, damaged, or not one of statistics.
        """
        return cls.from_statistics(read_json(path, ("channels",)), path)

    def forward(self, x: Tensor, channel_axis: int) -> Tensor:
        """Returns preprocessed states, a new tensor of the shape of `x`, float32.

        They are computed in the precision of `x`: what float64 holds of a small variation about a
        large mean is there after the mean is subtracted.

        Args:
            x: States in physical units, channels along `channel_axis`.
            channel_axis: Axis of the channels; may be negative.

        Raises:
            LilasError: `x` has other channels, or a logarithm has no value.
        """
        return self.forward_(x.clone(memory_format=torch.contiguous_format), channel_axis).float()

    def forward_(self, x: Tensor, channel_axis: int) -> Tensor:
        """Overwrites states of the caller's own with what `forward` returns, several times as fast.

        They stay in their precision.

        Args and errors as `forward`; where there is an error, `x` may be half preprocessed.
        """
        self._check(x, channel_axis)
        for i, values in enumerate(x.unbind(channel_axis)):
            transform = self.transforms[i]
            if transform.kind == "log" and not (valid := values + transform.number > 0).all():
                raise LilasError(
                    f"preprocessing: channel {self.names[i]!r} holds "
                    f"{values[~valid][0].item():g}, where {transform} is undefined. "
                    "Remove its transform, or choose an offset above minus its minimum."
                )
            transform.forward_(values)
            values.sub_(self.mean[i]).div_(self.std[i])
        return x

    def inverse(self, x: Tensor, channel_axis: int) -> Tensor:
        """Returns states in physical units, a new tensor of the shape of `x`: f⁻¹(std·x + mean).

        Args:
            x: Preprocessed states, channels along `channel_axis`.
            channel_axis: Axis of the channels; may be negative.

        Raises:
            LilasError: `x` has other channels.
        """
        return self.inverse_(x.clone(memory_format=torch.contiguous_format), channel_axis)

    def inverse_(self, x: Tensor, channel_axis: int) -> Tensor:
        """Overwrites states of the caller's own with what `inverse` returns; arguments alike."""
        self._check(x, channel_axis)
        for i, values in enumerate(x.unbind(channel_axis)):
            values.mul_(self.std[i]).add_(self.mean[i])
            self.transforms[i].inverse_(values)
        return x

    def _check(self, x: Tensor, channel_axis: int) -> None:
        if x.shape[channel_axis] != len(self.names):
            raise LilasError(
                f"preprocessing: expected the {len(self.names)} channels {', '.join(self.names)} "
                f"along axis {channel_axis}, found the shape {tuple(x.shape)}"
            )
