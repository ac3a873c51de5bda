"""The figures and videos of a study as files: numbers, trainings, and rollouts beside the truth."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from lilas.records.analyses import read_analysis
from lilas.records.histories import read_history
from lilas.records.metrics import read_curves, read_metrics
from lilas.records.stores import open_store
from lilas.report import figures, panels, videos
from lilas.report.ablation_figure import ablation_curves
from lilas.report.ablation_tables import NAME, TRIED
from lilas.report.costs import read_losses
from lilas.report.curves import mean_curves, mean_metrics
from lilas.report.latent_figures import latent_figures
from lilas.report.looks import Looks, Run, looks, run_of
from lilas.report.step_figure import read_steps, step_curves
from lilas.report.step_tables import NAME as STEPS
from lilas.study.paths import split_training_name, training_name

Runs = dict[Run, xr.Dataset]


def write_figures(
    output: Path,
    metrics: Sequence[Path],
    table: Path,
    histories: Sequence[Path],
    frames: Sequence[Path],
    settings: Any,
    guided: Sequence[Path] = (),
    twins: Mapping[str, str] | None = None,
    analyses: Sequence[Path] = (),
) -> None:
    """Writes the figures and videos of a study.

    Args:
        output: Where they go, a folder in the study's results.
        metrics: Files of metrics.
        table: The table by horizon, CSV.
        histories: Histories of trainings.
        frames: Manifests of frames.
        settings: A `lilas.study.study.Figures`.
        guided: Manifests of frames of guided rollouts, which have figures of their own.
        twins: By sampler of those, the one that differs in guidance alone.
        analyses: Files of latent analyses.
    """
    output.mkdir(parents=True, exist_ok=True)

    means = mean_metrics(map(read_metrics, metrics))
    shown = looks(means)
    drawn = _numbers(means, metrics, table, shown)
    trained: dict[str, list[Path]] = {}
    for path in histories:
        trained.setdefault(path.relative_to(output.parent).parts[0], []).append(path)
    for dataset, figure in _ablations(histories, table.parent):
        figures.save(figure, output / f"{NAME}_{dataset}", settings.dpi)
    for dataset, rows in read_steps(table.parent).groupby("dataset", sort=False):
        if (figure := step_curves(rows, shown)) is not None:
            figures.save(figure, output / f"{STEPS}_{dataset}", settings.dpi)
    several = means["dataset"].nunique() > 1
    for dataset, its in trained.items():
        name = f"training_{dataset}" if several else "training"
        figures.save(_training(its, output.parent), output / name, settings.dpi)
    for name, figure in drawn:
        figures.save(figure, output / name, settings.dpi)
    for name, figure in latent_figures([read_analysis(path) for path in analyses]):
        figures.save(figure, output / name, settings.dpi)
    stores = [open_store(path, "truth", "autoencoder", "member") for path in frames]
    for dataset in dict.fromkeys(store.attrs["dataset"] for store in stores):
        runs = {run_of(store): store for store in stores if store.attrs["dataset"] == dataset}
        first, *_ = runs.values()
        for index in range(
            min(settings.trajectories, *(s.sizes["trajectory"] for s in runs.values()))
        ):
            # Every field of the first trajectory; the viewer shows those of the others.
            fields = first["channel"].values if index == 0 else first["channel"].values[:1]
            name = f"{dataset}_{first['trajectory'].values[index]}"
            for field in fields:
                picture = _panels(runs, shown, index, field, settings.lead_times)
                figures.save(picture, output / f"rollout_{name}_{field}", settings.dpi)
            videos.save(_video(runs, shown, index), output / f"video_{name}.gif")
    plain = {(store.attrs["dataset"], run_of(store)): store for store in stores}
    # Of each guided sampler the study's first run.
    drawn = {}
    for store in (open_store(path, "truth", "observation", "member") for path in guided):
        drawn.setdefault((store.attrs["dataset"], store.attrs["sampler"]), store)
    for (dataset, sampler), store in drawn.items():
        twin = plain.get((dataset, (*run_of(store)[:2], (twins or {}).get(sampler, ""))))
        picture = _guided(store, twin, settings.lead_times)
        name = f"guided_{dataset}_{store['trajectory'].values[0]}_{sampler}"
        figures.save(picture, output / name, settings.dpi)


def _numbers(
    means: pd.DataFrame, metrics: Sequence[Path], table: Path, looks: Looks
) -> Iterator[tuple[str, figures.plt.Figure]]:
    """Yields the figures of numbers by name; a dataset lacks those it has no numbers for.

    Of autoencoders of which several were tried, the best are drawn, their first seeds.
    """
    curves = mean_curves(read_curves(path) for path in metrics)
    means, curves = (_without_the_others(rows, table.parent) for rows in (means, curves))
    horizons = pd.read_csv(table, keep_default_na=False, na_values={"low": "", "high": ""})
    horizons = horizons[horizons["cell"].str.split("/").str[-2] == "vrmse"]
    for dataset, rows in means.groupby("dataset"):
        yield f"metrics_{dataset}", figures.metric_curves(rows, looks)
        inside = horizons[(horizons["dataset"] == dataset) & (horizons["autoencoder"] != "")]
        if inside["compression"].nunique() > 1:
            yield f"compression_{dataset}", figures.compression_curves(inside, looks)
        found = curves[curves["dataset"] == dataset]
        if (found["metric"] == "power_spectrum").any():
            yield f"spectra_{dataset}", figures.spectra(found, looks)
        if ((found["metric"] == "rank_histogram") & (found["members"] > 1)).any():
            yield f"ranks_{dataset}", figures.rank_histograms(found, looks)


def _ablations(histories: Sequence[Path], tables: Path) -> Iterator[tuple[str, figures.plt.Figure]]:
    """Yields the figure of each dataset whose trainings are compared, if any are."""
    losses = read_losses(path for path in histories if path.parents[2] == tables.parent)
    for dataset, own in _compared(tables, NAME).groupby("dataset"):
        yield dataset, ablation_curves(own, losses[losses["dataset"] == dataset])


def _compared(tables: Path, name: str) -> pd.DataFrame:
    """Returns a table of an ablation, a row per autoencoder; without rows where there is none."""
    names = dict.fromkeys(("dataset", "settings", "autoencoder"), str)
    path = tables / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(names))
    table = pd.read_csv(path, keep_default_na=False, dtype=names)
    return table.drop_duplicates(["dataset", "autoencoder"])


def _without_the_others(rows: pd.DataFrame, tables: Path) -> pd.DataFrame:
    """Returns scores without reconstructions that were tried, and stand for no arm or are more."""
    tried, best = (
        set(_compared(tables, name)[["dataset", "autoencoder"]].itertuples(index=False, name=None))
        for name in (TRIED, NAME)
    )
    if not tried:
        return rows
    runs = rows[["dataset", "autoencoder"]].drop_duplicates()
    runs = runs[runs["autoencoder"] != ""].itertuples(index=False, name=None)
    seeds: dict[tuple[str, str], list[int]] = {}
    for dataset, run in runs:
        entry, seed = split_training_name(run)
        seeds.setdefault((dataset, entry), []).append(seed)
    dropped = {
        (dataset, training_name(entry, seed))
        for (dataset, entry), own in seeds.items()
        for seed in own
        if (dataset, entry) in tried and ((dataset, entry) not in best or seed != min(own))
    }
    keys = zip(rows["dataset"], rows["autoencoder"], strict=True)
    left_out = np.array([key in dropped for key in keys], bool)
    return rows[~(left_out & (rows["method"] == "reconstruction"))]


def _training(histories: Sequence[Path], root: Path) -> figures.plt.Figure:
    """Draws the losses of trainings, named as their folders in the study's."""
    names = [str(path.parent.relative_to(root)) for path in histories]
    entries = map(read_history, histories)
    return figures.training_curves(dict(zip(names, entries, strict=True)))


