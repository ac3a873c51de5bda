"""Stage `latents`: encodes a split to Zarr: create the store, write each file's part, finish."""

import torch

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.devices import select_device
from lilas.models.build import load_autoencoder
from lilas.models.latents import VARIABLE, create_latents, encode_file, write_pixel_manifest
from lilas.progress import progress
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, parser, run


def main() -> None:
    to = parser(__doc__)
    to.add_argument("what", choices=["create", "write", "finish"])
    add_paths(
        to,
        files="files of the split, in order",
        statistics="statistics.json",
        weights="weights of the autoencoder",
        store="Zarr store",
    )
    to.add_argument("--part", type=int, help="index of the file to write")
    to.add_argument("--done", help="marker of a finished part")
    to.add_argument("--manifest", help="manifest of the finished store")
    add_device(to)
    args = to.parse_args()
    config, augment = args.config, args.config.augment.model_dump()
    record = provenance(
        "latents",
        config.record(),
        {"autoencoder": args.weights, "statistics": args.statistics, "files": args.files},
    )
    if args.what == "finish":
        if read_record(args.weights)["config"]["autoencoder"]["architecture"] == "identity":
            write_pixel_manifest(args.manifest, args.files, args.statistics, record)
        else:
            stores.finish(args.store, VARIABLE, args.manifest, record)
        return
    files = open_files(args.files, config.states.fields)
    device = select_device(args.device) if args.what == "write" else torch.device("cpu")
    autoencoder = load_autoencoder(args.weights, files[0], device)
    if args.what == "create":
        create_latents(
            args.store,
            files,
            autoencoder,
            label_transforms=config.label,
            augment=augment,
            record=record,
        )
    else:
        file = files[args.part]
        pixels = Pixels([file], Preprocessing.read(args.statistics), config.label)
        total = augment["copies"] * file.trajectories
        with progress(total=total, desc=f"encode {file.path.name}", unit="trajectory") as bar:
            encode_file(
                args.store,
                pixels,
                autoencoder,
                part=args.part,
                first=sum(f.trajectories for f in files[: args.part]),
                augment=augment,
                device=device,
                bar=bar,
            )
    stores.mark(args.done)


if __name__ == "__main__":
    run(main)
