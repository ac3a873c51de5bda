"""Stage `latents`: encodes the splits of a dataset to Zarr, each to a store and its manifest.

`finish` makes what is not there yet and names it; of large data, `create` makes empty stores
beforehand, and jobs that `write` fill them side by side.
"""

from pathlib import Path

from lilas.data.about import About
from lilas.data.preprocess import Preprocessing
from lilas.data.well import open_files, open_splits
from lilas.devices import select_device
from lilas.models.build import load_autoencoder
from lilas.models.latents import begin_latents, encode_files, write_pixel_manifest
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, execute, make_parser
from lilas.systems.base import SPLITS


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["create", "write", "finish"])
    add_paths(
        parser,
        statistics="statistics.json",
        weights="weights of the autoencoder",
        folder="folder of the stores and their manifests",
    )
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=Path, nargs="+", help=f"files of the {split} split")
    text = "indices of the files to write; all of them by default"
    parser.add_argument("--parts", type=int, nargs="+", help=text)
    parser.add_argument("--done", help="marker to leave behind")
    add_device(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    weights = read_record(args.weights)
    pixels = weights["config"]["autoencoder"]["architecture"] == "identity"
    splits = [split for split in SPLITS if getattr(args, split)]
    preprocessing = Preprocessing.read(args.statistics)
    # Each split is alike within itself; one file of each tells whether all are.
    open_splits(*(getattr(args, split)[:1] for split in splits), fields=args.config.states.fields)
    for split in splits:
        config, names = args.config.of_split(split), getattr(args, split)
        store, manifest = args.folder / f"{split}.zarr", args.folder / f"{split}.json"
        inputs = {"autoencoder": args.weights, "statistics": args.statistics, "files": names}
        record = provenance("latents", config.record(), inputs, weights["implementations"])
        if pixels:
            write_pixel_manifest(manifest, names, args.statistics, record)
            continue
        if not stores.is_named(store, record, mend=args.what != "write"):
            files, augment = open_files(names, config.states.fields), config.augment.model_dump()
            about = About.of(files, preprocessing)
            model = load_autoencoder(args.weights, files[0], device)
            how = {"label_transforms": config.label, "augment": augment, "about": about}
            begin_latents(store, files, model, record=record, **how)
            if args.what != "create":
                own = args.parts or range(len(files)), model, preprocessing
                encode_files(store, files, *own, augment=augment, device=device)
        if args.what == "finish":
            stores.finish(store, manifest, record)
    if args.done:
        stores.mark(args.done)


if __name__ == "__main__":
    execute(main)
