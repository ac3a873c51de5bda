"""The Well's registry: which files a dataset has, and where they are."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import yaml

from lilas.errors import LilasError
from lilas.systems.base import SPLITS

# How data files are named, in The Well and elsewhere.
SUFFIXES = (".hdf5", ".h5")


def data_in(folder: Path) -> list[Path]:
    """Returns the data files of a folder in order; hidden files are what other programs left."""
    return sorted(
        path
        for path in folder.glob("*")
        if path.suffix in SUFFIXES and not path.name.startswith(".")
    )


def in_place_of_data(*folders: Path) -> tuple[str, str] | None:
    """Returns what folders hold in place of data files, and what to do; None if it is nothing."""
    paths = [folder.with_name(f"{folder.name}.dvc") for folder in folders]
    for folder in folders:
        # A store of Zarr is a folder.
        store = folder.suffix == ".zarr" or not folder.is_dir()
        paths += [folder] if store else folder.iterdir()
    kinds = {
        path.suffix or path.name
        for path in paths
        if not path.name.startswith(".") and (path.suffix == ".zarr" or path.is_file())
    }
    if not kinds:
        return None
    if ".dvc" in kinds:
        return "pointers of DVC in their place", "Fetch them: `dvc pull` in their folder."
    action = "LILAS reads no other format: `lilas convert` makes data files of most (docs/data.md)."
    return f"files of other kinds ({', '.join(sorted(kinds))})", action


@cache
def well_urls(name: str) -> dict[str, list[str]]:
    """Returns the addresses of a Well dataset's files by split, from the_well's own registry.

    Raises:
        LilasError: The Well has no such dataset.
    """
    spec = find_spec("the_well")
    if spec is None or not spec.submodule_search_locations:
        raise LilasError("the_well is not installed. Run `make install`.")
    path = Path(next(iter(spec.submodule_search_locations)), "utils", "registry.yaml")
    registry = yaml.load(
        path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    if name not in registry:
        raise LilasError(
            f"source.name: The Well has no {name!r}; allowed: {', '.join(sorted(registry))}"
        )
    return {split: registry[name][split] for split in SPLITS}
