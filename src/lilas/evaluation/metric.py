"""What a metric declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        name: Its name in tables and files.
        function: Returns the score, a tensor (*leading), or None where it is undefined; of
            `METRICS`, from a `Comparison`.
        formula: What it computes, in LaTeX: truth u, members v_k, K members, <·> over space.
        units: `1`, `field` for the field's unit, or `steps` of the solver.
        orientation: Which values are better: `lower`, `higher`, the closer to `one`, or `none`.
        reference: Where it comes from.
        fields: The only fields that it is defined for; None is all.
    """

    name: str
    function: Callable[..., Any]
    formula: str
    units: Literal["1", "field", "steps"]
    orientation: Literal["lower", "higher", "one", "none"]
    reference: str
    fields: tuple[str, ...] | None = None
