"""Frames: decoded states of a few rollouts beside the truth, for people to look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from lilas.data import axes
from lilas.data.channels import unit_of
from lilas.data.states import Pixels
from lilas.display import plane, spaced
from lilas.evaluation.score import paired_row
from lilas.models.autoencoder import Autoencoder
from lilas.models.coding import autoencode, decode
from lilas.models.observations import Observations
from lilas.records import stores
from lilas.records.provenance import as_json

LEAD_TIMES = 41
MEMBERS = 2


def write_frames(
    manifest: Path,
    dataset: xr.Dataset,
    *,
    names: dict[str, str],
    record: dict[str, Any],
    **made: Any,
) -> None:
    """Writes the frames of some rollouts and their manifest; a store that is current is kept.

    Args:
        manifest: Their manifest; the store is beside it.
        dataset: A store of rollouts.
        names: Dataset, autoencoder, emulator, method and sampler, for the attributes.
        record: Provenance.
        made: The other arguments of `make_frames`.
    """
    store = manifest.with_suffix(".zarr")
    if not stores.is_named(store, record, mend=True):
        compression = made["autoencoder"].compression
        attributes = names | {"compression": compression, "provenance": as_json(record)}
        frames = make_frames(dataset, **made).assign_attrs(attributes)
        stores.write(stores.partial(store), frames)
    stores.finish(store, manifest, record)


def make_frames(
    dataset: xr.Dataset,
    pixels: Pixels,
    autoencoder: Autoencoder,
    trajectories: int,
    device: torch.device,
    observations: Observations | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Returns the states of some rollouts, spread over the test split, in physical units.

    Of three space axes it keeps the middle plane of the last; of one there is no y.

    Args:
        dataset: A store of rollouts, (trajectory, member, time, channel, *space).
        pixels: The test split.
        autoencoder: The one that the latents are of.
        trajectories: How many, at most.
        device: Where to decode.
        observations: What guided the rollouts, where they were guided by observations.
        units: Of fields, components and axes, in place of the files'.

    Returns:
        truth, autoencoder (the auto-encoded truth), mean and spread (as the metrics have it, over
        members), each (trajectory, time, channel, x, y), and member (trajectory, member, time,
        channel, x, y), at lead times from 0 to the last. Of guided rollouts, observation too, as
        truth; NaN where nothing was observed, and at lead time 0.

    Raises:
        LilasError: as `paired_row`, or the rollouts are damaged.
    """
    leads = dataset["lead_time"].values
    after = np.flatnonzero(leads >= 0)
    places = after[spaced(len(after), LEAD_TIMES)]
    chosen = spaced(dataset.sizes["trajectory"], trajectories)
    rows = [paired_row(dataset, i, pixels) for i in chosen.tolist()]
    parts, spatial = [], len(pixels.files[0].shape)
    for i, row in zip(chosen.tolist(), rows, strict=True):
        kept: dict[str, list[np.ndarray]] = {}
        # One lead time after another: an ensemble of all of them may not fit memory.
        for place in places:
            step = int(dataset["step"].values[place])
            truth = torch.from_numpy(pixels.truth(row, slice(step, step + 1))).to(device)
            latents = stores.read(dataset, "latent", trajectory=i, time=slice(place, place + 1))
            states = decode(latents, autoencoder, pixels.preprocessing, device, truth.dtype)
            members = states[:, 0]
            states = {
                "truth": truth[0],
                "autoencoder": autoencode(truth, autoencoder, pixels.preprocessing)[0],
                "mean": members.mean(0),
                "spread": _spread(members),
                "member": members[:MEMBERS],
            }
            if observations is not None:
                states["observation"] = _observation(observations, row, step, truth, leads[place])
            for name, state in states.items():
                kept.setdefault(name, []).append(plane(state, spatial).cpu().numpy())
        # Before the channel and what is kept of the space axes.
        parts.append({name: np.stack(v, -2 - min(spatial, 2)) for name, v in kept.items()})
    file = pixels.files[0]
    plain = ("trajectory", "time", "channel", *file.axes[:2])
    points: dict[str, Any] = {}
    for name in file.axes[:2]:
        own = [pixels.points(row, name)[None] for row in rows]
        unit = (units or {}).get(name, file.axis_units.get(name, ""))
        points |= axes.variables(name, own, axes.SPACE_TOLERANCE, axes.units(unit))
    dims = dict.fromkeys(parts[0], plain)
    dims["member"] = ("trajectory", "member", *plain[1:])
    return xr.Dataset(
        {name: (over, np.stack([part[name] for part in parts])) for name, over in dims.items()},
        coords={
            "trajectory": dataset["trajectory"].values[chosen],
            "lead_time": ("time", leads[places], {"units": "solver steps"}),
            "channel": stores.text([channel.name for channel in file.channels]),
            "unit": (
                "channel",
                stores.text([unit_of(one, file.fields, units or {}) for one in file.channels]),
            ),
            **points,
        },
    )


def _observation(
    observations: Observations, row: int, step: int, like: torch.Tensor, lead: int
) -> torch.Tensor:
    """Returns what is observed of a state on its grid (channel, *space), in physical units."""
    if lead == 0:
        return torch.full_like(like[0], float("nan"))
    painted = observations.operator.paint(observations.of(row, range(step, step + 1)))
    states = observations.pixels.preprocessing.inverse_(painted.to(like.dtype), channel_axis=1)
    return states[0].to(like.device)


def _spread(members: torch.Tensor) -> torch.Tensor:
    """Returns sqrt((K + 1)/(K - 1) (1/K) Σ (v_k - mean v)²) by point, as the metrics have it."""
    count = len(members)
    if count == 1:
        return torch.zeros_like(members[0])
    return members.std(0, correction=0) * ((count + 1) / (count - 1)) ** 0.5
