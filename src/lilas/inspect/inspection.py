"""What is known of an artifact: lines to print, and a picture to draw."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

# What to do about a file of a known kind that is not of ours.
ELSEWHERE = "Give the path of one that LILAS wrote."


@dataclass(frozen=True)
class Inspection:
    """What is known of an artifact.

    Attributes:
        lines: To print.
        draw: Draws its picture; None where there is nothing to see.
    """

    lines: list[str]
    draw: Callable[[], Figure] | None = None
