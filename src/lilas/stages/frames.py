"""Stage `frames`: decoded states of a few rollouts beside the truth, for people to look at."""

import warnings

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.devices import select_device
from lilas.evaluation.frames import make_frames
from lilas.models.build import load_autoencoder
from lilas.models.latents import open_rollouts
from lilas.records import stores
from lilas.records.provenance import as_json, provenance
from lilas.stages import add_device, add_paths, parser, run


def main() -> None:
    to = parser(__doc__)
    add_paths(
        to,
        autoencoder="weights of the autoencoder",
        rollouts="manifest of the rollouts",
        statistics="statistics.json",
        test="files of the test split",
        store="Zarr store of the frames",
        manifest="its manifest",
    )
    add_device(to)
    args = to.parse_args()
    config, device = args.config, select_device(args.device)
    pixels = Pixels(
        open_files(args.test, config.states.fields), Preprocessing.read(args.statistics), {}
    )
    autoencoder = load_autoencoder(args.autoencoder, pixels.files[0], device)
    rollouts = open_rollouts(args.rollouts, args.autoencoder)
    inputs = {name: getattr(args, name) for name in ("autoencoder", "rollouts", "statistics")}
    record = provenance("frames", config.record(), inputs | {"test": args.test})
    dataset = make_frames(rollouts, pixels, autoencoder, config.figures.trajectories, device)
    dataset = dataset.assign_attrs(
        config.names | {"compression": autoencoder.compression, "provenance": as_json(record)}
    )
    with warnings.catch_warnings():
        # Strings of variable length, as Zarr 3 has them, are known to be young.
        warnings.simplefilter("ignore")
        dataset.to_zarr(stores.partial(args.store), mode="w", zarr_format=3, consolidated=False)
    stores.finish(args.store, "truth", args.manifest, record)


if __name__ == "__main__":
    run(main)
