"""What people are shown of much: evenly spaced places, a plane of a volume, texts in columns."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

_NO_UNIT = ("", "1", "unspecified")


def spaced(count: int, most: int) -> np.ndarray:
    """Returns at most so many places of `count`, evenly spaced, the first and last among them.

    They ascend, (place,); one place alone is the first.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def plane(states: Any, spatial: int) -> Any:
    """Returns states (..., *space) of three space axes in the middle plane of the last, else all.

    Args:
        states: An array of NumPy or torch.
        spatial: Number of space axes.
    """
    return states[..., states.shape[-1] // 2] if spatial == 3 else states


def with_unit(name: str, unit: str) -> str:
    """Returns a name with its unit in brackets; alone where there is none, or a pure number."""
    return name if unit in _NO_UNIT else f"{name} ({unit})"


def measured(values: str, unit: str) -> str:
    """Returns values with their unit; alone where there is none, or they are pure numbers."""
    return values if unit in _NO_UNIT else f"{values} {unit}"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Returns a line per row, its texts in columns: those of `left` to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
