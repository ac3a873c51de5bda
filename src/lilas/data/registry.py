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
