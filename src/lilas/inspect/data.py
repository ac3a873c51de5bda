"""Data files, their statistics, and latents of pixel space, which are the data files themselves."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lilas.data.axes import stacked
from lilas.data.layout import BOUNDARIES
from lilas.data.origins import told_apart
from lilas.data.preprocess import Preprocessing
from lilas.data.repeats import tell_repeats
from lilas.data.states import Pixels, read_states
from lilas.data.well import open_files, open_well
from lilas.display import measured, spaced
from lilas.errors import broken
from lilas.inspect import pictures, text
from lilas.inspect.inspection import Inspection
from lilas.inspect.pictures import PANELS
from lilas.inspect.survey import read_trajectory
from lilas.inspect.text import Ranges
from lilas.progress import progress
from lilas.records.provenance import check_record


def inspect_data_file(path: Path) -> Inspection:
    """Inspects a data file."""
    file = open_well(path)
    names = [channel.name for channel in file.channels]
    dims = ("trajectory", "time", "channel", *file.axes)
    shape = (len(names), *file.shape)
    sizes = (file.trajectories, file.steps, *shape)
    kind = read_states(file, 0, slice(0, 1)).dtype
    facts = {
        "states": f"{kind} {text.shape(dims, sizes)}, {text.size(path.stat().st_size)} on disk",
        "time": f"{text.times(file.times)}, unit: {file.time_units}",
        **{f"{name} axis": text.points(x) for name, x in file.coordinates.items()},
        "grid": file.grid,
        "boundaries": ", ".join(
            f"{name} {' / '.join(_boundary_names(codes))}"
            for name, codes in zip(file.axes, file.boundaries, strict=True)
        ),
    }
    parameters = {
        name: measured(_values(values), file.parameter_units.get(name, ""))
        for name, values in file.parameters.items()
    }
    ranges = Ranges(len(names))
    rows = progress(range(file.trajectories), desc="read", leave=False, delay=1.0)
    steps = {row: read_trajectory(file, row, ranges) for row in rows}
    lines = [f"{path}: data file of {file.dataset}, in The Well's layout", "", *text.facts(facts)]
    lines += text.facts(parameters)
    lines += [f"  Doubtful: {doubt}" for doubt in [*file.doubts, *tell_repeats(steps)]]
    units = [file.fields[channel.field].units for channel in file.channels]
    told = "" if any(units) else " (the file names none)"
    named = [f"{name} in {unit}" if unit else name for name, unit in zip(names, units, strict=True)]
    lines += ["", f"Channels, in the data's own units{told}", *ranges.lines(named)]
    lines += ["", "Its source: The Well's format holds no record of its making."]

    def draw() -> Figure:
        steps = spaced(file.steps, PANELS)
        states = np.concatenate([read_states(file, 0, slice(i, i + 1)) for i in steps])
        titles = [f"time {file.times[0, i]:g}" for i in steps]
        rows = {name: states[:, i] for i, name in enumerate(names)}
        return pictures.panels(rows, titles, "Trajectory 0")

    return Inspection(lines, draw)


def _boundary_names(codes: np.ndarray) -> list[str]:
    names = {code: name for name, code in BOUNDARIES.items()}
    return [names[code] for code in dict.fromkeys(codes.tolist())]


def _values(values: np.ndarray) -> str:
    different = np.unique(values)
    shown = ", ".join(f"{value:g}" for value in different[:6])
    return shown + (f", … ({len(different)} values)" if len(different) > 6 else "")


def inspect_statistics(path: Path, value: dict[str, Any]) -> Inspection:
    """Inspects statistics, of a split or of a model that was taken as it is."""
    # Such an autoencoder brings what it was trained with, and no more.
    record = check_record(path, value["provenance"])
    computed = record["stage"] == "statistics"
    keys = ("min", "mean", "max", "std", "count") if computed else ("mean", "std")
    rows = []
    for name, entry in value["channels"].items():
        if missing := [key for key in (*keys, "transform") if key not in entry]:
            action = "Delete it and run again."
            raise broken(path, f"{missing[0]} of channel {name}", "none", action)
        kind = text.plain(entry["transform"]).removeprefix("kind ")
        shown = [f"{entry[key]:.6g}" if key != "count" else str(entry[key]) for key in keys]
        rows.append([name, *shown, kind])
    which = "of the training split" if computed else "as the given model was trained with"
    lines = [f"{path}: statistics {which}", ""]
    lines += [
        "Channels, after their transform, in the unit of the transformed field",
        *text.table(["channel", *keys, "transform"], rows),
    ]
    return Inspection([*lines, *text.origin(record, path)])


def inspect_pixel_latents(path: Path, entry: dict[str, Any]) -> Inspection:
    """Inspects the manifest of latents that are the data files themselves."""
    record = check_record(path, entry["provenance"], "states", "label")
    files = open_files(
        [path.parent / name for name in entry["files"]], record["config"]["states"]["fields"]
    )
    preprocessing = Preprocessing.read(path.parent / entry["statistics"])
    pixels = Pixels(files, preprocessing, record["config"]["label"])
    names = [channel.name for channel in files[0].channels]
    dims = ("trajectory", "time", "channel", *files[0].axes)
    sizes = (pixels.rows, int(pixels.steps.max()), *pixels.shape)
    facts = {
        "latent": f"float32 {text.shape(dims, sizes)}, unit 1, "
        "read from the data files; no copy is written",
        "compression": "1",
        "time": f"{text.times(stacked([f.times for f in files]))}, unit: {files[0].time_units}",
        "steps": text.counts(pixels.steps),
        "files": ", ".join(told_apart([file.path for file in files])),
    }
    ranges = text.state_ranges(pixels.read, pixels.steps.tolist(), pixels.shape)
    lines = [f"{path}: latents of {files[0].dataset} in pixel space", "", *text.facts(facts)]
    lines += ["", "Channels, standardised", *ranges.lines(names), *text.origin(record, path)]

    def draw() -> Figure:
        steps = spaced(files[0].steps, PANELS)
        states = np.concatenate([pixels.read(0, slice(i, i + 1)) for i in steps])
        titles = [f"time {files[0].times[0, i]:g}" for i in steps]
        rows = {f"{name}, standardised": states[:, i] for i, name in enumerate(names)}
        return pictures.panels(rows, titles, "Trajectory 0")

    return Inspection(lines, draw)
