"""The report: what was run, how good it is, and how one can tell, in one HTML file."""

import base64
import html
import platform
import re
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import lilas
from lilas.provenance import LIBRARIES

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LILAS: {{ name }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; } h3 { margin-bottom: .4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1.5rem; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; } pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; }
figcaption { color: #555; } figure { margin: 1.5rem 0; }
</style></head><body>
<h1>Study {{ name }}</h1>
<p>{{ summary }}</p>
{% for figure in figures %}<figure><img alt="{{ figure.title }}"
src="data:image/png;base64,{{ figure.data }}"><figcaption>{{ figure.title }}</figcaption></figure>
{% endfor %}
<h2>Tables</h2>
{{ tables }}
<h2>Time and memory by stage</h2>
{{ stages }}
<h2>What was run</h2>
<p>LILAS {{ version }} on {{ machine }}. {{ libraries }}.</p>
<pre>{{ study }}</pre>
</body></html>
"""

CAPTIONS = {
    "rollout": "Rollouts of one test trajectory: the truth, and what each emulator makes of it "
    "from its first state, on the truth's colour scale.",
    "metrics": "Metrics against lead time, averaged over test trajectories and fields. "
    "Persistence, climatology and the autoencoder's own reconstruction are dashed.",
    "training": "Losses while training.",
}


def render(tables: Path, figures: Path, study: Path, root: Path, data: Path) -> str:
    """Returns the report of a study as self-contained HTML.

    Args:
        tables: The Markdown tables by horizon.
        figures: Folder of the figures; its PNG files are embedded.
        study: The study's YAML file.
        root: Results folder of the study, whose benchmark files are summed up.
        data: Folder of the data, for the same.
    """
    order = list(CAPTIONS)
    images = sorted(figures.glob("*.png"), key=lambda p: (order.index(p.stem.split("_")[0]), p))
    environment = Environment(undefined=StrictUndefined, autoescape=True)
    return environment.from_string(TEMPLATE).render(
        name=study.stem,
        summary="Emulators of physical flows in latent space, on trajectories that no training "
        "saw. The first picture shows them; the first table says how far they are off, beside "
        "persistence (the first state, kept) and climatology (the mean).",
        figures=[
            {
                "title": CAPTIONS[image.stem.split("_")[0]],
                "data": base64.b64encode(image.read_bytes()).decode(),
            }
            for image in images
        ],
        tables=Markup(_html_tables(tables.read_text())),
        stages=Markup(stage_costs(root, data).to_html(index=False, border=0, justify="right")),
        version=lilas.__version__,
        machine=f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        study=study.read_text(),
    )


def stage_costs(root: Path, data: Path) -> pd.DataFrame:
    """Returns wall time and peak memory by stage from the workflow's benchmark files."""
    rows = []
    paths = [*sorted(data.glob("*/*/benchmarks/*.tsv")), *sorted(root.rglob("benchmarks/**/*.tsv"))]
    for path in paths:
        table = pd.read_csv(path, sep="\t")
        stage = re.sub(r"_(train|valid|test)(_\w+)?$", "", path.stem)
        rows.append({"stage": stage, "s": table["s"].sum(), "MB": table["max_rss"].max()})
    if not rows:
        return pd.DataFrame(columns=["stage", "jobs", "seconds", "peak memory (MB)"])
    grouped = pd.DataFrame(rows).groupby("stage", sort=False)
    return (
        grouped.agg(jobs=("s", "size"), seconds=("s", "sum"), peak=("MB", "max"))
        .round(1)
        .rename(columns={"peak": "peak memory (MB)"})
        .reset_index()
    )


def _html_tables(markdown: str) -> str:
    """Returns the Markdown that `lilas.tables` writes as HTML: headings, tables, bold."""
    parts: list[str] = []
    rows: list[str] = []

    def close() -> None:
        if rows:
            parts.append(f"<table>{''.join(rows)}</table>")
            rows.clear()

    for line in markdown.splitlines():
        if line.startswith("|---"):
            continue
        if line.startswith("|"):
            kind = "td" if rows else "th"
            cells = [html.escape(cell.strip()) for cell in line.strip("|").split("|")]
            cells = [re.sub(r"\*\*(.+)\*\*", r"<b>\1</b>", cell) for cell in cells]
            rows.append("<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in cells) + "</tr>")
            continue
        close()
        if line.startswith("###"):
            parts.append(f"<h3>{html.escape(line.strip('# '))}</h3>")
        elif line:
            parts.append(f"<p>{html.escape(line)}</p>")
    close()
    return "\n".join(parts)
