"""The report: what was run, how good it is, and how one can tell, as HTML pages."""

import json
import os
import platform
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import lilas
from lilas.errors import broken
from lilas.evaluation.uncertainty import RESAMPLES
from lilas.files import read_json
from lilas.records.metrics import metrics_record
from lilas.records.provenance import LIBRARIES, VERSIONS, check_record
from lilas.records.stores import open_store
from lilas.records.timings import processor
from lilas.report import method_tables, step_tables
from lilas.report.answer import answer
from lilas.report.contests import estimate
from lilas.report.evidence import evidence
from lilas.report.images import dataset_of, embed_images, find_images
from lilas.report.looks import looks
from lilas.report.remarks import remarks
from lilas.report.typeset import of_dataset
from lilas.report.viewer import Viewer, embed
from lilas.study import paths
from lilas.study.methods import METHODS

PAGE = Path(__file__).with_name("page")
# Bytes of a page, and in base64 of its viewer. Beside it and 5 MB of Plotly there is room for all
# images that may be embedded; where tables are very long, for fewer.
PAGE_BUDGET = 25_000_000
VIEWER_BUDGET = 11_600_000
# Of files with many tables; the others are called by their first heading.
TITLES = {
    "horizons": "All metrics by horizon",
    "differences": "Differences between emulators",
}
_TEXTS = ["dataset", "autoencoder", "emulator", "method", "sampler", "relative_to", "metric"]
_RUN = ["autoencoder", "emulator", "sampler"]
# What begins elsewhere, or goes the other way, has another truth.
_BEGIN = ["start", "direction"]
_NUMBERS = ["compression", "value", "low", "high", "p", "trajectories"]
_ACTION = "Delete it and run again."
# The tables of the page of methods.
_METHODS = (method_tables.COSTS, method_tables.SCORES, step_tables.NAME)
# Reconstructions in the first table, at most, that are no bound of any emulator: a sweep has many.
_BOUNDS = 6


def render(
    tables: Path,
    claims: Path,
    rows: Path,
    figures: Path,
    frames: Sequence[Path],
    study: Path,
    root: Path,
    data: Path,
) -> Iterator[tuple[str, str]]:
    """Yields the report of a study: HTML pages by file name, each under 25 MB.

    A page needs nothing else. One dataset has one; of several each has its own, and the first to
    be read, which comes last, has the answers on all, the claims and links to the others. A page
    of the claims has the values behind each number; where emulators share their latents, one of
    the methods has their tables at equal budget.

    Args:
        tables: Folder of the tables: horizons.csv, differences.csv, Markdown files.
        claims: The verdicts on the paper's claims, claims.json.
        rows: The values that they are computed from, claims.csv.
        figures: Folder of the figures; its PNG and GIF files are embedded, as many as fit.
        frames: Manifests of frames, for the viewer; may be empty.
        study: The study's YAML file.
        root: Results folder of the study, whose benchmark files are summed up.
        data: Folder of the data, for the same.

    Raises:
        LilasError: a file is missing or damaged.
    """
    cells = _read(tables / "horizons.csv", [*_TEXTS, "field", "horizon", "value", "low", "cell"])
    shown = looks(cells)
    cells["run"] = [shown[run].label for run in cells[_RUN].itertuples(index=False, name=None)]
    pairs = _read(tables / "differences.csv", ["dataset", "first", "second", "horizon", "p"])
    compared = tables / f"{method_tables.SCORES}.md"
    datasets = dict(list(cells.groupby("dataset", sort=False)))
    several = len(datasets) > 1
    pictures, films = defaultdict(list), defaultdict(list)
    for path in find_images(figures):
        pictures[dataset_of(path, datasets) if several else next(iter(datasets))].append(path)
    for path in frames:
        films[open_store(path).attrs["dataset"]].append(path)
    of_study = {
        "name": study.stem,
        "home": paths.REPORT if several else "",
        "methods_page": paths.METHODS_PAGE if compared.is_file() else "",
        "style": Markup((PAGE / "style.css").read_text(encoding="utf-8")),
        "claims": read_json(claims, ("claims",))["claims"],
        "costs": _html(stage_costs(root, data)),
        "machine": machine(),
        "version": lilas.__version__,
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "data": _html(data_sizes(root)),
        "study": study.read_text(encoding="utf-8"),
    }
    parts = {"claims": evidence(claims, rows), "home": "", "resamples": f"{RESAMPLES:,}"}
    yield paths.CLAIMS_PAGE, _fill("every_claim.html", of_study | parts, [])
    if compared.is_file():
        parts = {name: _markdown(tables, name, _METHODS) for name in datasets}
        parts = {"methods": [{"name": n, "tables": _stacked(t)} for n, t in parts.items() if t]}
        shown_too = sorted(figures.glob(f"{step_tables.NAME}_*.png"))
        yield paths.METHODS_PAGE, _fill("methods.html", of_study | parts | {"home": ""}, shown_too)
    found = []
    for name, own in datasets.items():
        page = paths.PAGE.format(dataset=name) if several else paths.REPORT
        table = _overview(own)
        found.append({"page": page, "answer": answer(own, _of(pairs, own)), "table": table})
        viewer = embed(films[name], VIEWER_BUDGET, shown) if films[name] else None
        parts = {
            "basis": _basis(own),
            "viewer": viewer,
            "no_viewer": "The frames of this study are too many for this page."
            if films[name]
            else "Nothing was rolled out, so there is nothing to view.",
            "tables": _markdown(tables, name if several else None),
            "example": _example([table]),
        }
        scripts = _scripts(viewer) if viewer else {}
        yield page, _fill("report.html", of_study | found[-1] | parts | scripts, pictures[name])
    if several:
        parts = {"home": "", "datasets": found, "basis": _basis(cells)}
        parts["example"] = _example([one["table"] for one in found])
        yield paths.REPORT, _fill("study.html", of_study | parts, pictures[""])


