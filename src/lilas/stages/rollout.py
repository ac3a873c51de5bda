"""Stage `rollout`: ensembles of rollouts of the test split, stored as latents.

`finish` makes what is not there and names it; of many, `create` begins it, `write` makes a part.
"""

from pathlib import Path

from lilas.devices import select_device
from lilas.models.build import load_emulator
from lilas.models.latents import open_latents
from lilas.models.observations import open_guide
from lilas.models.rollout import evaluated_trajectories
from lilas.models.rollout_store import begin_rollouts, write_rollouts
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.records.temperatures import tuned
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, execute, make_parser
from lilas.study.samplers import observes


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["create", "write", "finish"])
    add_paths(
        parser,
        autoencoder="weights of the autoencoder",
        emulator="weights of the emulator",
        latents="manifest of the test latents",
        store="Zarr store of the rollouts",
        output="its manifest, or what is left behind when a part of it is done",
    )
    parser.add_argument("--statistics", type=Path, help="statistics.json, to observe the truth")
    parser.add_argument("--test", type=Path, nargs="+", help="files of the test split, likewise")
    parser.add_argument("--part", type=int, nargs=2, default=(1, 1), help="one part of so many")
    parser.add_argument("--temperature", type=Path, nargs="*", default=[], help="where it is tuned")
    add_device(parser)
    args = parser.parse_args()
    config, device = args.config, select_device(args.device)
    sampler = tuned(config.sampler, args.temperature, args.emulator)
    source = open_latents(args.latents, args.autoencoder)
    rows = evaluated_trajectories(config.evaluation.model_dump(), source.trajectories)
    sizes = {"rows": rows, "steps": config.span, "stride": config.stride, "sampler": sampler}
    inputs = {"autoencoder": args.autoencoder, "emulator": args.emulator, "latents": args.latents}
    implementations = [*config.implementations(), *read_record(args.emulator)["implementations"]]
    inputs |= {"temperature": args.temperature[0]} if args.temperature else {}
    if observes(sampler):
        inputs |= {"statistics": args.statistics, "test": args.test} | config.masks()
        implementations += read_record(args.autoencoder)["implementations"]
    record = provenance("rollout", config.record(), inputs, implementations)
    # Killed after the store had its name and before the manifest: nothing is left to sample.
    if not stores.is_named(args.store, record, mend=args.what != "write"):
        begin_rollouts(args.store, source, **sizes, record=record)
        if args.what != "create":
            features, guide = source.labels.shape[1], None
            emulator, settings = load_emulator(args.emulator, source.shape, features, device)
            if observes(sampler):
                truth = args.test, config.states.fields, args.statistics
                guide = open_guide(sampler, *truth, args.autoencoder, device)
                emulator.requires_grad_(False)
            how = {"settings": settings, "device": device, "guide": guide, "part": args.part}
            write_rollouts(args.store, source, emulator, **sizes, record=record, **how)
    if args.what == "finish":
        stores.finish(args.store, args.output, record)
    else:
        stores.mark(args.output)


if __name__ == "__main__":
    execute(main)