def _panels(
    runs: Runs, looks: Looks, index: int, field: str, wanted: list[int] | None
) -> figures.plt.Figure:
    """Draws the truth, the reconstructions, and each emulator with the first of its samplers."""
    chosen = {run[:2]: run for run in reversed(runs)}.values()
    first, *_ = runs.values()
    leads = _lead_times(runs.values(), wanted)
    rows = panels.rollout_states(runs, chosen, looks, index, field, leads, reconstructed=True)
    return _drawn(rows, leads, field, first, index)


def _guided(
    store: xr.Dataset, twin: xr.Dataset | None, wanted: list[int] | None
) -> figures.plt.Figure:
    """Draws the truth, what is observed of it, and rollouts with and without (paper, Figure 6)."""
    field = str(store["channel"].values[0])
    leads = _lead_times([store] if twin is None else [store, twin], wanted)
    rows = panels.guided_states(store, twin, 0, field, leads)
    return _drawn(rows, leads, field, store, 0)


def _lead_times(stores: Iterable[xr.Dataset], wanted: list[int] | None) -> list[int]:
    """Returns the lead times of panels; of states of one axis all that there are."""
    stores = list(stores)
    after = [lead for lead in panels.common_lead_times(stores) if lead > 0]
    if len(panels.axes(stores[0])) == 1:
        # A state of one axis is a line: time is the other axis of a picture of all of them.
        return [0, *after]
    wanted = wanted or [round(after[-1] * part) for part in (0.02, 0.1, 0.25, 0.5, 1.0)]
    return sorted({min(after, key=lambda lead: abs(lead - to)) for to in wanted})


def _drawn(
    rows: dict[str, Any], leads: list[int], field: str, store: xr.Dataset, index: int
) -> figures.plt.Figure:
    axes, points = panels.axis_names(store), panels.points(store, index)
    field = panels.labelled(store, field)
    if len(axes) == 1:
        return panels.space_time(rows, leads, field, *points, *axes)
    titles = [f"lead time {lead}" for lead in leads]
    return panels.rollout_panels(rows, titles, field, *points, ", ".join(axes))


def _video(runs: Runs, looks: Looks, index: int) -> list[videos.Image.Image]:
    """Draws the truth and, of each method, the study's first run; the first field."""
    first, *_ = runs.values()
    field = first["channel"].values[0]
    leads = panels.common_lead_times(runs.values())
    chosen = {runs[run].attrs["method"]: run for run in reversed(runs)}.values()
    rows = panels.rollout_states(runs, chosen, looks, index, field, leads, reconstructed=False)
    return videos.rollout_video(
        rows, leads, panels.labelled(first, field), *panels.points(first, index)
    )
