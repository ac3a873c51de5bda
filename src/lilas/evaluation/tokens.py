"""Central tokens: of each latent the numbers at its middle point, and what its label says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lilas.errors import LilasError

# Digits of a parameter that survive a label's float32 and the logarithm in it.
DIGITS = 5


@dataclass(frozen=True)
class Tokens:
    """Central tokens of a split.

    Attributes:
        values: The tokens, float32 (token, channel).
        trajectory: Which trajectory each is of (token,); augmented copies share it.
        step: Which step of it (token,).
        first_copy: Whether it is of the trajectory as it is, not of an augmented copy (token,).
        parameters: By name, a value per token (token,), to 5 digits.
    """

    values: np.ndarray
    trajectory: np.ndarray
    step: np.ndarray
    first_copy: np.ndarray
    parameters: Mapping[str, np.ndarray]


def feature_of(features: Sequence[str], parameter: str) -> int:
    """Returns the place of a parameter in a label.

    Raises:
        LilasError: the label lacks it.
    """
    if parameter not in features:
        raise LilasError(
            f"latent_analysis: the label has no parameter {parameter!r}; it has "
            f"{', '.join(features)}"
        )
    return features.index(parameter)


def in_own_unit(labels: np.ndarray, transform: str) -> np.ndarray:
    """Returns values of a parameter as a label has them, in the parameter's own unit."""
    exact = labels.astype(np.float64)
    values = np.exp(exact) if transform == "log" else exact
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.flat]).reshape(values.shape)


def central_tokens(
    source: Any, parameters: Sequence[str], transforms: Mapping[str, str], *, copies: int
) -> Tokens:
    """Returns the central token of every state of latents, one trajectory in memory at a time.

    The central token is all channels of the latent at the point n // 2 of each axis of n points.

    Args:
        source: A `lilas.models.latents.Latents`.
        parameters: Names of parameters of its label.
        transforms: Of the label's parameters, `log` or `none`; others are raw.
        copies: Augmented copies to take, the first being the trajectories as they are.

    Raises:
        LilasError: the label lacks a parameter, or a latent is damaged.
    """
    columns = [feature_of(source.features, name) for name in parameters]
    centre = tuple(points // 2 for points in source.shape[1:])
    rows = range(min(copies, source.copies) * source.trajectories)
    found = [source.read(row)[(..., *centre)] for row in rows]
    counts = [len(tokens) for tokens in found]
    labels = source.labels[rows.start : rows.stop]
    return Tokens(
        values=np.concatenate(found),
        trajectory=np.repeat(np.array(rows) % source.trajectories, counts),
        first_copy=np.repeat(np.array(rows) < source.trajectories, counts),
        step=np.concatenate([np.arange(count) for count in counts]),
        parameters={
            name: np.repeat(in_own_unit(labels[:, column], transforms.get(name, "none")), counts)
            for name, column in zip(parameters, columns, strict=True)
        },
    )
