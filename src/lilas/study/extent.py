"""What is known of a dataset before the first job."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """What is known of a dataset, from a study's settings or from files that exist.

    Attributes:
        size: Grid points along each axis.
        channels: Names of the channels of a state.
        steps: By split, states of the shortest trajectory.
        trajectories: By split; empty where unknown.
        axes: Names of the space axes; None where unknown.
        boundaries: By axis, the kinds of both its ends (`periodic`, `wall`, `open`) in all
            training files; empty where unknown.
        parameters: Names of the constants of a trajectory; None where unknown.
        grid: The kind of grid.
        values: By parameter, values that trajectories have, the lowest and the highest among them;
            None where unknown.
        units: Of channels, axes and parameters, as `lilas.data.units.units_of`; None where unknown.
    """

    size: Sequence[int]
    channels: Sequence[str]
    steps: Mapping[str, int]
    trajectories: Mapping[str, int]
    axes: Sequence[str] | None = None
    boundaries: Mapping[str, Collection[str]] | None = None
    parameters: Collection[str] | None = None
    grid: str = "cartesian"
    values: Mapping[str, Collection[float]] | None = None
    units: Mapping[str, Mapping[str, str]] | None = None
