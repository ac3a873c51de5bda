"""Stage `rollout`: ensembles of rollouts of the test split, stored as latents."""

from pathlib import Path

import numpy as np
import torch
import xarray as xr
import zarr

from lilas.devices import select_device
from lilas.models.build import load_objective
from lilas.models.latents import open_latents
from lilas.models.rollout import evaluated_trajectories, rollout, rollout_steps
from lilas.progress import progress
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.seeds import Draws, derive
from lilas.stages import add_device, add_paths, parser, run


def main() -> None:
    to = parser(__doc__)
    add_paths(
        to,
        autoencoder="weights of the autoencoder",
        emulator="weights of the emulator",
        latents="manifest of the test latents",
        store="Zarr store of the rollouts",
        manifest="its manifest",
    )
    add_device(to)
    args = to.parse_args()
    config, device = args.config, select_device(args.device)
    sampler = config.sampler
    source = open_latents(args.latents, args.autoencoder)
    features = source.labels.shape[1]
    objective, emulator = load_objective(args.emulator, source.shape, features, device)
    rows = evaluated_trajectories(config.evaluation.model_dump(), source.trajectories)
    last = config.evaluation.last
    steps = rollout_steps(config.evaluation.start, sampler.context, config.stride, last)
    index = np.arange(steps.start, steps.stop, steps.step)
    record = provenance(
        "rollout",
        config.record(),
        {"autoencoder": args.autoencoder, "emulator": args.emulator, "latents": args.latents},
    )
    # Killed after the store had its name and before the manifest: nothing is left to sample.
    named = args.store.is_dir() and not stores.partial(args.store).is_dir()
    if not named or not stores.same_making(args.store, record):
        array = _open(args.store, rows, source, index, sampler, config.stride, record)
        together = max(1, sampler.batch_size // sampler.members)
        with progress(total=len(rows), desc=_name(args.store), unit="trajectory") as bar:
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
                    states=len(index),
                    window=emulator.window,
                    overlap=sampler.overlap,
                    crop=sampler.crop,
                )
                generated = generated.unflatten(0, (-1, sampler.members)).transpose(2, 3)
                array[block] = generated.float().cpu().numpy()
                bar.update(block.stop - block.start)
    stores.finish(args.store, "latent", args.manifest, record)


def _open(store, rows, source, index, sampler, stride, record):
    """Opens the partial store of this very configuration, or creates it."""
    built = stores.partial(store)
    begun = (built / "latent" / "zarr.json").is_file()
    if not begun or not stores.same_making(built, record):
        context = sampler.context
        leads = (np.arange(len(index)) - (context - 1)) * stride
        sizes = {"trajectory": len(rows), "member": sampler.members, "time": len(index)}
        sizes |= {"channel": source.shape[0]}
        sizes |= dict(zip(("x", "y", "z"), source.shape[1:], strict=False))
        names, indices = zip(*map(source.origin, rows), strict=True)
        stores.create(
            store,
            variable="latent",
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
                attrs={"context": context, "stride": stride},
            ),
            record=record,
        )
    return zarr.open_array(built, path="latent", mode="r+")


def _name(store: Path) -> str:
    return "/".join(store.parts[-4:-1])


if __name__ == "__main__":
    run(main)
