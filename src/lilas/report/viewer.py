"""Frames as the report embeds them: pictures of 256 levels that fit a budget of bytes.

A sequence is one variable of one run, trajectory and field through lead time, (time, x, y); of one
space axis it is one picture, (1, time, x), whose axes are lead time and space. Its values become
codes 0 to 255 between its own minimum and maximum, so that none is off by more than half a step,
(maximum - minimum) / 510. Codes are kept as differences along time and x, modulo 256, which
compress better, then as gzip and base64.
"""

import base64
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lilas.display import spaced
from lilas.errors import broken
from lilas.evaluation.metrics import EPS_VARIANCE
from lilas.records.stores import open_store, read
from lilas.report.looks import Looks, field_scale, run_of
from lilas.report.panels import axes, axis_names, labelled, points

VARIABLES = ("truth", "mean", "spread", "member")
_ALL = 10**9
# What is kept of the frames: lead times, trajectories, points along an axis. The first that fits.
PLANS = (
    (_ALL, _ALL, _ALL),
    (31, _ALL, _ALL),
    (21, _ALL, _ALL),
    (21, 4, _ALL),
    (21, 2, _ALL),
    (21, 1, _ALL),
    (21, 1, 256),
    (21, 1, 128),
    (11, 1, 128),
    (11, 1, 64),
    (6, 1, 64),
    (6, 1, 32),
)
# No frames compress to a tenth, and to try would be to read them all.
_HOPELESS = 10


@dataclass(frozen=True)
class Viewer:
    """What the report's viewer shows.

    Attributes:
        runs: Names, coordinates and sequences of each run, as `page/viewer.js` reads them.
        blobs: Packed sequences; equal ones, such as the truth of two runs, are one.
        left_out: What of the frames is not embedded, a sentence per dataset.
    """

    runs: list[dict[str, Any]]
    blobs: list[str]
    left_out: list[str]


def embed(manifests: Sequence[Path], budget: int, looks: Looks) -> Viewer | None:
    """Returns the frames of runs as the report embeds them; None if even the fewest are too many.

    Where they do not fit, lead times are thinned out, then trajectories left out, then points
    thinned out.

    Args:
        manifests: Of stores of frames, one or more.
        budget: Most bytes of packed sequences.
        looks: Of the study's runs; the viewer offers the runs in their order.

    Raises:
        LilasError: a store is damaged, or holds values that are not finite.
    """
    found = [open_store(manifest, *VARIABLES) for manifest in manifests]
    stores = sorted(found, key=lambda store: list(looks).index(run_of(store)))
    for plan in PLANS:
        kept = [_kept(store, plan) for store in stores]
        pairs = list(zip(stores, kept, strict=True))
        if sum(_codes(store.isel(places)) for store, places in pairs) > _HOPELESS * budget:
            continue
        packer = _Packer(budget)
        runs = []
        for store, places in pairs:
            if not packer.full:
                look = looks[run_of(store)]
                names = {"run": look.label, "colour": look.colour}
                runs.append(names | _pictures(store, places, packer))
        if not packer.full:
            left_out = dict.fromkeys(text for pair in pairs if (text := _left_out(*pair)))
            return Viewer(runs, list(packer.places), list(left_out))
    return None


def pack(codes: np.ndarray) -> str:
    """Returns codes (time, x, y), uint8, as differences, compressed, in base64."""
    along_time = codes.copy()
    along_time[1:] -= codes[:-1]
    along_both = along_time.copy()
    along_both[:, 1:] -= along_time[:, :-1]
    return base64.b64encode(gzip.compress(along_both.tobytes(), 6, mtime=0)).decode()


