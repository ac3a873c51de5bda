"""What weights know of the data that their model is of: enough to call it without a data file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from lilas.data import axes
from lilas.data.layout import BOUNDARIES
from lilas.data.preprocess import Preprocessing
from lilas.data.transforms import NUMBERS, Transform
from lilas.data.well import WellFile, open_files
from lilas.errors import broken
from lilas.files import read_json
from lilas.records.provenance import located
from lilas.records.weights import read_metadata

_KINDS = {code: kind for kind, code in BOUNDARIES.items()}


@dataclass(frozen=True)
class About:
    """The data that a model is of.

    Attributes:
        dataset: Name of the dataset.
        channels: By name, in order: `field`, `units`, `transform`, `mean` and `std`.
        axes: By name, in order: `units` and `points`, the grid points; null where trajectories have
            grids of their own. Without `points` any grid will do.
        boundaries: Each by axis, the kinds of its first and last end: all that occur in training.
        parameters: By name, in the label's order: `units` and `range`, the lowest and highest value
            in training, null where it is not known.
        time_units: Unit of time.
        interval: Time between states, the shortest and the longest median of a trajectory; null
            where it is not known.
    """

    dataset: str
    channels: dict[str, dict[str, Any]]
    axes: dict[str, dict[str, Any]]
    boundaries: list[dict[str, list[str]]]
    parameters: dict[str, dict[str, Any]]
    time_units: str
    interval: list[float] | None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Grid points along each axis; None where any number will do."""
        return tuple(axis.get("size") for axis in self.axes.values())

    @property
    def preprocessing(self) -> Preprocessing:
        """What states enter the autoencoder with."""
        return Preprocessing.from_statistics({"channels": self.channels}, "weights")

    def as_json(self) -> str:
        """Returns it as a line of JSON, which `read` takes."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def read(cls, text: str) -> Self:
        """Returns what a line of JSON says."""
        return cls(**json.loads(text))

    @classmethod
    def of(cls, files: Sequence[WellFile], preprocessing: Preprocessing) -> Self:
        """Returns what is to be known of a split's files, standardised in some way."""
        first = files[0]
        statistics = zip(
            preprocessing.transforms, preprocessing.mean, preprocessing.std, strict=True
        )
        channels = {
            channel.name: {
                "field": channel.field,
                "units": first.fields[channel.field].units,
                "transform": _plain(transform),
                "mean": mean,
                "std": std,
            }
            for channel, (transform, mean, std) in zip(first.channels, statistics, strict=True)
        }
        return cls(
            dataset=first.dataset,
            channels=channels,
            axes={name: _axis(files, name) for name in first.axes},
            boundaries=_boundaries(files),
            parameters={name: _parameter(files, name) for name in first.parameters},
            time_units=first.time_units,
            interval=_interval(files),
        )


def _plain(transform: Transform) -> dict[str, Any]:
    key = NUMBERS[transform.kind]
    return {"kind": transform.kind} | ({key: transform.number} if key else {})


def _axis(files: Sequence[WellFile], name: str) -> dict[str, Any]:
    points = axes.common([file.coordinates[name] for file in files], axes.SPACE_TOLERANCE)
    return {
        "units": files[0].axis_units.get(name, ""),
        "size": files[0].shape[files[0].axes.index(name)],
        "points": None if points is None else points.tolist(),
    }


def _boundaries(files: Sequence[WellFile]) -> list[dict[str, list[str]]]:
    found = [
        {
            name: [_KINDS[code] for code in ends]
            for name, ends in zip(file.axes, file.boundaries.tolist(), strict=True)
        }
        for file in files
    ]
    return [one for i, one in enumerate(found) if one not in found[:i]]


def _parameter(files: Sequence[WellFile], name: str) -> dict[str, Any]:
    values = np.concatenate([file.parameters[name] for file in files])
    units = files[0].parameter_units.get(name, "")
    return {"units": units, "range": [float(values.min()), float(values.max())]}


def _interval(files: Sequence[WellFile]) -> list[float] | None:
    if files[0].steps == 1:
        return None
    medians = np.concatenate([np.median(np.diff(file.times), axis=1) for file in files])
    return [float(medians.min()), float(medians.max())]


def read_about(weights: Path) -> About:
    """Returns what weights know of their data.

    Those written before 0.2.0 know nothing: it is read of the statistics and files that they were
    made with, where these are here still.

    Raises:
        LilasError: neither is to be had.
    """
    known = read_metadata(weights).get("about")
    if known is not None:
        return About.read(known)
    return _of_inputs(weights, json.loads(read_metadata(weights)["lilas"]))


def _of_inputs(weights: Path, record: dict[str, Any]) -> About:
    """Returns what is known of the files behind a record, of an autoencoder or of latents."""
    inputs = record["inputs"]
    if isinstance(inputs.get("train"), dict):
        manifest = located(inputs["train"]["path"], weights)
        if manifest is None:
            raise _unknown(weights, inputs["train"]["path"])
        return _of_inputs(manifest, read_json(manifest, ("provenance",))["provenance"])
    if "statistics" not in inputs:
        raise _unknown(weights, "statistics")
    data = inputs.get("train") or inputs.get("files") or inputs["test"]
    found = {item["path"]: located(item["path"], weights) for item in [inputs["statistics"], *data]}
    if missing := [path for path, at in found.items() if at is None]:
        raise _unknown(weights, missing[0])
    statistics, *files = found.values()
    fields = record["config"]["states"]["fields"]
    about = About.of(open_files(files, fields), Preprocessing.read(statistics))
    return about if record["stage"] != "official" else without_ranges(about)


def without_ranges(about: About) -> About:
    """Returns what is known where the data are not those of the training."""
    parameters = {name: one | {"range": None} for name, one in about.parameters.items()}
    return replace(about, parameters=parameters)


def _unknown(path: Path, missing: str) -> Exception:
    return broken(
        path,
        "a model that knows its channels and statistics, as those written since 0.2.0 do",
        f"an older one, and not the {missing} that it was made with",
        "Copy that file along with it, or load it where it was trained and export it there.",
    )
