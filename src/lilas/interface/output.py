"""Rollouts as they are decoded: into memory, or into a Zarr store that memory need not hold."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import psutil
import xarray as xr

from lilas.data.about import About
from lilas.errors import LilasError, broken
from lilas.interface.states import TIME, TRAJECTORY, States, as_dataset
from lilas.progress import progress

# Bytes of states that are decoded, and written, at once.
_BLOCK = 2**27
# The part of the memory that is free which states may take: what is made of them takes as much.
_SHARE = 0.5


class Output:
    """The states of an ensemble of rollouts, in physical units.

    Args:
        taken: The user's states.
        about: What the model is of.
        sizes: Members, and new states of each.
        leads: Solver steps from the last given state to each new one.
        to: A new folder of a Zarr store; None is memory.

    Raises:
        LilasError: memory does not hold them, or the folder is there already.
    """

    def __init__(
        self,
        taken: States,
        about: About,
        sizes: tuple[int, int],
        leads: np.ndarray,
        to: str | Path | None,
    ) -> None:
        self.about, self.to = about, None if to is None else Path(to)
        self.dims = (TRAJECTORY, "member", TIME)
        self.single = TRAJECTORY not in taken.given
        shape = taken.values.shape
        self.shape, self.dtype = (shape[0], *sizes, *shape[2:]), taken.values.dtype
        self.coords = {
            "member": np.arange(sizes[0]),
            "lead_time": (TIME, leads, {"units": "solver steps"}),
        } | _times(taken, about, leads)
        if TRAJECTORY in taken.coords:
            own = np.atleast_1d(taken.coords[TRAJECTORY].values)
            self.coords[TRAJECTORY] = (TRAJECTORY, own)
        self.state = self.dtype.itemsize * int(np.prod(shape[2:]))
        if self.to is None:
            self._check_memory()
            self.values = np.empty(self.shape, self.dtype)
        else:
            self._create()

    def write(
        self, first: int, latents: np.ndarray, decode: Callable[[np.ndarray, Any], np.ndarray]
    ) -> None:
        """Decodes latents of some trajectories, from the first on, and keeps their states.

        Args:
            first: Place of the first trajectory.
            latents: (trajectory, member, time, channel, *space).
            decode: Returns the states (state, channel, *space) of latents, in a type of numbers.
        """
        few = max(1, _BLOCK // self.state)
        places = [
            (row, member, slice(start, start + few))
            for row in range(len(latents))
            for member in range(latents.shape[1])
            for start in range(0, latents.shape[2], few)
        ]
        for row, member, steps in progress(places, desc="decode", unit="block", delay=1):
            states = decode(latents[row, member, steps], self.dtype)
            at = slice(first + row, first + row + 1), slice(member, member + 1), steps
            if self.to is None:
                self.values[at] = states
            else:
                block = as_dataset(states[None, None], self.dims, {}, self.about)
                stop = min(steps.stop, self.shape[2])
                region = dict(zip(self.dims, (*at[:2], slice(steps.start, stop)), strict=True))
                block.drop_vars(list(self.about.axes), errors="ignore").to_zarr(
                    self._part, region=region
                )

    def finish(self) -> xr.Dataset:
        """Returns the states; those of a store are read as they are asked for."""
        if self.to is None:
            dataset = as_dataset(self.values, self.dims, self.coords, self.about)
        else:
            os.rename(self._part, self.to)
            dataset = xr.open_zarr(self.to)
        return dataset.isel({TRAJECTORY: 0}) if self.single else dataset

    def _check_memory(self) -> None:
        needed, free = self.state * int(np.prod(self.shape[:3])), psutil.virtual_memory().available
        if needed > _SHARE * free:
            rows, members, steps = self.shape[:3]
            raise LilasError(
                f"rollout: {rows} trajectories, {members} members and {steps} steps are "
                f"{needed / 1e9:.3g} GB of states, and {free / 1e9:.3g} GB of memory are free; ask "
                "for less, or stream them to a folder: to='rollout.zarr'"
            )

    def _create(self) -> None:
        if self.to.exists():
            action = "Name another, or delete it."
            raise broken(self.to, "a new folder", "one that is there", action)
        self._part = self.to.with_name(f".{self.to.name}.part")
        steps = min(self.shape[2], max(1, _BLOCK // self.state))
        chunks = (1, 1, steps, *self.shape[3:])
        empty = dask.array.empty(self.shape, dtype=self.dtype, chunks=chunks)
        template = as_dataset(empty, self.dims, self.coords, self.about)
        with warnings.catch_warnings():
            # Consolidated metadata opens faster; that Zarr 3 does not specify it yet is known.
            warnings.simplefilter("ignore")
            template.to_zarr(self._part, mode="w", compute=False, consolidated=True)


def _times(taken: States, about: About, leads: np.ndarray) -> dict[str, Any]:
    """Returns the times of new states, which go on from those given where the distance is known."""
    if about.interval is None or not np.isclose(*about.interval, rtol=1e-3):
        return {}
    begin = 0.0
    if TIME in taken.coords:
        begin = float(taken.coords[TIME].values[-1 if leads[0] > 0 else 0])
    return {TIME: (TIME, begin + about.interval[0] * leads, {"units": about.time_units})}
