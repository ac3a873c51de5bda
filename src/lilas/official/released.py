"""The models that the paper's authors released: what there is, and which belong together.

This module imports no torch, so that asking for a name takes milliseconds.
"""

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from lilas.errors import LilasError
from lilas.settings import listed
from lilas.settings.values import shown


@dataclass(frozen=True)
class Released:
    """A released model.

    Attributes:
        run: Name of its run, which begins with the run's id of 8 characters.
        dataset: Name of its dataset; `euler_multi_quadrants` is two of The Well's.
        kind: `autoencoder`, `diffusion` or `neural_solver`.
        compression: Pixel numbers per latent number; None is pixel space.
        url: Address of a zip archive with the run's folder.
    """

    run: str
    dataset: str
    kind: str
    compression: int | None
    url: str

    @property
    def id(self) -> str:
        """The run's id, by which the official code knows it too."""
        return self.run.partition("_")[0]


@cache
def released() -> dict[str, Released]:
    """Returns the released models by run."""
    text = Path(__file__).with_name("released.yaml").read_text(encoding="utf-8")
    return {entry["run"]: Released(**entry) for entry in yaml.safe_load(text)}


def find_released(name: str) -> Released:
    """Returns the released model of a run's name or id.

    Raises:
        LilasError: there is none; the nearest names are told.
    """
    models = released()
    known = models | {model.id: model for model in models.values()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    runs = list(dict.fromkeys(known[one].run for one in near))
    told = f"did you mean {', '.join(runs)}?" if near else f"allowed: {listed(models)}"
    raise LilasError(f"run: no released model is named {shown(name)}; {told}")


def autoencoder_of(name: str) -> Released | None:
    """Returns the autoencoder in whose latent space a released model works; None in pixel space.

    It is the one of the same dataset and compression. An autoencoder's is itself.

    Raises:
        LilasError: as `find_released`.
    """
    model = find_released(name)
    if model.compression is None:
        return None
    (found,) = (
        other
        for other in released().values()
        if (other.kind, other.dataset, other.compression)
        == ("autoencoder", model.dataset, model.compression)
    )
    return found
