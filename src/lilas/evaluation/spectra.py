"""Isotropic power spectra, cross spectra and coherence of states.

States have the shape (*leading, *space); spectra (*leading, bin), float64. The discrete Fourier
transform F is orthonormal, and of the state without its mean.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lilas.errors import LilasError
from lilas.evaluation.bands import band_limits

# The official code's (1.1.0) constant, in the field's unit squared.
EPS_POWER = 1e-6

# Wavenumbers this close, in cycles per pixel, are equal but for rounding.
_CLOSE = 1e-9


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
    bins, U = shells_of(u, spatial), transform(u, spatial)
    return bins.k, bins.average(product(U, U))


def cross_spectrum(u: Tensor, v: Tensor, spatial: int) -> tuple[Tensor, Tensor]:
    """Returns k (bin,) and c(k) = <|F u · conj(F v)|> (*leading, bin), which no phase changes.

    The official code's (1.1.0) cross-correlation: two independent noises score 0.78, not 0.

    Args:
        u: States (*leading, *space).
        v: States of the same shape.
        spatial: Number of space axes.
    """
    bins = shells_of(u, spatial)
    U, V = transform(u, spatial), transform(v, spatial)
    return bins.k, bins.average(amplitude(U) * amplitude(V))


def coherence(u: Tensor, v: Tensor, spatial: int) -> tuple[Tensor, Tensor]:
    """Returns k (bin,) and γ(k) = (Re<F u · conj(F v)> + ε) / sqrt((p_u + ε)(p_v + ε)).

    The correlation of two states scale by scale (*leading, bin): 1 for copies, 0 for independent
    noises, -1 for opposites; of a state without power, 1 with another such and 0 with one that has
    some. ε = 1e-6.

    Args:
        u: States (*leading, *space).
        v: States of the same shape.
        spatial: Number of space axes.
    """
    bins = shells_of(u, spatial)
    U, V = transform(u, spatial), transform(v, spatial)
    cross, *powers = (bins.average(product(a, b)) for a, b in ((U, V), (U, U), (V, V)))
    return bins.k, coherence_of(cross, *powers)


def bands(k: Tensor) -> dict[str, Tensor]:
    """Returns which bins each band holds, bool (bin,); a band without bins is left out.

    The ends of a band are in it.

    Args:
        k: Upper edges of the bins, in cycles per pixel (bin,).
    """
    found = {
        name: (k >= low - _CLOSE) & (k <= high + _CLOSE)
        for name, (low, high) in band_limits(k[0].item()).items()
    }
    return {name: inside for name, inside in found.items() if inside.any()}


def shells_of(u: Tensor, spatial: int) -> Shells:
    """Returns the isotropic bins of the grid of states (*leading, *space)."""
    return shells(tuple(u.shape[u.ndim - spatial :]), u.device)


def transform(u: Tensor, spatial: int) -> Tensor:
    """Returns F u, complex (*leading, *modes): half of the modes, as of real states."""
    axes = tuple(range(-spatial, 0))
    # The mean is in no bin, and beside a large one the other modes would drown in rounding.
    return torch.fft.rfftn(u - u.mean(axes, keepdim=True), dim=axes, norm="ortho")


def product(U: Tensor, V: Tensor) -> Tensor:
    """Returns Re(U · conj(V)), of each mode; of U and itself, its power."""
    # One expression for powers and cross spectrum, so that copies cohere to the last bit.
    return torch.addcmul(U.real * V.real, U.imag, V.imag)


def amplitude(U: Tensor) -> Tensor:
    """Returns |U|, of each mode."""
    # torch's own takes several times as long on a CPU.
    return product(U, U).sqrt_()


def coherence_of(cross: Tensor, power_u: Tensor, power_v: Tensor) -> Tensor:
    """Returns (c + ε) / sqrt((p_u + ε)(p_v + ε)), of each bin."""
    return (cross + EPS_POWER) / torch.sqrt((power_u + EPS_POWER) * (power_v + EPS_POWER))
