"""Speed of the metrics against the same mathematics plainly, with the same numbers.

Run `OMP_NUM_THREADS=2 python benchmarks/metrics.py`. The plain twin takes one field and one lead
time at a time and every score by itself, as its formula reads: complex transforms and bins anew
for each spectrum, POT for the distances, pairs of members for CRPS and energy score. LILAS scores
all fields and lead times of an ensemble in one call. Both take turns in one process; times are the
shortest of the turns, for what else a busy machine does only adds to them. What LILAS keeps between
calls, the bins and directions of a grid, was made before.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

import ot
import torch
from torch import Tensor

from lilas.evaluation.curves import curves
from lilas.evaluation.ensembles import Ensemble
from lilas.evaluation.field_scores import evaluate
from lilas.evaluation.metrics import METRICS
from lilas.evaluation.spectra import bands

MEMBERS = 16
# Lead times, fields, grid, and the field that is a density.
CASES = {
    "RB 512x128, 4 fields": (2, 4, (512, 128), None),
    "Euler 512x512, 5 fields": (1, 5, (512, 512), 0),
}
Scores = dict[str, Tensor]
Twin = Callable[[Tensor, Tensor], Scores]


# --- The plain twin ------------------------------------------------------------------------------


def isotropic(values: Tensor) -> tuple[Tensor, Tensor]:
    """Returns k and the mean over each isotropic bin of values (*leading, x, y)."""
    axes = [torch.fft.fftfreq(size, dtype=torch.double) for size in values.shape[-2:]]
    k = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt().flatten()
    count = math.floor(math.sqrt(2) * min(values.shape[-2:]) / 2)
    edges = torch.linspace(0, k.max(), count + 1, dtype=torch.double)
    index = torch.bucketize(k - 1e-9, edges)
    flat = values.flatten(-2).double()
    sums = flat.new_zeros(*flat.shape[:-1], count + 1)
    sums.scatter_add_(-1, index.expand_as(flat), flat)
    return edges[1:], (sums / torch.bincount(index, minlength=count + 1))[..., 1:]


def modes(u: Tensor) -> Tensor:
    return torch.fft.fftn(u, dim=(-2, -1), norm="ortho")


def power(u: Tensor) -> tuple[Tensor, Tensor]:
    return isotropic(modes(u).abs().square())


def by_band(name: str, k: Tensor, ratio: Tensor) -> Scores:
    return {
        f"{name}_{band}": (1 - ratio[inside]).square().mean().sqrt()
        for band, inside in bands(k).items()
    }


def plain_points(u: Tensor, v: Tensor) -> Scores:
    def rmse() -> Tensor:
        return (u.double() - v.double().mean(0)).square().mean().sqrt()

    def spread() -> Tensor:
        variance = v.double().var(0, correction=0).mean()
        return torch.sqrt((len(v) + 1) / (len(v) - 1) * variance)

    error, mean = u.double() - v.double().mean(0), v.double().mean(0)
    pair = torch.stack([u.double().flatten(), mean.flatten()])
    return {
        "rmse": rmse(),
        "nrmse": rmse() / torch.sqrt(u.double().square().mean() + 1e-6),
        "vrmse": rmse() / torch.sqrt(u.double().var() + 1e-6),
        "mae": error.abs().mean(),
        "correlation": torch.corrcoef(pair)[0, 1],
        "spread": spread(),
        "skill": rmse(),
        "spread_skill": (spread() + 1e-3) / (rmse() + 1e-3),
        "total": error.sum().abs() / (u.double().abs().sum() + 1e-6),
    }


def plain_spectra(u: Tensor, v: Tensor) -> Scores:
    k, p_u = power(u)
    p_v = power(v)[1].mean(0)
    found = by_band("power_spectrum", k, (p_v + 1e-6) / (p_u + 1e-6))
    cross = isotropic((modes(u) * modes(v).conj()).abs())[1].mean(0)
    p_u, p_v = power(u)[1], power(v)[1].mean(0)
    return found | by_band("cross_spectrum", k, (cross + 1e-6) / torch.sqrt(p_u * p_v + 1e-12))


def plain_coherence(u: Tensor, v: Tensor) -> Scores:
    k, p_u = power(u)
    p_v = power(v)[1].mean(0)
    cross = isotropic((modes(u) * modes(v).conj()).real)[1].mean(0)
    return by_band("coherence", k, (cross + 1e-6) / torch.sqrt((p_u + 1e-6) * (p_v + 1e-6)))


def plain_wasserstein(u: Tensor, v: Tensor) -> Scores:
    return {"wasserstein": ot.wasserstein_1d(u.flatten(), v.flatten(), p=1)}


def plain_sliced_emd(u: Tensor, v: Tensor) -> Scores:
    points = torch.cartesian_prod(*(torch.linspace(0, 1, size) for size in u.shape))
    masses = ((x / x.sum()).flatten() for x in (u, v.mean(0)))
    distance = ot.sliced_wasserstein_distance(
        points, points, *masses, n_projections=16, p=1, seed=42
    )
    return {"sliced_emd": distance}


def plain_probabilistic(u: Tensor, v: Tensor) -> Scores:
    fair = 2 * len(v) * (len(v) - 1)
    pairs = [(one.double(), other.double()) for one in v for other in v]
    return {
        "crps": (v.double() - u).abs().mean()
        - sum((one - other).abs().mean() for one, other in pairs) / fair,
        "energy_score": (v.double() - u).square().mean((-2, -1)).sqrt().mean()
        - sum((one - other).square().mean().sqrt() for one, other in pairs) / fair,
    }


def plain_ranks(u: Tensor, v: Tensor) -> Scores:
    members = len(v)

    def coverage(r: int) -> Tensor:
        ordered = v.sort(0).values
        inside = (ordered[r - 1] <= u) & (u <= ordered[members - r])
        return inside.double().mean() * (members + 1) / (members + 1 - 2 * r)

    rank = ((v < u).sum(0) + (v <= u).sum(0)) // 2
    fractions = torch.bincount(rank.flatten(), minlength=members + 1).double() / u.numel()
    return {
        "coverage_range": coverage(1),
        "coverage_half": coverage(round((members + 1) / 4)),
        "rank_deviation": (fractions - 1 / (members + 1)).abs().sum(),
    }


# --- Measurement ---------------------------------------------------------------------------------

# Plain twin and the relative difference that the twin's rounding explains: POT adds up to millions
# of weights in single precision.
GROUPS: dict[str, tuple[Twin, float]] = {
    "errors, spread, total": (plain_points, 1e-5),
    "power and cross spectra": (plain_spectra, 1e-4),
    "coherence": (plain_coherence, 1e-4),
    "Wasserstein": (plain_wasserstein, 1e-3),
    "CRPS, energy score": (plain_probabilistic, 1e-5),
    "ranks and coverage": (plain_ranks, 1e-9),
}
DENSITY = "sliced EMD of density"


def names_of(group: str) -> list[str]:
    """Returns the metrics of a group."""
    starts = {
        "errors, spread, total": (
            *("rmse", "nrmse", "vrmse", "mae", "correlation", "spread", "skill", "total"),
        ),
        "power and cross spectra": ("power_spectrum", "cross_spectrum"),
        "coherence": ("coherence",),
        "Wasserstein": ("wasserstein",),
        "CRPS, energy score": ("crps", "energy_score"),
        "ranks and coverage": ("coverage", "rank_deviation"),
        DENSITY: ("sliced_emd",),
    }[group]
    return [name for name in METRICS if name.startswith(starts)]


def draw(lead_times: int, fields: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns a truth and an ensemble that departs from it at the small scales, all positive."""
    torch.manual_seed(0)
    shape = (MEMBERS + 1, lead_times, fields, *grid)
    axes = [torch.fft.fftfreq(grid[0]), torch.fft.rfftfreq(grid[1])]
    k = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    smooth = torch.fft.rfftn(torch.randn(shape), dim=(-2, -1)) * (0.02 + k) ** -1.5
    smooth[1:] = torch.where(k < 0.05, 0.9 * smooth[:1] + 0.1 * smooth[1:], smooth[1:])
    states = torch.fft.irfftn(smooth, s=grid, dim=(-2, -1))
    states = torch.exp(0.3 * states / states.std())
    return states[0].clone(), states[1:].clone()


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def compare(found: Scores, expected: list[list[Scores]]) -> float:
    """Returns the largest relative difference of scores (time, field) from a twin's."""
    return max(
        abs(score[i, j] / one[name] - 1).item()
        for name, score in found.items()
        for i, line in enumerate(expected)
        for j, one in enumerate(line)
    )


