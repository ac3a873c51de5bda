"""The card of a model that is given away: what it is, its data, its scores, how it is called."""

from math import isnan
from typing import Any

import pandas as pd

from lilas.data.about import About

_PAPER = (
    "Rozet et al., Lost in Latent Space: An Empirical Study of Latent Diffusion Models for Physics "
    "Emulation, NeurIPS 2025, arXiv 2507.02608"
)


def card(config: dict[str, Any], scores: pd.DataFrame | None, licence: str) -> str:
    """Returns a model's card in Markdown, with the head that model hubs read.

    Args:
        config: What `config.json` of the bundle holds.
        scores: Rows of `horizons.csv` of the model, None where it was not scored.
        licence: Of the model; "" leaves the field open.
    """
    about, kind = About(**config["about"]), config["model_type"]
    what = config["config"]["emulator" if kind == "emulator" else "autoencoder"]
    method = what.get("method") or what.get("architecture")
    lines = [
        "---",
        f"license: {licence or 'unknown'}",
        "library_name: lilas",
        f"tags: [lilas, physics, {kind}, {method}]",
        f"datasets: [{about.dataset}]",
        "---",
        "",
        f"# {kind.capitalize()} of {about.dataset} ({method})",
        "",
        *_data(about),
        "",
        "## Scores",
        "",
        *_scores(scores),
        "",
        "## Use",
        "",
        "```python",
        "import lilas",
        "",
        'model = lilas.load("this folder")',
        *_use(about, kind),
        "```",
        "",
        "## Licence and citation",
        "",
        f"Licence: {licence or 'not given; ask who gave you the model'}.",
        f"Trained with LILAS {config['lilas_version']}, a pipeline for {_PAPER}.",
    ]
    return "\n".join(lines) + "\n"


def _data(about: About) -> list[str]:
    grid = ", ".join(
        f"{name}: {axis.get('size') or 'any'} points{_unit(axis)}"
        for name, axis in about.axes.items()
    )
    rows = [
        f"| {name} | {known['units'] or '-'} | {known['mean']:.4g} | {known['std']:.4g} | "
        f"{known['transform']['kind']} |"
        for name, known in about.channels.items()
    ]
    ranges = [
        f"| {name} | {known['units'] or '-'} | "
        + (f"{known['range'][0]:g} to {known['range'][1]:g} |" if known["range"] else "- |")
        for name, known in about.parameters.items()
    ]
    boundaries = "; ".join(
        ", ".join(f"{axis} {' and '.join(dict.fromkeys(ends))}" for axis, ends in one.items())
        for one in about.boundaries
    )
    interval = "unknown" if about.interval is None else f"{about.interval[0]:g} {about.time_units}"
    return [
        "## Data",
        "",
        f"Grid: {grid}. Boundaries: {boundaries}. Time between states: {interval}.",
        "",
        "| channel | units | mean | std | transform |",
        "|---|---|---|---|---|",
        *rows,
        *(["", "| parameter | units | training |", "|---|---|---|", *ranges] if ranges else []),
    ]


def _unit(known: dict[str, Any]) -> str:
    return f" ({known['units']})" if known["units"] else ""


def _scores(scores: pd.DataFrame | None) -> list[str]:
    if scores is None or not len(scores):
        return ["It was not scored."]
    rows = [
        f"| {f'{row.emulator} {row.sampler}'.strip()} | {f'{row.metric} {row.field}'.strip()} | "
        f"{row.horizon} | "
        f"{row.value:.4g} | {'-' if isnan(row.low) else f'{row.low:.4g} to {row.high:.4g}'} |"
        for row in scores.itertuples()
    ]
    return [
        "On the test split, with intervals of 95 % over its trajectories, beside persistence:",
        "",
        "| method | metric | lead times | value | interval |",
        "|---|---|---|---|---|",
        *rows,
    ]


def _use(about: About, kind: str) -> list[str]:
    if kind == "autoencoder":
        return [
            "latents = model.encode(states)  # states: an xarray.Dataset",
            "model.decode(latents)",
        ]
    values = ", ".join(
        f'"{name}": {known["range"][0]:g}' if known["range"] else f'"{name}": ...'
        for name, known in about.parameters.items()
    )
    return [
        "# states: an xarray.Dataset with a variable of each channel",
        f"model.rollout(states, {{{values}}}, steps=20, members=8)",
    ]
