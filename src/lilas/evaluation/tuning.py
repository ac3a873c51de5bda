"""Ensembles at several temperatures of their noise, scored in latent space.

The trajectories are those of the validation split: what is chosen by them owes nothing to the test
split. Each latent channel is in units of its own deviation over those trajectories, so that none
counts for its scale.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lilas.devices import compile_modules
from lilas.errors import broken
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.ensembles import finite
from lilas.evaluation.field_scores import crps
from lilas.files import read_json
from lilas.models.latents import open_latents
from lilas.models.rollout import ensemble, evaluated_trajectories, read_steps
from lilas.progress import progress
from lilas.study.leads import reached, rollout_steps


def open_validation(manifest: Path, weights: Path) -> Any:
    """Opens the latents of the validation split, as `lilas.models.latents.open_latents`.

    Raises:
        LilasError: as there, or they are of another split.
    """
    source = open_latents(manifest, weights)
    names = read_json(manifest, ("provenance",))["provenance"]["config"].get("names", {})
    if (split := names.get("split")) != "valid":
        action = "Name the manifest of the validation split: no other may decide a temperature."
        found = f"the {split} split" if split else "those of no split"
        raise broken(manifest, "latents of the validation split", found, action)
    return source


def validation_span(
    manifest: Path, source: Any, evaluation: Any, stride: int, sampler: Any
) -> tuple[list[int], range]:
    """Returns which trajectories are rolled out, and the steps of a rollout in its trajectory.

    They are as many as are evaluated of the test split, at most, and the lead times are those of
    the evaluation, as far as the shortest of them reaches.

    Args:
        manifest: Of the latents, for the error.
        source: The latents.
        evaluation: A `lilas.study.datasets.Evaluation`.
        stride: Solver steps between states.
        sampler: A `lilas.study.entries.SamplerEntry`.

    Raises:
        LilasError: none reaches the first lead time.
    """
    few = evaluation.trajectories and min(evaluation.trajectories, source.trajectories)
    asked = evaluation.model_dump() | {"trajectories": few}
    rows = evaluated_trajectories(asked, source.trajectories)
    shortest = int(min(source.steps[row] for row in rows))
    span = evaluation.start, sampler.context, stride
    last = reached(*span, evaluation.last, sampler.direction, shortest)
    if not last:
        action = "Lower evaluation.start or the context, or set a temperature without tuning it."
        raise broken(manifest, "validation trajectories to forecast", f"{shortest} steps", action)
    return rows, rollout_steps(*span, last, sampler.direction)


def score_temperatures(
    emulator: nn.Module,
    source: Any,
    *,
    rows: Sequence[int],
    steps: range,
    settings: Any,
    stride: int,
    sampler: Any,
    device: torch.device,
) -> tuple[list[dict[str, float]], list[float]]:
    """Returns how ensembles score at each temperature that is tried, with the same random numbers.

    Args:
        emulator: The emulator, on `device`.
        source: The latents.
        rows: The trajectories.
        steps: The steps of a rollout in its trajectory, context included and first.
        settings: The emulator's, a `lilas.study.emulators.EmulatorSettings`.
        stride: Solver steps between the states of a window.
        sampler: A `lilas.study.entries.SamplerEntry` with `tune_temperature`.
        device: Where to sample.

    Returns:
        A row for each temperature and lead time, with the fair CRPS, the root mean square of the
        error of the ensemble's mean and that of its spread, which an honest ensemble has alike, all
        over trajectories, channels and points; and the temperatures at which a rollout diverged.
    """
    if sampler.compile:
        compile_modules(device, emulator.backbone)
    deviations = _deviations(source, rows, steps[sampler.context :])
    found: list[dict[str, float]] = []
    diverged: list[float] = []
    together = max(1, sampler.batch_size // sampler.members)
    with progress(total=len(sampler.tune_temperature), desc="tune", unit="temperature") as bar:
        for temperature in sampler.tune_temperature:
            warm = sampler.model_copy(update={"temperature": temperature})
            totals = []
            for first in range(0, len(rows), together):
                block = rows[first : first + together]
                states = np.stack([read_steps(source.read, row, steps) for row in block])
                truth = torch.from_numpy(states).to(device)
                generated = ensemble(
                    emulator,
                    truth[:, : sampler.context],
                    torch.from_numpy(source.labels[block]).to(device),
                    block,
                    states=len(steps),
                    settings=settings,
                    sampler=warm,
                )
                new = slice(sampler.context, None)
                scores = _scores(truth[:, new], generated[:, :, new].float(), deviations)
                totals.append(scores)
                if scores is None:
                    break
            bar.update()
            if totals[-1] is None:
                diverged.append(temperature)
                continue
            means = torch.stack(totals).sum(0) / len(rows)
            means[1:] = means[1:].sqrt()
            for i, (score, rmse, spread) in enumerate(means.T.tolist()):
                at = {"temperature": temperature, "lead_time": (i + 1) * stride}
                found.append(at | {"crps": score, "rmse": rmse, "spread": spread})
    return found, diverged


def _deviations(source: Any, rows: Sequence[int], steps: range) -> Tensor:
    """Returns each channel's deviation over trajectories, times and points; 1 where it has none."""
    count, sums = 0, np.zeros((2, source.shape[0]))
    for row in rows:
        states = read_steps(source.read, row, steps).astype(np.float64)
        flat = states.swapaxes(0, 1).reshape(len(sums[0]), -1)
        sums += flat.sum(1), np.square(flat).sum(1)
        count += flat.shape[1]
    mean, square = sums / count
    variance = square - mean**2
    # Of a channel that never changes, rounding is left.
    deviation = np.sqrt(np.where(variance > 1e-10 * square, variance, 1.0))
    return torch.from_numpy(deviation.astype(np.float32))


def _scores(truth: Tensor, members: Tensor, deviations: Tensor) -> Tensor | None:
    """Returns CRPS, squared error and squared spread (3, time), summed over trajectories.

    Args:
        truth: (trajectory, time, channel, *space).
        members: (trajectory, member, time, channel, *space).
        deviations: By which they are divided, (channel,).

    Returns:
        The means over channels and points, on the CPU; None where a member is not finite.
    """
    if not finite(members):
        return None
    spatial = truth.ndim - 3
    scale = deviations.to(truth.device).view(-1, *[1] * spatial)
    compared = Comparison(truth / scale, (members / scale).transpose(0, 1), spatial)
    spread = compared.ensemble.spread
    every = torch.stack([crps(compared), compared.mse, spread.square()])
    return every.mean(-1).sum(1).cpu()