def stage_costs(root: Path, data: Path) -> pd.DataFrame:
    """Returns wall time and peak memory by stage from the workflow's benchmark files."""
    rows = []
    files = [*sorted(data.glob("*/*/benchmarks/*.tsv")), *sorted(root.rglob("benchmarks/**/*.tsv"))]
    for path in files:
        table = pd.read_csv(path, sep="\t")
        named = (stage for stage in VERSIONS if f"{path.stem}_".startswith(f"{stage}_"))
        stage = next(named, path.stem.partition("_")[0])
        rows.append({"stage": stage, "s": table["s"].sum(), "MB": table["max_rss"].max()})
    if not rows:
        return pd.DataFrame(columns=["stage", "jobs", "seconds", "peak memory (MB)"])
    stages = list(VERSIONS)
    order = stages.index("evaluate")
    rows.sort(key=lambda row: stages.index(row["stage"]) if row["stage"] in stages else order)
    grouped = pd.DataFrame(rows).groupby("stage", sort=False)
    return (
        grouped.agg(jobs=("s", "size"), seconds=("s", "sum"), peak=("MB", "max"))
        .round(1)
        .rename(columns={"peak": "peak memory (MB)"})
        .reset_index()
    )


def data_sizes(root: Path) -> pd.DataFrame:
    """Returns the files of data that statistics and evaluation read, with their sizes."""
    rows = []
    for path in sorted(root.glob("*/baselines.parquet")):
        records = [check_record(path, metrics_record(path))]
        # Official autoencoders bring statistics of their own, of data that are not here.
        if (statistics := path.with_name("statistics.json")).is_file():
            held = read_json(statistics, ("provenance",))["provenance"]
            records.insert(0, check_record(statistics, held))
        for record in records:
            for split, files in record["inputs"].items():
                if isinstance(files, list):
                    size = sum(file["bytes"] for file in files) / 1e6
                    rows.append([path.parent.name, split, len(files), round(size, 1)])
    return pd.DataFrame(rows, columns=["dataset", "split", "files", "MB"])


