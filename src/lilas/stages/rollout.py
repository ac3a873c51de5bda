"""Stage `rollout`: ensembles of rollouts of the test split, stored as latents."""

from pathlib import Path

from lilas.devices import select_device
from lilas.models.build import load_emulator
from lilas.models.latents import open_latents
from lilas.models.observations import open_guide
from lilas.models.rollout import evaluated_trajectories
from lilas.models.rollout_store import write_rollouts
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, execute, make_parser
from lilas.study.leads import rollout_steps
from lilas.study.samplers import observes


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        autoencoder="weights of the autoencoder",
        emulator="weights of the emulator",
        latents="manifest of the test latents",
        store="Zarr store of the rollouts",
        manifest="its manifest",
    )
    parser.add_argument("--statistics", type=Path, help="statistics.json, to observe the truth")
    parser.add_argument("--test", type=Path, nargs="+", help="files of the test split, likewise")
    add_device(parser)
    args = parser.parse_args()
    config, device = args.config, select_device(args.device)
    evaluation, sampler = config.evaluation, config.sampler
    source = open_latents(args.latents, args.autoencoder)
    features = source.labels.shape[1]
    emulator, settings = load_emulator(args.emulator, source.shape, features, device)
    inputs = {"autoencoder": args.autoencoder, "emulator": args.emulator, "latents": args.latents}
    implementations = [*config.implementations(), *read_record(args.emulator)["implementations"]]
    guide = None
    if observes(sampler):
        truth = args.test, config.states.fields, args.statistics
        guide = open_guide(sampler, *truth, args.autoencoder, device)
        emulator.requires_grad_(False)
        inputs |= {"statistics": args.statistics, "test": args.test} | config.masks()
        implementations += read_record(args.autoencoder)["implementations"]
    record = provenance("rollout", config.record(), inputs, implementations)
    # Killed after the store had its name and before the manifest: nothing is left to sample.
    if not stores.is_named(args.store, record):
        write_rollouts(
            args.store,
            source,
            emulator,
            rows=evaluated_trajectories(evaluation.model_dump(), source.trajectories),
            steps=rollout_steps(
                *(evaluation.start, sampler.context, config.stride, evaluation.last),
                sampler.direction,
            ),
            window=settings.window,
            stride=config.stride,
            sampler=sampler,
            record=record,
            device=device,
            guide=guide,
        )
    stores.finish(args.store, args.manifest, record)


if __name__ == "__main__":
    execute(main)
