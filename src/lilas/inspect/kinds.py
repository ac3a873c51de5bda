"""What an artifact is: its shape, ranges, origin and whether it is still current.

Every kind of file that the pipeline writes has one function, which reads it block by block and
returns the lines to print and the picture to draw.
"""

from collections.abc import Callable
from pathlib import Path

from lilas.data.registry import SUFFIXES
from lilas.errors import broken
from lilas.files import nearest, read_json
from lilas.inspect import analyses, data, others, places, scores, stores, trainings
from lilas.inspect.inspection import Inspection
from lilas.records.analyses import is_analysis
from lilas.records.stores import open_store
from lilas.study import paths


def inspect(path: Path) -> Inspection:
    """Inspects one artifact of the pipeline, in memory bounded by a trajectory.

    Raises:
        LilasError: there is no such file, it is of no known kind, or it is damaged.
    """
    if not path.exists():
        near = nearest(path)
        action = f"Did you mean {near}?" if near else "Correct the path."
        raise broken(path, "an artifact of LILAS", "nothing", action)
    by_suffix: dict[str, Callable[[Path], Inspection]] = {
        **dict.fromkeys(SUFFIXES, data.inspect_data_file),
        ".safetensors": trainings.inspect_weights,
        ".jsonl": trainings.inspect_history,
        ".zarr": stores.inspect_store,
        ".parquet": scores.inspect_metrics,
        ".pt": trainings.inspect_checkpoint,
        ".json": _json,
        **others.OTHERS,
    }
    if path.is_dir() and path.suffix != ".zarr":
        return places.inspect_folder(path)
    if path.name in others.MARKS:
        return others.inspect_mark(path)
    if path.name.startswith("events.out.tfevents"):
        return others.inspect_tracked(path)
    if path.suffix not in by_suffix or path.is_file() == (path.suffix == ".zarr"):
        raise others.unknown(path)
    return by_suffix[path.suffix](path)


def _json(path: Path) -> Inspection:
    value = read_json(path)
    if {"channels", "provenance"} <= set(value):
        return data.inspect_statistics(path, value)
    if {"kind", "provenance"} <= set(value):
        if value["kind"] == "zarr":
            dataset = open_store(path)
            if "truth" in dataset:
                return stores.inspect_frames(path, dataset)
            return stores.inspect_latents(path, dataset)
        return data.inspect_pixel_latents(path, value)
    if {"rows", "turns", "provenance"} <= set(value):
        return scores.inspect_timings(path)
    if {"rows", "temperature", "provenance"} <= set(value):
        return scores.inspect_temperature(path)
    if is_analysis(value):
        return analyses.inspect_analysis(path)
    if "claims" in value:
        return others.inspect_claims(path, value)
    if path.name == paths.RECORD:
        return others.inspect_record(path)
    if path.name == paths.OWNER:
        return others.inspect_owner(path, value)
    raise others.unknown(path)
