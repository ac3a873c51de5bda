"""Files to look at and folders: tables, figures, claims, logs, studies; told in a few lines."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from PIL import Image, UnidentifiedImageError

from lilas.errors import LilasError, broken
from lilas.inspect import text
from lilas.inspect.inspection import ELSEWHERE as GIVE_ANOTHER
from lilas.inspect.inspection import Inspection
from lilas.records.carried import carried
from lilas.records.provenance import ELSEWHERE, differences
from lilas.study import paths
from lilas.study.read import read_study, read_swept

Facts = dict[str, str]


def told(path: Path, what: str, facts: Facts) -> Inspection:
    return Inspection([f"{path}: {what}", "", *text.facts(facts)])


def inspect_table(path: Path) -> Inspection:
    """Inspects a table (CSV, or a benchmark of Snakemake's, TSV)."""
    tabs = path.suffix == ".tsv"
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        header, *rows = [*csv.reader(file, delimiter="\t" if tabs else ",")] or [[]]
    if not header or any(len(row) != len(header) for row in rows):
        expected = "a table whose rows have the columns of its first line"
        raise broken(path, expected, "another text", "Run snakemake -R tables.")
    facts = {"columns": ", ".join(header), "rows": f"{len(rows)}"}
    if tabs and {"s", "max_rss"} <= set(header) and rows:
        last = dict(zip(header, rows[-1], strict=True))
        facts |= {"took": f"{last['s']} s", "memory": f"{last['max_rss']} MB at most"}
        return told(path, "what a job took, by Snakemake", facts)
    if "cell" in header:
        cell = next((row[header.index("cell")] for row in rows if row[header.index("cell")]), "")
        facts["where from"] = f"lilas trace {cell} --results {path.parent.parent}"
    return told(path, "a table of a study", facts | _state(path))


def inspect_picture(path: Path) -> Inspection:
    """Inspects a figure or a video."""
    facts = {"size": text.size(path.stat().st_size)}
    if path.suffix in (".png", ".gif"):
        try:
            with Image.open(path) as image:
                facts["points"] = f"{image.width} x {image.height}"
                frames = getattr(image, "n_frames", 1)
        except (UnidentifiedImageError, OSError) as error:
            raise broken(path, "a picture", f"damage ({error})", "Run the figures again.") from None
        if frames > 1:
            facts["pictures"] = f"{frames}, a lead time each"
    facts |= {"made of": "the metrics, frames and histories of its study"}
    return told(path, "a figure of a study", facts | _state(path))


def inspect_text(path: Path) -> Inspection:
    """Inspects a log, a table or a study, to be read as they are."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kinds = {".log": "log of a job", ".md": "table of a study, to be read"}
    kinds |= {".tex": "table of a study, for LaTeX", ".html": "report of a study, for a browser"}
    kinds |= {".yaml": "settings: a study is read by snakemake -n --config study=PATH"}
    facts = {"lines": f"{len(lines)}", "size": text.size(path.stat().st_size)}
    if path.suffix == ".log":
        errors = [line for line in lines if line.startswith("error: ")]
        facts |= {"last line": lines[-1].rsplit("\r")[-1][:200]} if lines else {}
        facts |= {"error": errors[-1].removeprefix("error: ")} if errors else {}
    if path.suffix == ".yaml" and any(line.startswith("sweep:") for line in lines):
        read_study(path)
        made = {f"swept {kind}": ", ".join(names) for kind, names in read_swept(path).items()}
        facts |= {kind: names for kind, names in made.items() if names}
    return told(path, kinds[path.suffix], facts | _state(path))


def _state(path: Path) -> Facts:
    """Returns whether a page, or what has a record beside it, is current."""
    at = path.with_name(paths.RECORD)
    at = at if at.is_file() else path
    record = carried(at)
    if record is None:
        return {}
    found = [line for line in differences(record, at) if not line.startswith("code: ")]
    stale = [line for line in found if not line.endswith(ELSEWHERE)]
    if stale:
        return {"stale": "; ".join(stale)}
    return {"current": "not known: not all that it was made from is here" if found else "yes"}


def inspect_record(path: Path) -> Inspection:
    """Inspects the record of the making of a folder of tables or figures."""
    record = carried(path)
    what = f"record of the making of the {path.resolve().parent.name} beside it"
    return Inspection([f"{path}: {what}", *text.origin(record, path)])


def inspect_claims(path: Path, value: dict[str, list[dict[str, str]]]) -> Inspection:
    """Inspects what a run says of the paper's claims."""
    try:
        found = [f"  {one['number']}. {one['verdict']}: {one['claim']}" for one in value["claims"]]
    except (KeyError, TypeError):
        raise unknown(path) from None
    state = text.facts(_state(path))
    return Inspection([f"{path}: the paper's claims, held against a run", "", *found, *state])


def inspect_owner(path: Path, value: dict[str, object]) -> Inspection:
    """Inspects what says whose results a folder holds."""
    facts = {name: json.dumps(item) for name, item in value.items()}
    return told(path, "whose results this folder holds", facts)


def inspect_archive(path: Path) -> Inspection:
    """Inspects a released run as it was fetched."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, OSError) as error:
        raise broken(path, "a zip", f"damage ({error})", "Delete it and run again.") from None
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    facts = {"size": text.size(path.stat().st_size), "holds": ", ".join(names[:6]) + more}
    facts["next"] = f"lilas official check {path}"
    return told(path, "a released run of the official code", facts)


def inspect_tracked(path: Path) -> Inspection:
    """Inspects what a tracker wrote of a training."""
    show = f"wandb sync {path.parent}"
    if path.suffix != ".wandb":
        show = f"tensorboard --logdir {path.parent}"
    return told(path, "a training as a tracker shows it", {"to see it": show})


def inspect_mark(path: Path) -> Inspection:
    """Inspects a file that is there for programs alone."""
    return told(path, MARKS[path.name], {"size": text.size(path.stat().st_size)})


# What is there for programs alone, by name.
MARKS = {
    "lock": "held by a run while it works in this folder; empty",
    "reading.lock": "held by runs while they read this folder; empty",
    ".snakemake_timestamp": "when Snakemake saw this folder finished; empty",
}

OTHERS: dict[str, Callable[[Path], Inspection]] = {
    **dict.fromkeys((".csv", ".tsv"), inspect_table),
    **dict.fromkeys((".png", ".pdf", ".svg", ".gif", ".mp4"), inspect_picture),
    ".zip": inspect_archive,
    ".wandb": inspect_tracked,
    **dict.fromkeys((".log", ".md", ".tex", ".html", ".yaml"), inspect_text),
}


def unknown(path: Path) -> LilasError:
    """Returns the error for a file that is none of ours."""
    found = f"one ending in {path.suffix!r}" if path.suffix else "one without an ending"
    action = f"{GIVE_ANOTHER} lilas inspect --help lists the kinds."
    return broken(path, "a kind of file that LILAS writes", found, action)
