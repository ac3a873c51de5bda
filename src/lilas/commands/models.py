"""`lilas rollout` and `lilas export`: a trained model is called, or given away."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lilas.commands import add_command, mapping, pairs
from lilas.errors import LilasError, broken
from lilas.study import paths

if TYPE_CHECKING:
    import xarray as xr

    from lilas.commands import Commands

ROLLOUT = """\
Rolls an ensemble out from a state in physical units, and writes its states to a NetCDF file or a
Zarr store. MODEL is the folder of a run, a bundle, or a run of the official code. DATA is a NetCDF
file or a Zarr store with a variable of each channel, or a file of The Well; --rename gives its axes
and variables the names that the model has. Units are compared where both are known. Parameters that
DATA has need not be given. In Python it is lilas.load(MODEL).rollout(...)."""

ROLLOUT_EXAMPLES = """\
examples:
  lilas rollout results/demo/rayleigh_benard/c32-s0/diffusion-s0 state.nc \\
      --parameters Rayleigh=3e5 Prandtl=1 --steps 20 --members 8 --to forecast.nc
  lilas rollout bundle test.hdf5 --trajectory 2 --step 16 --steps 100 --to forecast.zarr
  lilas rollout RUN own.nc --rename run=trajectory u=velocity_x v=velocity_y --trajectory 0 \\
      --steps 20 --to forecast.nc
  lilas rollout RUN state.nc --sampler steps=64 --steps 20 --to forecast.nc"""

EXPORT = """\
Writes a bundle of a trained model to give away: its weights (of an emulator also its
autoencoder's), config.json with all that is known of its data, and a card with its scores. A bundle
needs neither data nor results: lilas.load(FOLDER) calls it, anywhere."""

EXPORT_EXAMPLES = """\
examples:
  lilas export results/demo/rayleigh_benard/c32-s0/diffusion-s0 --to my_model --licence cc-by-4.0"""

_READS = "a NetCDF file, a Zarr store or a file of The Well"
# The scores of a card.
_METRICS = ("vrmse", "crps", "spread_skill")


def add(commands: "Commands") -> None:
    """Adds both."""
    text = "an ensemble from a state of one's own, by a trained model"
    one = add_command(commands, "rollout", text, ROLLOUT, _rollout, ROLLOUT_EXAMPLES)
    one.add_argument("model", type=Path, metavar="MODEL", help="a run, a bundle, an official run")
    one.add_argument("data", type=Path, metavar="DATA", help="states, the last of which is given")
    one.add_argument("--to", type=Path, required=True, metavar="FILE", help="new .nc or .zarr")
    one.add_argument("--steps", type=int, required=True, metavar="N", help="new states")
    one.add_argument("--members", type=int, default=1, metavar="N", help="of the ensemble")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="of random numbers")
    values = {"nargs": "+", "default": [], "metavar": "KEY=VALUE"}
    one.add_argument("--parameters", **values, help="such as Rayleigh=3e5")
    one.add_argument("--sampler", **values, help="keys of a study's sampler, such as steps=64")
    one.add_argument("--rename", **pairs("OLD=NEW"), help="other names of axes and variables")
    one.add_argument("--unit", **pairs("NAME=UNIT"), help="of a field, axis or parameter")
    one.add_argument("--trajectory", type=int, metavar="I", help="of DATA, from 0")
    one.add_argument("--step", type=int, metavar="I", help="the last given state (default: last)")
    one.add_argument(
        "--autoencoder", type=Path, metavar="PATH", help="where it does not lie beside"
    )
    one.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default)")
    one.add_argument("--precision", default="float32", help="float32 (default), tf32 or bfloat16")
    two = add_command(
        commands, "export", "a trained model as a folder to give away", EXPORT, _export,
        EXPORT_EXAMPLES,
    )  # fmt: skip
    two.add_argument("path", type=Path, metavar="RUN", help="the folder of a run")
    two.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="a new folder")
    two.add_argument("--licence", default="", metavar="NAME", help="as model hubs name it")


def _rollout(args: argparse.Namespace) -> None:
    import lilas

    if args.to.exists():
        raise broken(args.to, "a new file", "one that is there", "Name another, or delete it.")
    if args.to.suffix not in (".nc", ".zarr"):
        raise LilasError(f"--to {args.to}: allowed: a name that ends in .nc or .zarr")
    parameters, sampler = (_values(name, getattr(args, name)) for name in ("parameters", "sampler"))
    where = {"device": args.device, "precision": args.precision}
    model = lilas.load(args.model, **where, autoencoder=args.autoencoder)
    if not isinstance(model, lilas.Emulator):
        raise LilasError(
            f"{args.model}: an autoencoder, which rolls nothing out. Name an emulator."
        )
    names, unit = mapping("--rename", args.rename), mapping("--unit", args.unit)
    states = _in_units(args.data, _read(args.data, args.trajectory, names), unit)
    if args.step is not None:
        _check_place(args.data, states, "time", "step", args.step)
        states = states.isel(time=slice(0, args.step + 1))
    stream = args.to if args.to.suffix == ".zarr" else None
    found = model.rollout(
        states,
        parameters,
        steps=args.steps,
        members=args.members,
        seed=args.seed,
        sampler=sampler,
        to=stream,
    )
    if stream is None:
        from lilas.files import atomic

        with atomic(args.to) as part:
            found.to_netcdf(part)
    print(f"{args.to}: {', '.join(map(str, found.data_vars))} of {dict(found.sizes)}")


def _values(name: str, pairs: list[str]) -> dict[str, Any]:
    """Returns what KEY=VALUE pairs say; values are YAML, with numbers as Python has them."""
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise LilasError(f"--{name} {pair}: allowed: KEY=VALUE")
        try:
            found[key] = float(text) if name == "parameters" else yaml.safe_load(text)
        except ValueError:
            found[key] = text
    return found


def _read(path: Path, trajectory: int | None, names: Mapping[str, str]) -> "xr.Dataset":
    """Returns states of a file of The Well, or of what xarray opens, renamed."""
    import xarray as xr

    from lilas import read_trajectory
    from lilas.data.foreign import renamed

    if path.suffix in (".hdf5", ".h5"):
        return renamed(path, read_trajectory(path, trajectory or 0), names)
    if not path.exists():
        raise broken(path, _READS, "nothing", "Correct the path.")
    try:
        # Times stay the numbers that the file holds, of which a model knows the unit.
        opened = xr.open_zarr if path.is_dir() else xr.open_dataset
        found = opened(path, decode_times=False)
    except (OSError, ValueError) as error:
        raise broken(
            path,
            _READS,
            str(error).splitlines()[0],
            "For NetCDF-4: pip install 'lilas[netcdf]'.",
        ) from None
    found = renamed(path, found, names)
    if trajectory is None:
        return found
    _check_place(path, found, "trajectory", "trajectory", trajectory)
    return found.isel(trajectory=trajectory)


def _check_place(path: Path, found: "xr.Dataset", axis: str, option: str, place: int) -> None:
    """Refuses a place on an axis that a file has not."""
    size = found.sizes.get(axis)
    if size is None:
        told = ", ".join(map(str, found.dims)) or "none"
        raise LilasError(
            f"--{option} {place}: {path} has no axis {axis}, its axes are {told}; where one of "
            f"them is that, rename it: --rename NAME={axis}"
        )
    if not 0 <= place < size:
        plural = "trajectories" if option == "trajectory" else f"{option}s"
        raise LilasError(f"--{option} {place}: {path} has the {plural} 0 to {size - 1}")


def _in_units(path: Path, found: "xr.Dataset", units: Mapping[str, str]) -> "xr.Dataset":
    """Returns states whose variables are said to have some units; nothing is converted."""
    from lilas.data.variables import missing

    for name, unit in units.items():
        if name not in found.variables:
            raise missing(path, f"{name}, which --unit names", found.variables)
        found[name].attrs["units"] = unit
    return found


def _export(args: argparse.Namespace) -> None:
    from lilas.interface.bundles import write_bundle
    from lilas.interface.loading import autoencoder_of, run_weights

    weights = run_weights(args.path)
    beside = autoencoder_of(weights)
    scores = _scores(weights, beside is not None)
    write_bundle(args.to, weights, beside, scores=scores, licence=args.licence)
    print(f"{args.to}: {', '.join(sorted(path.name for path in args.to.iterdir()))}")
    if scores is None:
        print("Its scores are not in the card: its study has no tables yet.")


def _scores(weights: Path, emulates: bool) -> Any:
    """Returns the rows of a run in its study's first table; None where there is none."""
    import pandas as pd

    names = weights.resolve().parent.parts
    above = 3 if emulates else 2
    table = weights.resolve().parents[above] / f"{paths.HORIZONS}.csv"
    if not table.is_file():
        return None
    rows = pd.read_csv(table, keep_default_na=False, na_values={"low": "", "high": ""})
    dataset, autoencoder, *emulator = names[-above:]
    rows = rows[(rows["dataset"] == dataset) & (rows["relative_to"] == "truth")]
    which = rows["emulator"].isin(emulator or ["reconstruction"])
    own = which & (rows["autoencoder"] == autoencoder) & rows["metric"].isin(_METRICS)
    return rows[own | ((rows["method"] == "persistence") & (rows["metric"] == "vrmse"))]
