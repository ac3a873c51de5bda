"""Scores that are functions: power spectra and rank histograms.

Shapes are those of `lilas.evaluation.metrics`, with one more axis for the places along a curve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lilas.evaluation import spectra
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.ensembles import Ensemble
from lilas.evaluation.metrics import PAPER


@dataclass(frozen=True)
class Curve:
    """A score that is a function.

    Attributes:
        name: Its name in files.
        function: Returns where (n,) and the values there (*leading, n), or None where undefined.
        formula: What it computes, as of a `Metric`.
        at: What it is a function of, and the unit.
        units: Of the values: `1`, or `field^2` for the field's unit squared.
        reference: Where it comes from.
    """

    name: str
    function: Callable[[Comparison], tuple[Tensor, Tensor] | None]
    formula: str
    at: str
    units: Literal["1", "field^2"]
    reference: str


def curves(u: Tensor, v: Tensor | Ensemble, *, spatial: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns `CURVES` by name: where (n,) and the values there (*leading, n), float64.

    The rank histogram is undefined for one member, and left out.

    Args:
        u: Truth (*leading, *space), physical units.
        v: Ensemble (member, *leading, *space), physical units.
        spatial: Number of space axes.

    Raises:
        LilasError: the shapes do not fit, or a value is not finite.
    """
    comparison = Comparison(u, v, spatial)
    found = {name: curve.function(comparison) for name, curve in CURVES.items()}
    return {name: curve for name, curve in found.items() if curve is not None}


def _power_spectrum(c: Comparison) -> tuple[Tensor, Tensor]:
    return spectra.shells_of(c.u, c.spatial).k, c.ensemble.modes.power


def _power_spectrum_truth(c: Comparison) -> tuple[Tensor, Tensor]:
    return spectra.power_spectrum(c.u, c.spatial)


def _rank_histogram(c: Comparison) -> tuple[Tensor, Tensor] | None:
    if c.rank_histogram is None:
        return None
    ranks = torch.arange(c.ensemble.members + 1, dtype=torch.double, device=c.u.device)
    return ranks, c.rank_histogram


CURVES: dict[str, Curve] = {
    curve.name: curve
    for curve in (
        Curve(
            "power_spectrum",
            _power_spectrum,
            r"p_v(k) = \frac{1}{K} \sum_k \langle |V_k|^2 \rangle_k",
            "wavenumber (cycles per pixel)",
            "field^2",
            PAPER,
        ),
        Curve(
            "power_spectrum_truth",
            _power_spectrum_truth,
            r"p_u(k) = \langle |U|^2 \rangle_k",
            "wavenumber (cycles per pixel)",
            "field^2",
            PAPER,
        ),
        Curve(
            "rank_histogram",
            _rank_histogram,
            r"f_i,\ i = 0, \dots, K",
            "rank",
            "1",
            "Hamill (2001)",
        ),
    )
}
