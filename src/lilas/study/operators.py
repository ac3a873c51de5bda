"""What guidance observes of a state: points, means of blocks, or what a mask leaves.

A size is the grid points of a state along each axis. What computes is `lilas.models.operators`.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from lilas.settings import Model, choice, refuse_unknown
from lilas.settings.values import PathText, Text, Width


class BlockSettings(Model):
    """Numbers of blocks of a state, `factor` points wide along each axis."""

    factor: Width = Field(description="Grid points of a block along each axis.")

    def check(self, key: str, size: Sequence[int], _: Any) -> None:
        """Refuses a factor that does not divide an axis, of which a block is no part.

        Raises:
            ValueError: the key, and what is allowed.
        """
        for points in size:
            if points % self.factor:
                raise ValueError(
                    f"{key}.factor {self.factor}: it does not divide an axis of {points} points; "
                    "allowed: a divisor"
                )


class SubsampleSettings(BlockSettings):
    """Every `factor`-th grid point along each axis, in the middle of its block."""

    kind: Literal["subsample"] = Field(description="Single points.")


class DownscaleSettings(BlockSettings):
    """Means over blocks."""

    kind: Literal["downscale"] = Field(description="A coarser grid.")


class BorderSettings(Model):
    """The outermost points at both ends of each axis."""

    kind: Literal["border"] = Field(description="The border of the domain.")
    width: Width = Field(description="Grid points from each end.")

    def check(self, key: str, size: Sequence[int], _: Any) -> None:
        """Refuses a border that leaves nothing in its middle.

        Raises:
            ValueError: the key, and what is allowed.
        """
        if 2 * self.width >= min(size):
            raise ValueError(
                f"{key}.width {self.width}: a border from both ends covers an axis of {min(size)} "
                f"points; allowed: at most {(min(size) - 1) // 2}"
            )


class StripeSettings(Model):
    """Stripes across one axis, evenly spaced."""

    kind: Literal["stripe"] = Field(description="Stripes.")
    axis: Text = Field(description="Name of the axis along which they follow each other.")
    width: Width = Field(default=1, description="Grid points of a stripe along that axis.")
    spacing: Width = Field(description="Grid points from the begin of one to that of the next.")

    def check(self, key: str, size: Sequence[int], axes: Sequence[str] | None) -> None:
        """Refuses stripes of an axis that is not there, that touch, or of which there is none.

        Raises:
            ValueError: the key, and what is allowed.
        """
        if axes is not None:
            refuse_unknown(f"{key}.axis", [self.axis], axes)
            size = [size[list(axes).index(self.axis)]]
        if self.spacing > max(size):
            raise ValueError(
                f"{key}.spacing {self.spacing}: an axis has {max(size)} points; allowed: at most "
                f"{max(size)}"
            )
        if self.width >= self.spacing:
            raise ValueError(
                f"{key}.width {self.width}: stripes {self.spacing} points apart touch; allowed: at "
                f"most {self.spacing - 1}"
            )


class CustomSettings(Model):
    """The points where a mask is true; it is read when a run is planned."""

    kind: Literal["custom"] = Field(description="A mask of your own.")
    path: PathText = Field(
        description="File of NumPy (.npy) of the grid's shape: true or 1 where a state is observed."
    )

    def check(self, *_: Any) -> None:
        """A mask is held against the grid where it is opened (`lilas.data.masks`)."""


OURS = (SubsampleSettings, DownscaleSettings, BorderSettings, StripeSettings, CustomSettings)
Operator = choice(OURS, "kind")