def machine() -> str:
    """Returns the machine that this runs on: processor, cores, memory, GPU, system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return ", ".join(
        [
            processor(),
            f"{os.cpu_count()} cores",
            f"{memory:.0f} GiB of memory",
            ", ".join(_gpus()) or "no GPU",
            f"{platform.system()}, Python {platform.python_version()}",
        ]
    )


def _gpus() -> list[str]:
    # Torch takes a second to import, and names none where no driver has made a device.
    if not any(Path("/dev", name).exists() for name in ("nvidiactl", "kfd", "dxg")):
        return []
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


# --- Parts of the page ------------------------------------------------------------------------


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """Returns a CSV table, whose empty texts are empty texts and whose empty numbers are NaN."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False)
    except (FileNotFoundError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise broken(path, "a CSV table", f"{error}", _ACTION) from None
    if missing := [name for name in columns if name not in table]:
        raise broken(path, f"the columns {', '.join(columns)}", f"no {missing[0]}", _ACTION)
    numbers = [name for name in _NUMBERS if name in table]
    table[numbers] = table[numbers].replace("", np.nan).astype(float)
    return table


def _of(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    return pairs[pairs["dataset"] == rows["dataset"].iloc[0]]


def _basis(cells: pd.DataFrame) -> str:
    counts = cells.groupby("dataset", sort=False)["trajectories"].max()
    several = len(counts) > 1
    texts = [f"{int(n)} ({name})" if several else f"{int(n)}" for name, n in counts.items()]
    return (
        f"Test trajectories that no training saw: {', '.join(texts)}. In brackets, 95 % bootstrap "
        "intervals over trajectories; p of paired sign-flip tests, not corrected for their number. "
        "Persistence keeps the state of lead time 0, climatology is the training mean. A "
        "method's run of a horizon is the best of its emulators on these trajectories, each with "
        "the first of its samplers. CRPS and energy "
        "score are over the truth's standard deviation, as the VRMSE; of one member they are the "
        "mean absolute error and the VRMSE."
    )


def _example(tables: list[dict[str, Any]]) -> str:
    """Returns the name of a cell of tables of `_overview`, empty if they have none."""
    return next(
        (c["id"] for table in tables for row in table["rows"] for c in row["cells"] if c), ""
    )


def _overview(rows: pd.DataFrame) -> dict[str, Any]:
    """Returns the VRMSE of a dataset's runs by horizon, emulators first, bounds last."""
    chosen = rows[
        (rows["metric"] == "vrmse") & (rows["relative_to"] == "truth") & (rows["field"] == "")
    ]
    horizons = list(dict.fromkeys(chosen["horizon"]))
    chosen, left_out = _few_bounds(chosen)
    bounds = chosen["method"] == "reconstruction"
    chosen = chosen.assign(bound=bounds, order=chosen["method"].map(list(METHODS).index))
    contenders = chosen[~bounds]
    best = contenders.groupby([*_BEGIN, "horizon"])["value"].min()
    several = len(chosen[_BEGIN].drop_duplicates()) > 1
    found = []
    ordered = chosen.sort_values(["bound", "order", "compression"], kind="stable")
    for _, run in ordered.groupby(_RUN, sort=False):
        first, cells = run.iloc[0], run.set_index("horizon")
        bound = bool(first["bound"])
        begin = f", {first['direction']} from step {first['start']}" * several
        found.append(
            {
                "run": first["run"] + begin,
                "compression": f"{first['compression']:.0f}" if first["autoencoder"] else "",
                "bound": bound,
                "cells": [
                    _cell(
                        cells.loc[h],
                        not bound and cells.loc[h, "value"] == best[*first[_BEGIN], h],
                    )
                    if h in cells.index
                    else None
                    for h in horizons
                ],
            }
        )
    name = rows["dataset"].iloc[0]
    remark = remarks(rows).get(name, "")
    if left_out:
        remark = (
            f"{left_out} other reconstructions are worse: see the tables below. {remark}".strip()
        )
    return {"name": name, "horizons": horizons, "rows": found, "remark": remark}


def _few_bounds(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Returns VRMSE without the many reconstructions that bound no emulator, and how many they are.

    Of those, the least of each compression stays.
    """
    bounds = rows["method"] == "reconstruction"
    alone = rows[bounds & ~rows["autoencoder"].isin(rows.loc[~bounds, "autoencoder"])]
    means = alone.groupby(["compression", "autoencoder"])["value"].mean()
    if len(means) <= _BOUNDS:
        return rows, 0
    best = means.groupby("compression").idxmin().str[1]
    out = set(means.index.get_level_values("autoencoder")) - set(best)
    return rows[~(bounds & rows["autoencoder"].isin(out))], len(out)


def _cell(cell: pd.Series, best: bool) -> dict[str, Any]:
    value, _, interval = estimate(cell).partition(" ")
    return {"value": value, "interval": interval, "id": cell["cell"], "best": best}


def _markdown(
    folder: Path, dataset: str | None, names: Sequence[str] = ("*",)
) -> list[dict[str, Any]]:
    """Returns the Markdown tables of a folder as HTML, of a dataset alone if one is named.

    HTML inside them stays text.
    """
    convert = MarkdownIt("commonmark", {"html": False}).enable("table")
    found = []
    files = [path for name in names for path in folder.glob(f"{name}.md")]
    for path in sorted(files, key=_in_reading_order) if names == ("*",) else files:
        text = path.read_text(encoding="utf-8")
        heading = re.search(r"^#+ (.+)", text, re.MULTILINE)
        title = TITLES.get(path.stem) or (heading[1] if heading else path.stem)
        if part := text if dataset is None else of_dataset(text, dataset):
            found.append({"title": title, "body": Markup(convert.render(part))})
    return found


def _stacked(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns tables of `_markdown` with a number's interval, and its p, small below it."""
    follows = re.compile(r" (\[[^\]<]*\])(?:, ([^<]*))?(?=</(?:strong|td)>)")
    # A Markup would escape what takes a part's place.
    bodies = [follows.sub(r"<small>\1</small><small>\2</small>", str(t["body"])) for t in tables]
    return [one | {"body": Markup(body)} for one, body in zip(tables, bodies, strict=True)]


def _in_reading_order(path: Path) -> tuple[bool, int, str]:
    """Numbered tables by number, then the others."""
    number = re.search(r"\d+", path.stem)
    return (number is None, int(number[0]) if number else 0, path.name)


def _scripts(viewer: Viewer) -> dict[str, Markup]:
    return {
        # Within a script, `<` could end it.
        "viewer_runs": Markup(json.dumps(viewer.runs, allow_nan=False).replace("<", "\\u003c")),
        "viewer_blobs": Markup(json.dumps(viewer.blobs)),
        "plotly": Markup(get_plotlyjs()),
        "script": Markup((PAGE / "viewer.js").read_text(encoding="utf-8")),
    }


def _fill(template: str, values: dict[str, Any], pictures: Sequence[Path]) -> str:
    """Returns a page with as many pictures as it has room for."""
    environment = Environment(
        loader=FileSystemLoader(PAGE), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    page = environment.get_template(template)
    bare = page.render(values | embed_images([], 0))
    return page.render(values | embed_images(pictures, PAGE_BUDGET - len(bare.encode())))


def _html(table: pd.DataFrame) -> Markup:
    return Markup(table.to_html(index=False, border=0, justify="right"))
