"""Scores of an ensemble against the truth, over the space axes of each state.

Truth u has the shape (*leading, *space) and ensemble v (member, *leading, *space), in physical
units; every score has the shape (*leading), in float64. Leading axes are whatever a study has:
time, channel, trajectory. Members are reduced one at a time, spectra are computed once per state.

Constants keep scores of uniform states defined. They are the official code's (1.1.0), in the
field's unit, and matter where a field's variance, spread or power per mode is as small as they are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Literal

import torch
from torch import Tensor

from lilas.errors import LilasError

EPS_VARIANCE, EPS_RATIO, EPS_POWER = 1e-6, 1e-3, 1e-6

BANDS = ("low", "mid", "high", "beyond")

# Wavenumbers this close, in cycles per pixel, are equal but for rounding.
_CLOSE = 1e-9


# --- Spectra ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shells:
    """The isotropic bins of a grid's Fourier modes.

    Attributes:
        k: Upper edge of each bin, in cycles per pixel (bin,), float64.
        modes: How many modes of the full spectrum each bin holds (bin,), float64.
        index: Bin of each mode of the real transform (mode,); 0 is the mean or no bin at all.
        weight: Modes of the full spectrum that a mode of the real transform stands for (mode,).
        spatial: Number of space axes.
    """

    k: Tensor
    modes: Tensor
    index: Tensor
    weight: Tensor
    spatial: int

    def average(self, values: Tensor) -> Tensor:
        """Returns the mean over each bin, float64 (*leading, bin).

        Args:
            values: Of each mode of the real transform (*leading, *modes).
        """
        flat = values.reshape(*values.shape[: values.ndim - self.spatial], -1).double()
        sums = flat.new_zeros(*flat.shape[:-1], len(self.k) + 1)
        return sums.index_add_(-1, self.index, flat * self.weight)[..., 1:] / self.modes


@lru_cache(maxsize=32)
def shells(shape: tuple[int, ...], device: torch.device) -> Shells:
    """Returns the isotropic bins of a grid.

    Bins are B = floor(sqrt(n) min(shape) / 2) equal intervals, closed on the right, from 0 to the
    largest |k| of an n-dimensional grid; k = 0 is in none, and a bin without modes (grids of odd
    size have some) is left out (official code 1.1.0).

    Raises:
        LilasError: the grid is too small to have a bin.
    """
    axes = [torch.fft.fftfreq(size, dtype=torch.double) for size in shape[:-1]]
    axes.append(torch.fft.rfftfreq(shape[-1], dtype=torch.double))
    k = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    # A mode of the real transform stands for itself and its conjugate, unless it is its own.
    weight = torch.full(k.shape, 2.0, dtype=torch.double)
    weight[..., 0] = 1.0
    if shape[-1] % 2 == 0:
        weight[..., -1] = 1.0
    bins = math.floor(math.sqrt(len(shape)) * min(shape) / 2)
    if bins < 1 or k.max() == 0:
        raise LilasError(f"metrics: a grid of {shape} is too small for a power spectrum")
    edges = torch.linspace(0, k.max(), bins + 1, dtype=torch.double)
    index = torch.bucketize(k - _CLOSE, edges).flatten()
    modes = torch.zeros(bins + 1, dtype=torch.double).index_add_(0, index, weight.flatten())
    kept = (modes > 0) & (edges > 0)
    index = (torch.cumsum(kept, 0) * kept)[index]
    return Shells(
        k=edges[kept].to(device),
        modes=modes[kept].to(device),
        index=index.to(device),
        weight=weight.flatten().to(device),
        spatial=len(shape),
    )


def power_spectrum(u: Tensor, spatial: int) -> tuple[Tensor, Tensor]:
    """Returns k (bin,) and the isotropic power spectrum p(k) = <|F u|²> (*leading, bin).

    F is the orthonormal discrete Fourier transform, <·> the mean over the modes of a bin.

    Args:
        u: States (*leading, *space).
        spatial: Number of space axes.
    """
    bins, U = _shells(u, spatial), _modes(u, spatial)
    return bins.k, bins.average(_product(U, U))


def cross_spectrum(u: Tensor, v: Tensor, spatial: int) -> tuple[Tensor, Tensor]:
    """Returns k (bin,) and c(k) = <|F u · conj(F v)|> (*leading, bin), which no phase changes.

    The official code's (1.1.0) cross-correlation: two independent noises score 0.78, not 0.

    Args:
        u: States (*leading, *space).
        v: States of the same shape.
        spatial: Number of space axes.
    """
    bins = _shells(u, spatial)
    U, V = _modes(u, spatial), _modes(v, spatial)
    return bins.k, bins.average(U.abs() * V.abs())


def coherence(u: Tensor, v: Tensor, spatial: int) -> tuple[Tensor, Tensor]:
    """Returns k (bin,) and γ(k) = (Re<F u · conj(F v)> + ε) / (sqrt(p_u p_v) + ε) (*leading, bin).

    The correlation of two states scale by scale: 1 for copies, 0 for independent noises, -1 for
    opposites. ε = 1e-6.

    Args:
        u: States (*leading, *space).
        v: States of the same shape.
        spatial: Number of space axes.
    """
    bins = _shells(u, spatial)
    U, V = _modes(u, spatial), _modes(v, spatial)
    cross, *powers = (bins.average(_product(a, b)) for a, b in ((U, V), (U, U), (V, V)))
    return bins.k, _coherence(cross, *powers)


def bands(k: Tensor) -> dict[str, Tensor]:
    """Returns which bins each band holds, bool (bin,); a band without bins is left out.

    Low, mid and high are equal in log k from the first bin's k to 1/2, both ends included; beyond
    is k >= 1/2, which only diagonal modes and the Nyquist frequencies reach (official code 1.1.0).

    Args:
        k: Upper edges of the bins, in cycles per pixel (bin,).
    """
    first = k[0].item()
    edges = [first * (0.5 / first) ** (i / 3) for i in range(4)] + [math.inf]
    found = {
        name: (k >= low - _CLOSE) & (k <= high + _CLOSE)
        for name, low, high in zip(BANDS, edges[:-1], edges[1:], strict=True)
    }
    return {name: inside for name, inside in found.items() if inside.any()}


def _shells(u: Tensor, spatial: int) -> Shells:
    return shells(tuple(u.shape[u.ndim - spatial :]), u.device)


def _modes(u: Tensor, spatial: int) -> Tensor:
    axes = tuple(range(-spatial, 0))
    # The mean is in no bin, and beside a large one the other modes would drown in rounding.
    return torch.fft.rfftn(u - u.mean(axes, keepdim=True), dim=axes, norm="ortho")


def _product(U: Tensor, V: Tensor) -> Tensor:
    # One expression for powers and cross spectrum, so that copies cohere to the last bit.
    return (U * V.conj()).real


def _coherence(cross: Tensor, power_u: Tensor, power_v: Tensor) -> Tensor:
    return (cross + EPS_POWER) / (torch.sqrt(power_u * power_v) + EPS_POWER)


# --- The quantities that scores share ---------------------------------------------------------


@dataclass(frozen=True)
class Spectra:
    """Spectra of a truth and an ensemble, float64 (*leading, bin) each.

    Attributes:
        bands: As of `bands`.
        power_u: Of the truth.
        power_v: Of the members, averaged.
        cross: Of truth and member, without phase, averaged over members.
        coherent: Of truth and member, with phase, averaged over members: <Re F u conj(F v)>.
    """

    bands: dict[str, Tensor]
    power_u: Tensor
    power_v: Tensor
    cross: Tensor
    coherent: Tensor


class Comparison:
    """A truth and an ensemble, with what scores share: each is computed once, when first needed.

    Args:
        u: Truth (*leading, *space).
        v: Ensemble (member, *leading, *space).
        spatial: Number of space axes.

    Raises:
        LilasError: the shapes do not fit, or a value is not finite.
    """

    def __init__(self, u: Tensor, v: Tensor, spatial: int) -> None:
        if v.shape[1:] != u.shape or len(v) == 0 or not 0 < spatial <= u.ndim or u.numel() == 0:
            raise LilasError(
                f"metrics: expected a truth (*leading, *space) with {spatial} space axes and an "
                f"ensemble (member, *leading, *space), found {tuple(u.shape)} and {tuple(v.shape)}"
            )
        for name, x in (("the truth", u), *((f"member {i}", x) for i, x in enumerate(v))):
            if not x.isfinite().all():
                raise LilasError(f"metrics: {name} holds NaN or infinity; the rollout diverged")
        self.u, self.v, self.spatial, self.members = u, v, spatial, len(v)

    def average(self, x: Tensor) -> Tensor:
        """Returns the mean over space, float64 (*leading)."""
        return x.mean(tuple(range(-self.spatial, 0)), dtype=torch.double)

    @cached_property
    def mean(self) -> Tensor:
        """The ensemble mean (*leading, *space)."""
        total = torch.zeros_like(self.u, dtype=torch.double)
        for member in self.v:
            total += member
        return (total / self.members).to(self.u.dtype)

    @cached_property
    def mse(self) -> Tensor:
        """<(u - mean v)²> (*leading)."""
        return self.average((self.u - self.mean).square())

    @cached_property
    def variance(self) -> Tensor:
        """Unbiased variance of the truth over space (*leading)."""
        axes = tuple(range(-self.spatial, 0))
        points = math.prod(self.u.shape[-self.spatial :])
        if points == 1:
            raise LilasError("metrics: a state of one point has no variance")
        centred = self.u - self.u.mean(axes, keepdim=True)
        return self.average(centred.square()) * points / (points - 1)

    @cached_property
    def spread(self) -> Tensor | None:
        """sqrt((K+1)/(K-1) <(1/K) Σ (v_k - mean v)²>) (*leading), undefined for one member."""
        if self.members == 1:
            return None
        total = sum(self.average((member - self.mean).square()) for member in self.v)
        return torch.sqrt((self.members + 1) / (self.members - 1) * total / self.members)

    @cached_property
    def spectra(self) -> Spectra:
        """Spectra of truth and members."""
        bins = _shells(self.u, self.spatial)
        U = _modes(self.u, self.spatial)
        modes_u = _product(U, U)
        power_u = bins.average(modes_u)
        power_v, cross = torch.zeros_like(power_u), torch.zeros_like(power_u)
        for member in self.v:
            V = _modes(member, self.spatial)
            modes_v = _product(V, V)
            power_v += bins.average(modes_v) / self.members
            cross += bins.average(modes_u.sqrt() * modes_v.sqrt()) / self.members
        # Linear in the members, so that their mean stands for all.
        coherent = bins.average(_product(U, _modes(self.mean, self.spatial)))
        return Spectra(
            bands=bands(bins.k),
            power_u=power_u,
            power_v=power_v,
            cross=cross,
            coherent=coherent,
        )


# --- Metrics ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        name: Its name in tables and files.
        function: Returns the score (*leading), or None where it is undefined.
        formula: What it computes, in LaTeX: truth u, members v_k, K members, <·> over space.
        units: `1`, or `field` for the field's unit.
        orientation: Which values are better: `lower`, `higher`, or the closer to `one`.
        reference: Where it comes from.
    """

    name: str
    function: Callable[[Comparison], Tensor | None]
    formula: str
    units: Literal["1", "field"]
    orientation: Literal["lower", "higher", "one"]
    reference: str


