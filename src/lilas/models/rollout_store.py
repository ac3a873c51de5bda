"""Ensembles of rollouts as a Zarr store of latents: rolled out in blocks, resumed by block."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from lilas.data import axes
from lilas.devices import compile_modules
from lilas.models.observations import Guide, guided
from lilas.models.rollout import check_long_enough, ensemble, part_of, read_steps
from lilas.progress import progress
from lilas.records import stores

VARIABLE = "latent"


def write_rollouts(
    store: Path,
    source: Any,
    emulator: nn.Module,
    *,
    rows: list[int],
    steps: range,
    settings: Any,
    stride: int,
    sampler: Any,
    record: dict[str, Any],
    device: torch.device,
    guide: Guide | None = None,
    part: tuple[int, int] = (1, 1),
) -> None:
    """Rolls ensembles out from trajectories into a partial store; what is there already is kept.

    The store is begun where it is not; jobs that write parts of it side by side need it before.

    Args:
        store: The final path of the store.
        source: The latents, as `lilas.models.latents.open_latents` gives them.
        emulator: The emulator, on `device`.
        rows: The trajectories.
        steps: The steps of a rollout in its trajectory, context included and first.
        settings: The emulator's, a `lilas.study.emulators.EmulatorSettings`.
        stride: Solver steps between the states of a window.
        sampler: A `lilas.study.entries.SamplerEntry`.
        record: Provenance.
        device: Where to sample.
        guide: What guides the sampler, where it is guided by observations.
        part: As of `part_of`: which of the trajectories to roll out.

    Raises:
        LilasError: a trajectory has fewer steps, or what guides them is of other trajectories.
    """
    if guide is not None:
        guide.check(source, rows)
    begin_rollouts(
        store, source, rows=rows, steps=steps, stride=stride, sampler=sampler, record=record
    )
    array = stores.open_to_fill(store, VARIABLE)
    if sampler.compile:
        compile_modules(device, emulator.backbone)
    together = max(1, sampler.batch_size // sampler.members)
    name = "/".join(store.parts[-4:-1])
    own = part_of(len(rows), part, together)
    with progress(total=len(own), desc=name, unit="trajectory") as bar:
        for first in own[::together]:
            block = slice(first, min(first + together, own.stop))
            # What an earlier, killed run finished is kept.
            if stores.is_filled(array, block):
                bar.update(block.stop - block.start)
                continue
            given = steps[: sampler.context]
            states = np.stack([read_steps(source.read, row, given) for row in rows[block]])
            observing = None
            if guide is not None:
                how = {"guide": guide, "rows": rows[block], "steps": steps, "sampler": sampler}
                observing = partial(guided, **how)
            generated = ensemble(
                emulator,
                torch.from_numpy(states).to(device),
                torch.from_numpy(source.labels[rows[block]]).to(device),
                rows[block],
                states=array.shape[2],
                settings=settings,
                sampler=sampler,
                wrap=observing,
            )
            stores.fill(array, (block,), generated.float().cpu().numpy())
            bar.update(block.stop - block.start)


def begin_rollouts(
    store: Path,
    source: Any,
    *,
    rows: list[int],
    steps: range,
    stride: int,
    sampler: Any,
    record: dict[str, Any],
) -> None:
    """Creates the empty store of rollouts; the arguments are those of `write_rollouts`.

    A store that a killed run of the same configuration began stays as it is.

    Raises:
        LilasError: a trajectory has fewer steps.
    """
    check_long_enough(source, rows, steps)
    if stores.is_begun(store, VARIABLE, record):
        return
    index = np.array(steps)
    leads = (np.arange(len(index)) - (sampler.context - 1)) * stride
    sizes = {"trajectory": len(rows), "member": sampler.members, "time": len(index)}
    sizes |= {"channel": source.shape[0]}
    sizes |= dict(zip(("x", "y", "z"), source.shape[1:], strict=False))
    names, indices = zip(*map(source.origin, rows), strict=True)
    times = [source.times(row)[None, index] for row in rows]
    units = {"units": source.time_units}
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
                **axes.variables("time", times, axes.TIME_TOLERANCE, units),
                "step": ("time", index),
                "lead_time": ("time", leads, {"units": "solver steps"}),
                "file": ("trajectory", stores.text(names)),
                "index_in_file": ("trajectory", np.array(indices)),
            },
            attrs={
                "context": sampler.context,
                "stride": stride,
                "temperature": sampler.temperature,
            },
        ),
        record=record,
    )
