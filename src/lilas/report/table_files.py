"""The tables of a study as files: CSV for programs, Markdown and LaTeX for people."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from lilas.display import with_unit
from lilas.evaluation.metrics import EVERY_METRIC
from lilas.files import atomic
from lilas.records.analyses import read_analysis
from lilas.records.metrics import metrics_units, read_metrics
from lilas.records.temperatures import read_temperatures
from lilas.records.timings import read_timings
from lilas.report import calibration, method_tables, speed, step_tables
from lilas.report.ablation_tables import ablation_tables
from lilas.report.costs import read_losses
from lilas.report.guidance import guidance_tables
from lilas.report.latent_tables import TITLES, latent_tables
from lilas.report.published import paper_tables
from lilas.report.summary import by_horizon, differences
from lilas.report.tables import difference_tables, metric_tables, valid_time_tables
from lilas.report.trajectories import by_trajectory, concatenate, valid_times
from lilas.report.typeset import Table, csv, latex, markdown, terminal
from lilas.study.ablation import Variant
from lilas.study.comparison import Compared, Sampling

# The paper's Table 6, and what its ensembles are judged by, lead.
FIRST = ("vrmse", "vrmse_scale_free", "vcrps", "venergy_score", "spread_skill", "crps")
INTRO = (
    "Mean over test trajectories, fields and the lead times of a horizon (solver steps). In "
    "brackets: 95 % bootstrap interval over trajectories, too narrow where they are fewer than 6. "
    "In bold: the best but for reconstructions, of forecasts from one step in one direction; "
    "against the auto-encoded truth, of each autoencoder."
)
BETTER = {
    "lower": " (better: lower)",
    "higher": " (better: higher)",
    "one": " (better: closer to 1)",
    "none": "",
}
PAIRED = (
    "First minus second, mean over test trajectories. In brackets: 95 % bootstrap interval over "
    "trajectories. p: two-sided sign-flip test over trajectories that the mean is 0, not "
    "corrected for the number of comparisons."
)


def write_tables(
    folder: Path,
    metrics: Sequence[Path],
    horizons: dict[str, list[tuple[int, int]]],
    sources: dict[str, str],
    published: dict[str, str],
    ablation: dict[str, list[Variant]] | None = None,
    histories: Sequence[Path] = (),
    timings: Sequence[Path] = (),
    temperatures: Sequence[Path] = (),
    guided: Sequence[Path] = (),
    twins: Mapping[str, str] | None = None,
    analyses: Sequence[Path] = (),
    lead_times: Mapping[str, Sequence[int]] | None = None,
    units: Mapping[str, Mapping[str, str]] | None = None,
    compared: Mapping[str, Sequence[Compared]] | None = None,
    trained: Sequence[Path] = (),
    sampling: Mapping[str, Sampling] | None = None,
) -> str:
    """Writes the tables of a study and returns the first of them for a terminal.

    Args:
        folder: Where they go, in the results folder of the study.
        metrics: Files of metrics.
        horizons: First and last lead times averaged together, in solver steps, by dataset.
        sources: What data each dataset holds, in words.
        published: The paper's names of the datasets that are its own.
        ablation: Autoencoders whose trainings are compared, by dataset.
        histories: Histories of these.
        timings: Files of timings.
        temperatures: Files of temperatures that were tuned.
        guided: Files of metrics of rollouts that are guided by the truth: these are no forecasts,
            and are in a table of their own.
        twins: By sampler of those, the one that differs in guidance alone.
        analyses: Files of latent analyses.
        lead_times: Those of counterfactuals' tables, by dataset.
        units: Of fields and components, in place of the data's, by dataset.
        compared: Emulators that share their latents with others, by dataset.
        trained: Histories of these, and of what they start from.
        sampling: How samplers generate whose steps or algorithms are compared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = by_trajectory(map(read_metrics, metrics), horizons)

    means = by_horizon(summary)
    means["unit"] = _units(means, metrics, units or {})
    _csv(folder / "horizons.csv", means)
    named = [with_unit(row.field, row.unit) if row.field else "" for row in means.itertuples()]
    sections = _sections(means.assign(field=named), metric_tables)
    _text(folder / "horizons.md", "\n".join([f"{INTRO}\n", *sections]))

    pairs = differences(summary)
    _csv(folder / "differences.csv", pairs)
    _text(
        folder / "differences.md", "\n".join([f"{PAIRED}\n", *_sections(pairs, difference_tables)])
    )

    valid = valid_time_tables(valid_times(map(read_metrics, metrics)))
    _all(folder / "valid_time", "Valid time (better: higher)", valid, "criterion")
    for name, (title, tables) in paper_tables(summary, sources, published).items():
        _all(folder / name, title, tables, "horizon")
    arms = ablation_tables(ablation or {}, read_losses(histories), summary)
    for name, (title, tables) in arms.items():
        _all(folder / name, title, tables, "quantity")
    timed = read_timings(timings)
    if timings:
        tables = speed.speed_tables(timed, published)
        _all(folder / speed.NAME, speed.TITLE, tables, "quantity")
    if compared:
        tables = method_tables.method_tables(summary, compared)
        _all(folder / method_tables.SCORES, method_tables.TITLE, tables, "horizon")
        tables = method_tables.cost_tables(summary, compared, trained, timed, folder.parent)
        _all(folder / method_tables.COSTS, method_tables.COSTS_TITLE, tables, "quantity")
    if sampling:
        tables = step_tables.step_tables(summary, sampling, timed, folder.parent)
        _all(folder / step_tables.NAME, step_tables.TITLE, tables, "quantity")
    if temperatures:
        tables = calibration.calibration_tables(read_temperatures(temperatures), horizons)
        _all(folder / "calibration", calibration.TITLE, tables, "score")
    if guided:
        both = concatenate([summary, by_trajectory(map(read_metrics, guided), horizons)])
        tables = guidance_tables(both, twins or {})
        _all(folder / "guidance", "Rollouts guided by observations", tables, "horizon")
    for name, tables in latent_tables(
        map(read_analysis, analyses), lead_times or {}, published
    ).items():
        _all(folder / name, TITLES[name][0], tables, TITLES[name][1])
    return terminal(sections[0])


