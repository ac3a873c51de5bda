"""Rollouts: windows generated one after another, each from the end of the one before."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.progress import progress
from lilas.records import stores
from lilas.seeds import derive

VARIABLE = "latent"


@dataclass(frozen=True)
class Window:
    """A window that is to be generated.

    Attributes:
        known: Its known states, zero where unknown, (batch, channel, time, *space).
        mask: Which states are known (batch, time).
        first: Place of its first state in the rollout.
    """

    known: Tensor
    mask: Tensor
    first: int


# Returns the whole window (batch, channel, time, *space).
Step = Callable[[Window], Tensor]


def rollout(
    step: Step,
    context: Tensor,
    *,
    states: int,
    window: int,
    overlap: int,
    crop: int | None = None,
) -> Tensor:
    """Returns a rollout that starts from its context (paper section 3.2).

    A window is generated from its first states and cropped to its first `crop`; the last `overlap`
    of those begin the next one. As in the official code 1.1.0 a window is taken as the emulator
    returns it: where it changes known states, the rollout begins, and goes on, with its version of
    them.

    Args:
        step: Generates a window.
        context: The true states given, (batch, channel, time, *space).
        states: Length of the rollout, context included.
        window: States in a window.
        overlap: Generated states that the next window is given.
        crop: States kept of each window, more than context and overlap; None is all.

    Returns:
        (batch, channel, states, *space).
    """
    kept = slice(crop)
    generated = trajectory = step(_window(context, window, 0))[:, :, kept]
    while trajectory.shape[2] < states:
        first = trajectory.shape[2] - overlap
        generated = step(_window(generated[:, :, -overlap:], window, first))[:, :, kept]
        trajectory = torch.cat([trajectory, generated[:, :, overlap:]], dim=2)
    return trajectory[:, :, :states]


def _window(given: Tensor, window: int, first: int) -> Window:
    """Returns a window that begins with the states given."""
    batch, channels, count, *space = given.shape
    known = given.new_zeros(batch, channels, window, *space)
    known[:, :, :count] = given
    mask = (torch.arange(window, device=given.device) < count).expand(batch, window)
    return Window(known, mask, first)


def evaluated_trajectories(evaluation: dict[str, Any], rows: int) -> list[int]:
    """Returns the test trajectories to evaluate: all, or as many as asked, drawn with the seed.

    Raises:
        LilasError: more are asked for than there are.
    """
    count = evaluation["trajectories"]
    if count is None:
        return list(range(rows))
    if count > rows:
        raise LilasError(
            f"evaluation.trajectories {count}: the test split has {rows}; allowed: at most {rows}"
        )
    drawn = np.random.default_rng(evaluation["seed"]).choice(rows, count, replace=False)
    return sorted(int(row) for row in drawn)


def rollout_steps(start: int, context: int, stride: int, last: int) -> slice:
    """Returns the steps of a rollout: its context, then every `stride` up to lead time `last`.

    The last context state lies at `start`, or as soon after it as the context has room
    (official code 1.1.0); lead times count from there.
    """
    first = max(0, start - (context - 1) * stride)
    states = context + last // stride
    return slice(first, first + (states - 1) * stride + 1, stride)


def write_rollouts(
    store: Path,
    source: Any,
    objective: nn.Module,
    *,
    rows: list[int],
    steps: slice,
    window: int,
    stride: int,
    sampler: Any,
    record: dict[str, Any],
    device: torch.device,
) -> None:
    """Rolls ensembles out from trajectories into a partial store; what is there already is kept.

    Args:
        store: The final path of the store.
        source: The latents, as `lilas.models.latents.open_latents` gives them.
        objective: The emulator, on `device`.
        rows: The trajectories.
        steps: The steps of a rollout in its trajectory, context included.
        window: States in a window.
        stride: Solver steps between the states of a window.
        sampler: A `lilas.study.entries.SamplerEntry`.
        record: Provenance.
        device: Where to sample.
    """
    if not stores.is_begun(store, VARIABLE, record):
        _create(store, source, rows, steps, sampler, stride, record)
    array = zarr.open_array(stores.partial(store), path=VARIABLE, mode="r+")
    together = max(1, sampler.batch_size // sampler.members)
    name = "/".join(store.parts[-4:-1])
    with progress(total=len(rows), desc=name, unit="trajectory") as bar:
        for first in range(0, len(rows), together):
            block = slice(first, min(first + together, len(rows)))
            # What an earlier, killed run finished is kept.
            if not np.isnan(array[block, -1, -1]).any():
                bar.update(block.stop - block.start)
                continue
            states = np.stack([source.read(row)[steps] for row in rows[block]])
            context = torch.from_numpy(states[:, : sampler.context]).transpose(1, 2)
            context = context.repeat_interleave(sampler.members, 0).to(device)
            label = torch.from_numpy(source.labels[rows[block]]).to(device)
            label = label.repeat_interleave(sampler.members, 0)
            names = [(row, member) for row in rows[block] for member in range(sampler.members)]
            draws = Draws(derive(sampler.seed), names)
            generated = rollout(
                objective.stepper(label, sampler, draws),
                context,
                states=states.shape[1],
                window=window,
                overlap=sampler.overlap,
                crop=sampler.crop,
            )
            generated = generated.unflatten(0, (-1, sampler.members)).transpose(2, 3)
            array[block] = generated.float().cpu().numpy()
            bar.update(block.stop - block.start)


def _create(
    store: Path,
    source: Any,
    rows: list[int],
    steps: slice,
    sampler: Any,
    stride: int,
    record: dict[str, Any],
) -> None:
    index = np.arange(steps.start, steps.stop, steps.step)
    leads = (np.arange(len(index)) - (sampler.context - 1)) * stride
    sizes = {"trajectory": len(rows), "member": sampler.members, "time": len(index)}
    sizes |= {"channel": source.shape[0]}
    sizes |= dict(zip(("x", "y", "z"), source.shape[1:], strict=False))
    names, indices = zip(*map(source.origin, rows), strict=True)
    stores.create(
        store,
        variable=VARIABLE,
        sizes=sizes,
        chunk={"trajectory": 1},
        shard={"trajectory": 1},
        dataset=xr.Dataset(
            coords={
                "trajectory": np.asarray(rows),
                "member": np.arange(sampler.members),
                "time": ("time", source.time[index], {"units": source.time_units}),
                "step": ("time", index),
                "lead_time": ("time", leads, {"units": "solver steps"}),
                "file": ("trajectory", stores.text(names)),
                "index_in_file": ("trajectory", np.array(indices)),
            },
            attrs={"context": sampler.context, "stride": stride},
        ),
        record=record,
    )