def measure(case: str, turns: int) -> None:
    """Prints the rows of a case."""
    lead_times, fields, grid, density = CASES[case]
    u, v = draw(lead_times, fields, grid)
    of_density = slice(0, 1) if density is None else slice(density, density + 1)

    def whole(*truths: Tensor) -> None:
        ensemble = Ensemble(v, 2)
        for truth in truths:
            evaluate(truth, ensemble, spatial=2)
            curves(truth, ensemble, spatial=2)
        if density is not None:
            dense = Ensemble(v[:, :, of_density], 2)
            for truth in truths:
                evaluate(truth[:, of_density], dense, spatial=2, names=["sliced_emd"])

    total = 0.0
    for group, (twin, allowed) in (GROUPS | {DENSITY: (plain_sliced_emd, 1e-4)}).items():
        chosen = of_density if group == DENSITY else slice(None)
        plain = partial(plainly, twin, u[:, chosen], v[:, :, chosen])
        ours = partial(evaluate, u[:, chosen], v[:, :, chosen], spatial=2, names=names_of(group))
        error = compare(ours(), plain())
        if not error <= allowed:
            raise SystemExit(f"{case}, {group}: LILAS and the plain twin differ by {error:.1e}")
        spent = [(seconds(plain), seconds(ours)) for _ in range(turns)]
        shortest = [min(column) for column in zip(*spent, strict=True)]
        counts = group != DENSITY or density is not None
        total += shortest[0] * counts
        row(case, group if counts else f"{group}, were one", *shortest, f"{error:.0e}")
    whole(u)
    row(case, "whole set and curves", total, min(seconds(lambda: whole(u)) for _ in range(turns)))
    # Another reference, such as the auto-encoded truth, takes the ensemble's part from the first.
    other = 0.9 * u + 0.1 * u.mean((-2, -1), keepdim=True)
    both = min(seconds(lambda: whole(u, other)) for _ in range(turns))
    row(case, "the same of two references", 2 * total, both)
    row(case, "a field and lead time of it", *(x / lead_times / fields for x in (2 * total, both)))


def plainly(twin: Twin, u: Tensor, v: Tensor) -> list[list[Scores]]:
    """Returns a twin's scores of each time and field."""
    return [[twin(u[i, j], v[:, i, j]) for j in range(u.shape[1])] for i in range(len(u))]


def row(case: str, group: str, plain: float, ours: float, error: str = "") -> None:
    print(
        f"| {case} | {group} | {plain:.3f} | {ours:.4f} | {plain / ours:.1f} | {error} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="turns of both")
    args = parser.parse_args()
    print(f"cpu, torch {torch.__version__}, {torch.get_num_threads()} threads, {MEMBERS} members\n")
    print("| case | metrics | plain (s) | LILAS (s) | times | largest difference |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        measure(case, args.turns)


if __name__ == "__main__":
    main()