class _Packer:
    """Packs sequences up to a budget, equal ones once."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.places: dict[str, int] = {}

    @property
    def full(self) -> bool:
        return self.left < 0

    def add(self, values: np.ndarray) -> list[float]:
        """Packs a sequence (time, x, y) and returns [place, minimum, step]."""
        low = float(values.min())
        step = (float(values.max()) - low) / 255
        blob = pack(np.rint((values - low) / (step or 1)).astype(np.uint8))
        if blob not in self.places:
            self.places[blob] = len(self.places)
            self.left -= len(blob)
        return [self.places[blob], low, step]


def _kept(store: xr.Dataset, plan: tuple[int, int, int]) -> dict[str, Any]:
    """Returns the places that a plan keeps, by dimension; the first and last lead time stay."""
    leads, trajectories, most = plan
    return {
        "trajectory": slice(trajectories),
        "time": spaced(store.sizes["time"], leads),
        **{axis: slice(None, None, -(-store.sizes[axis] // most)) for axis in axes(store)},
    }


def _codes(store: xr.Dataset) -> int:
    """Returns how many codes the sequences of a run have, its truth not counted."""
    several = store.sizes["member"] > 1
    return store["truth"].size * (3 + store.sizes["member"] if several else 2)


def _left_out(store: xr.Dataset, places: dict[str, Any]) -> str:
    """Returns what of a dataset's frames is not embedded, empty if all of them are."""
    small = store.isel(places)
    parts = [
        f"{small.sizes[axis]} of {store.sizes[axis]} {name}"
        for axis, name in {
            "time": "lead times",
            "trajectory": "trajectories",
            **{axis: f"points along {axis}" for axis in axes(store)},
        }.items()
        if small.sizes[axis] < store.sizes[axis]
    ]
    return f"{store.attrs['dataset']}: {', '.join(parts)}" if parts else ""


def _pictures(store: xr.Dataset, places: dict[str, Any], packer: _Packer) -> dict[str, Any]:
    """Returns a run's names and coordinates, and its sequences [trajectory][field]."""
    small = store.isel(places)
    grid = [points(small, i) for i in range(small.sizes["trajectory"])]
    names = axis_names(store)
    # Of one space axis, lead time is the other one of a picture.
    if flat := len(names) == 1:
        names = ["lead time", *names]
        grid = [[small["lead_time"].values, *one] for one in grid]
    return {
        "dataset": store.attrs["dataset"],
        "trajectories": small["trajectory"].values.tolist(),
        "fields": [labelled(store, str(name)) for name in store["channel"].values],
        "lead_times": small["lead_time"].values.tolist(),
        "all_lead_times": store["lead_time"].values.tolist(),
        "flat": flat,
        "axes": names,
        "x": [x.tolist() for x, _ in grid],
        "y": [y.tolist() for _, y in grid],
        "sequences": [
            [
                _sequences(store.isel(trajectory=i, channel=c), places, packer)
                for c in range(store.sizes["channel"])
                if not packer.full
            ]
            for i in range(small.sizes["trajectory"])
        ],
    }


def _sequences(store: xr.Dataset, places: dict[str, Any], packer: _Packer) -> dict[str, Any]:
    """Returns the panels of one trajectory and field, and its errors at every lead time.

    VRMSE is that of `lilas.evaluation.metrics`, of three space axes in the plane that the frames
    keep. The spread beside it is divided by the same deviation.
    """
    whole = {name: read(store, name) for name in VARIABLES}
    for name, values in whole.items():
        if not np.isfinite(values).all():
            action = "Delete it and run again."
            raise broken(store.encoding["source"], f"finite values of {name}", "others", action)
    truth, mean, spread = whole["truth"], whole["mean"], whole["spread"]
    error = mean - truth
    if several := len(whole["member"]) > 1:
        members = {f"member {k + 1}": member for k, member in enumerate(whole["member"])}
        states = {"truth": truth, "ensemble mean": mean} | members
        departures = {"error of the mean": error, "spread": spread}
    else:
        states, departures = {"truth": truth, "forecast": mean}, {"error": error}
    scale, low, high = field_scale(truth)
    if scale == "log":
        # What is embedded are logarithms: a forecast of another sign has none.
        if all(values.min() > 0 for values in states.values()):
            low, high = math.log10(low), math.log10(high)
            states = {name: np.log10(values) for name, values in states.items()}
        else:
            scale = "linear"
    inside = tuple(places[dim] if dim in places else slice(None) for dim in store["truth"].dims)
    if truth.ndim == 2:
        inside = (None, *inside)
    space = tuple(range(1, truth.ndim))
    deviation = np.sqrt(truth.var(space, ddof=1, dtype=np.float64) + EPS_VARIANCE)
    curves = {"vrmse": error} | ({"spread": spread} if several else {})
    return {
        "scale": scale,
        "range": [low, high],
        # Error and spread share a scale, so that they can be compared; a forecast that blew up
        # does not set it.
        "limit": min(float(np.abs(error).max()), float(np.ptp(truth))),
        "panels": {name: packer.add(x[inside]) for name, x in (states | departures).items()},
        "curves": {
            name: (np.sqrt(np.square(x, dtype=np.float64).mean(space)) / deviation).tolist()
            for name, x in curves.items()
        },
    }
