"""`lilas official`: check, save and exchange models and latents with the official code."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.commands import add_command

if TYPE_CHECKING:
    from lilas.commands import Commands

DESCRIPTION = """\
Exchanges models and latents with the official code of the paper (releases 1.0.0 and 1.1.0).

  check FOLDER             how far LILAS is from what the official code computed
  save WEIGHTS FOLDER      weights of ours as a run folder that the official code loads
  latents-out MANIFEST WEIGHTS FOLDER
                           our latents as official caches in a run's folder
  latents-in WEIGHTS MANIFEST CACHE...
                           official caches of a split as our latents

To use a released model inside a study, name it there: autoencoders: {c64: {model: RUN}}.
docs/released_weights.md says how."""

CHECK = """\
Loads every official run under FOLDER into our modules, strictly, compares its state bit by bit
there and back, and, where expected.npz and other reference outputs lie beside it, compares what
both compute. Prints a table; its status is 1 if a comparison fails."""

SAVE = """\
Writes config.yaml and state.pth. Weights that came from an official run get its own config.yaml
back; for others it is made from their configuration and their dataset's statistics."""

OUT = """\
Writes FOLDER/cache/DATASET/SPLIT/FILE.hdf5 for every data file of the latents, with `state` and
`label` as the official code caches them, and what else our store holds in a group that it does not
read: brought back in, the store is the same to the bit."""

IN = """\
Makes a store of latents and its MANIFEST (such as .../latents/train.json) of the official caches
of a split, for use with the autoencoder whose WEIGHTS are given. Caches that latents-out wrote
bring everything back. Of others, the data files tell time, coordinates, parameters and how many
copies of each trajectory there are."""


def add(commands: "Commands") -> None:
    """Adds `official` and what it can do."""
    text = "models and latents of the paper's official code, in and out"
    official = add_command(commands, "official", text, DESCRIPTION, _run)
    actions = official.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="compare with the official code", description=CHECK)
    check.add_argument("folder", type=Path, metavar="FOLDER", help="of runs, or a run's, or a zip")
    check.add_argument("--device", default="cpu", help="where LILAS computes (default cpu)")
    save = actions.add_parser("save", help="weights as an official run", description=SAVE)
    save.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights.safetensors")
    save.add_argument("folder", type=Path, metavar="FOLDER", help="the new run folder")
    save.add_argument(
        "--statistics",
        type=Path,
        help="statistics.json of the dataset (default: the nearest one above WEIGHTS)",
    )
    out = actions.add_parser("latents-out", help="latents as an official cache", description=OUT)
    out.add_argument("manifest", type=Path, metavar="MANIFEST", help="such as latents/train.json")
    out.add_argument("weights", type=Path, metavar="WEIGHTS", help="of their autoencoder")
    out.add_argument("folder", type=Path, metavar="FOLDER", help="the run's folder")
    into = actions.add_parser("latents-in", help="an official cache as latents", description=IN)
    into.add_argument("weights", type=Path, metavar="WEIGHTS", help="of their autoencoder")
    into.add_argument("manifest", type=Path, metavar="MANIFEST", help="to write")
    into.add_argument("caches", type=Path, nargs="+", metavar="CACHE", help="HDF5 files")
    into.add_argument(
        "--data", type=Path, nargs="+", metavar="FILE", help="the data files, in order"
    )


def _run(args: argparse.Namespace) -> None:
    if args.action == "check":
        from lilas.devices import select_device
        from lilas.official.parity import check, table

        rows = list(check(args.folder, select_device(args.device)))
        print(table(rows))
        if not all(row.passed for row in rows):
            sys.exit(1)
    elif args.action == "save":
        from lilas.official.models import save_run

        save_run(args.weights, args.statistics or _nearest(args.weights), args.folder)
        print(f"{args.folder}: config.yaml and state.pth")
    elif args.action == "latents-out":
        from lilas.official.caches import export_latents

        for path in export_latents(args.manifest, args.weights, args.folder):
            print(path)
    else:
        from lilas.official.caches import import_latents

        import_latents(args.caches, args.weights, args.manifest, args.data)
        print(f"{args.manifest}: the latents of {len(args.caches)} caches")


def _nearest(weights: Path) -> Path:
    """Returns the statistics of weights: in their folder, or in one above it."""
    for folder in weights.resolve().parents[:3]:
        if (folder / "statistics.json").is_file():
            return folder / "statistics.json"
    return weights.with_name("statistics.json")
