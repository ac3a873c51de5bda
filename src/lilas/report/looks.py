"""How runs and fields look in every picture: names, colours, lines and markers; colour scales.

A run looks the same wherever it is drawn: colour by model, line and marker by method.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colors

from lilas.errors import LilasError
from lilas.report.summary import label_runs
from lilas.study.methods import METHODS

# Okabe and Ito's colours, told apart by colour-blind readers, and two that go with them.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#882255"]
FIXED = {"truth": "#000000", "persistence": "#444444", "climatology": "#999999"}
# More models than colours take darker, then lighter ones.
SHADES = [(0.0, "white"), (0.45, "black"), (0.5, "white")]
STYLES: dict[str, tuple[Any, str]] = {
    "truth": ("-", ""),
    "diffusion": ("-", "o"),
    "solver": ((0, (6, 1.5, 1.5, 1.5)), "s"),
    "reconstruction": ((0, (5, 1.5)), "^"),
    "persistence": ((0, (3.5, 2)), "X"),
    "climatology": ((0, (1.5, 1.5)), "P"),
}
# Other methods take these in turn.
SPARE: list[tuple[Any, str]] = [
    ((0, (8, 1.5)), "D"),
    ((0, (4, 1, 1, 1, 1, 1)), "v"),
    ((0, (2, 1)), "h"),
]
FILLS = ["full", "none", "left", "right", "top", "bottom"]
# A field whose smaller side of 0 is less than this part of the larger has one sign.
ONE_SIGN = 0.1
# A positive field that spans more than this factor is drawn in powers of ten.
DECADES = 1e3


@dataclass(frozen=True)
class Look:
    """How a run is drawn.

    Attributes:
        label: What it is called.
        colour: Of its model; samplers of one emulator share it.
        line: Line style of its method, as matplotlib has them.
        marker: Of its method.
        fill: Of the marker, by sampler.
    """

    label: str
    colour: str
    line: Any
    marker: str
    fill: str


# (autoencoder, emulator, sampler), and what it looks like, in the order of legends.
Run = tuple[str, str, str]
Looks = Mapping[Run, Look]


def run_of(frames: xr.Dataset) -> Run:
    """Returns which run a store of frames is of."""
    return frames.attrs["autoencoder"], frames.attrs["emulator"], frames.attrs["sampler"]


def colours(labels: Iterable[str]) -> dict[str, str]:
    """Returns a colour by model, the same whatever the order of the labels.

    Args:
        labels: All of a study's, so that its figures agree (`summary.label_runs`).
    """

    def place(label: str) -> tuple[bool, list[Any]]:
        # Numbers by size: c32 before c128. Reconstructions last: emulators take the plain colours.
        parts = re.split(r"(\d+)", label)
        numbered = [int(part) if i % 2 else part for i, part in enumerate(parts)]
        return label.startswith("reconstruction"), numbered

    others = sorted(set(labels) - set(FIXED), key=place)
    return FIXED | {label: _colour(index) for index, label in enumerate(others)}


def _colour(index: int) -> str:
    part, other = SHADES[index // len(PALETTE) % len(SHADES)]
    base = np.array(colors.to_rgb(PALETTE[index % len(PALETTE)]))
    return colors.to_hex((1 - part) * base + part * np.array(colors.to_rgb(other))).upper()


def looks(runs: pd.DataFrame) -> Looks:
    """Returns the look of each run by (autoencoder, emulator, sampler), in the order of legends.

    Args:
        runs: All of a study's, with the columns KEYS, rows in any order and number.

    Raises:
        LilasError: a method is unknown.
    """
    names = ["autoencoder", "emulator", "method", "sampler"]
    runs = runs[["compression", *names]].drop_duplicates()
    if unknown := sorted(set(runs["method"]) - set(METHODS)):
        raise LilasError(f"figures: method {unknown[0]!r}; allowed: {', '.join(METHODS)}")
    order = runs["method"].map(list(METHODS).index)
    others = [name for name in METHODS if name not in STYLES]
    styles = STYLES | {name: SPARE[i % len(SPARE)] for i, name in enumerate(others)}
    order_by = ["order", "compression", *names]
    runs = runs.assign(order=order).sort_values(order_by, ignore_index=True)
    models = label_runs(runs.assign(sampler=""))
    palette = colours(models)
    samplers = runs.groupby("emulator")["sampler"].transform(lambda part: pd.factorize(part)[0])
    columns = (runs.itertuples(index=False), label_runs(runs), models, samplers)
    return {
        (run.autoencoder, run.emulator, run.sampler): Look(
            label, palette[model], *styles[run.method], FILLS[sampler % len(FILLS)]
        )
        for run, label, model, sampler in zip(*columns, strict=True)
    }


def field_scale(truth: np.ndarray) -> tuple[str, float, float]:
    """Returns the kind of a field's colour scale, its least and its largest value, the truth's.

    A field of both signs is `diverging`, centred on 0; one of a single sign `linear` from its least
    to its largest value, or `log` where it is positive and spans more than 10³.
    """
    low, high = float(truth.min()), float(truth.max())
    largest = max(-low, high)
    if min(-low, high) > ONE_SIGN * largest:
        return "diverging", -largest, largest
    return "log" if low > 0 and high > DECADES * low else "linear", low, high