def evaluate(
    u: Tensor, v: Tensor, *, spatial: int, names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Returns scores by name, float64 (*leading) each.

    An undefined score is left out, never NaN: `spread` and `spread_skill` of a single member, and
    the bands in which the grid has no modes.

    Args:
        u: Truth (*leading, *space), physical units.
        v: Ensemble (member, *leading, *space), physical units.
        spatial: Number of space axes.
        names: Which of `METRICS`; None is all of them.

    Raises:
        LilasError: the shapes do not fit, a value is not finite, or a name is unknown.
    """
    if unknown := [name for name in names or () if name not in METRICS]:
        raise LilasError(f"metrics: unknown {unknown[0]!r}; allowed: {', '.join(METRICS)}")
    comparison = Comparison(u, v, spatial)
    scores = {
        name: METRICS[name].function(comparison) for name in (METRICS if names is None else names)
    }
    return {name: score for name, score in scores.items() if score is not None}


def _rmse(c: Comparison) -> Tensor:
    return c.mse.sqrt()


def _nrmse(c: Comparison) -> Tensor:
    return torch.sqrt(c.mse / (c.average(c.u.square()) + EPS_VARIANCE))


def _vrmse(c: Comparison) -> Tensor:
    return torch.sqrt(c.mse / (c.variance + EPS_VARIANCE))


def _mae(c: Comparison) -> Tensor:
    return c.average((c.u - c.mean).abs())


def _spread(c: Comparison) -> Tensor | None:
    return c.spread


def _spread_skill(c: Comparison) -> Tensor | None:
    return None if c.spread is None else (c.spread + EPS_RATIO) / (c.mse.sqrt() + EPS_RATIO)


def _power_ratio(s: Spectra) -> Tensor:
    return (s.power_v + EPS_POWER) / (s.power_u + EPS_POWER)


def _cross_ratio(s: Spectra) -> Tensor:
    return (s.cross + EPS_POWER) / torch.sqrt(s.power_u * s.power_v + EPS_POWER**2)


def _coherence_ratio(s: Spectra) -> Tensor:
    return _coherence(s.coherent, s.power_u, s.power_v)


def _band_error(ratio: Callable[[Spectra], Tensor], band: str, c: Comparison) -> Tensor | None:
    """Returns the RMS over a band of 1 - ratio."""
    inside = c.spectra.bands.get(band)
    if inside is None:
        return None
    return (1 - ratio(c.spectra))[..., inside].square().mean(-1).sqrt()


_PAPER = "paper, Section 4 and Appendix B; official code 1.1.0"
_SPECTRAL = {
    "power_spectrum": (
        _power_ratio,
        r"\sqrt{\langle (1 - \frac{p_v + \epsilon}{p_u + \epsilon})^2 \rangle_k}",
        _PAPER,
    ),
    "cross_spectrum": (
        _cross_ratio,
        r"\sqrt{\langle (1 - \frac{c + \epsilon}{\sqrt{p_u p_v + \epsilon^2}})^2 \rangle_k},"
        r"\ c = \langle |U \bar{V}| \rangle",
        f"{_PAPER}; no phase error changes it, use coherence",
    ),
    "coherence": (
        _coherence_ratio,
        r"\sqrt{\langle (1 - \frac{c + \epsilon}{\sqrt{p_u p_v} + \epsilon})^2 \rangle_k},"
        r"\ c = \mathrm{Re} \langle U \bar{V} \rangle",
        "spectral coherence; not in the official code",
    ),
}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rmse",
            _rmse,
            r"\sqrt{\langle (u - \bar{v})^2 \rangle},\ \bar{v} = \frac{1}{K} \sum_k v_k",
            "field",
            "lower",
            _PAPER,
        ),
        Metric(
            "nrmse",
            _nrmse,
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / (\langle u^2 \rangle + 10^{-6})}",
            "1",
            "lower",
            _PAPER,
        ),
        Metric(
            "vrmse",
            _vrmse,
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / (\mathrm{Var}(u) + 10^{-6})}",
            "1",
            "lower",
            _PAPER,
        ),
        Metric("mae", _mae, r"\langle |u - \bar{v}| \rangle", "field", "lower", "mean error"),
        Metric(
            "spread",
            _spread,
            r"\sqrt{\frac{K + 1}{K - 1} \langle \frac{1}{K} \sum_k (v_k - \bar{v})^2 \rangle}",
            "field",
            "lower",
            _PAPER,
        ),
        Metric("skill", _rmse, r"\sqrt{\langle (u - \bar{v})^2 \rangle}", "field", "lower", _PAPER),
        Metric(
            "spread_skill",
            _spread_skill,
            r"\frac{\mathrm{spread} + 10^{-3}}{\mathrm{skill} + 10^{-3}}",
            "1",
            "one",
            "official code 1.1.0, the ratio plotted",
        ),
        *(
            Metric(
                f"{name}_{band}", partial(_band_error, ratio, band), formula, "1", "lower", source
            )
            for name, (ratio, formula, source) in _SPECTRAL.items()
            for band in BANDS
        ),
    )
}