def _units(
    means: pd.DataFrame, metrics: Sequence[Path], given: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Returns the unit of each value: its metric's, or its field's where the metric has that."""
    known: dict[tuple[str, str], str] = {}
    for path in metrics:
        own = metrics_units(path)
        for dataset in read_metrics(path)["dataset"].unique() if own else ():
            its = given.get(dataset, {})
            for name, (field, unit) in own.items():
                known[dataset, name] = its.get(name, its.get(field, unit))
    told = {"1": "1", "steps": "solver steps"}
    kinds = [EVERY_METRIC[name].units if name in EVERY_METRIC else "" for name in means["metric"]]
    places = zip(kinds, means["dataset"], means["field"], strict=True)
    return [
        known.get((dataset, field), "") if kind == "field" else told.get(kind, "")
        for kind, dataset, field in places
    ]


def _sections(rows: pd.DataFrame, tables: Callable[..., list[Table]]) -> list[str]:
    names = rows[["metric", "relative_to"]].drop_duplicates().itertuples(index=False, name=None)
    return [
        markdown(
            metric
            + {"truth": "", "autoencoder": ", against the auto-encoded truth"}[relative_to]
            + (BETTER[EVERY_METRIC[metric].orientation] if metric in EVERY_METRIC else ""),
            tables(rows, metric, relative_to),
        )
        for metric, relative_to in sorted(
            names, key=lambda name: (name[1] != "truth", _rank(name[0]))
        )
    ]


def _rank(metric: str) -> int:
    order = [*FIRST, *EVERY_METRIC]
    return order.index(metric) if metric in order else len(order)


def _all(stem: Path, title: str, tables: list[Table], column: str) -> None:
    _csv(stem.with_suffix(".csv"), csv(tables, column))
    _text(stem.with_suffix(".md"), markdown(title, tables))
    _text(stem.with_suffix(".tex"), latex(title, tables))


def _csv(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as part:
        table.to_csv(part, index=False, float_format="%.6g")


def _text(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
