"""Figures hold the numbers and the states that they are given, where their axes say."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.colors import LogNorm, to_hex, to_rgb
from matplotlib.markers import MarkerStyle

from lilas.errors import LilasError
from lilas.evaluation import spectra
from lilas.records import stores
from lilas.records.metrics import KEYS, write_metrics
from lilas.records.provenance import as_json
from lilas.report import figures, panels
from lilas.report.curves import mean_curves, mean_metrics
from lilas.report.figure_files import _training, write_figures
from lilas.report.looks import FIXED, PALETTE, Looks, colours, looks
from lilas.stages import figures as stage
from lilas.study.methods import METHODS
from lilas.study.study import Figures

SOLVER = ("c32-s0", "solver-s0", "direct")
ENSEMBLE = ("c32-s0", "diffusion-s0", "ab_c1")
AGAIN = ("c32-s0", "diffusion-s0", "ab_c2")
SMALLER = ("c128-s0", "diffusion-s0", "ab_c1")
BOUND = ("c32-s0", "reconstruction", "")
KEPT = ("", "persistence", "")
RUNS = [SOLVER, ENSEMBLE, AGAIN, SMALLER, BOUND, KEPT]


@pytest.fixture(autouse=True)
def no_figures() -> Iterator[None]:
    """Figures that other tests left open are not this one's."""
    figures.plt.close("all")
    yield
    figures.plt.close("all")


def names(run: tuple[str, str, str], dataset: str = "flow") -> dict[str, object]:
    """The columns that name a run."""
    autoencoder, emulator, sampler = run
    method = emulator.removesuffix("-s0")
    return {
        "dataset": dataset,
        "autoencoder": autoencoder,
        "compression": float(autoencoder[1:-3] or 1),
        "emulator": emulator,
        "method": method,
        "sampler": sampler,
        "context": 1,
        "start": 0,
        "direction": "forward",
        "members": 4 if method == "diffusion" else 1,
    }


def scalars(run: tuple[str, str, str], values: dict[tuple, float]) -> pd.DataFrame:
    """Rows by (metric, trajectory, field, lead time), as files of metrics have them."""
    columns = ["metric", "trajectory", "field", "lead_time"]
    rows = pd.DataFrame(values.keys(), columns=columns).assign(value=list(values.values()))
    rows = rows.assign(relative_to="truth", **names(run))
    texts = [*(key for key in KEYS if rows[key].dtype != float), "metric", "field", "relative_to"]
    return rows.astype(dict.fromkeys(set(texts) - {"context", "members"}, "category"))


def flat(run: tuple[str, str, str], metric: str, value: float) -> pd.DataFrame:
    """One value for two trajectories, a field, and three lead times."""
    places = itertools.product([metric], range(2), ["u"], [1, 2, 3])
    return scalars(run, dict.fromkeys(places, value))


def study(*runs: tuple[str, str, str]) -> Looks:
    return looks(pd.DataFrame([names(run) for run in runs or RUNS]))


def shown(ax: matplotlib.axes.Axes, label: str) -> matplotlib.lines.Line2D:
    return next(line for line in ax.lines if line.get_label() == label)


# --- Looks ------------------------------------------------------------------------------------


def test_a_model_has_one_colour_and_its_samplers_differ_in_their_markers() -> None:
    looks = study()
    assert looks[ENSEMBLE].colour == looks[AGAIN].colour
    assert looks[ENSEMBLE].fill != looks[AGAIN].fill
    models = [ENSEMBLE, SMALLER, SOLVER, BOUND, KEPT]
    assert len({looks[run].colour for run in models}) == len(models)
    # Told apart without colours: a line and a marker for each method.
    methods = [ENSEMBLE, SOLVER, BOUND, KEPT]
    assert len({(str(looks[run].line), looks[run].marker) for run in methods}) == len(methods)
    assert [looks[run].label for run in (ENSEMBLE, BOUND, KEPT)] == [
        "diffusion (c32, ab_c1)",
        "reconstruction (c32)",
        "persistence",
    ]


def test_a_baseline_from_each_step_looks_different() -> None:
    kept = [("", "persistence", sampler) for sampler in ("from_0", "from_4", "backward_from_8")]
    found = study(*kept, ("", "climatology", "from_0"))
    assert len({found[run].fill for run in kept}) == len(kept)
    # Other markers have no inside to fill.
    assert all(MarkerStyle(look.marker).is_filled() for look in found.values())


def test_looks_do_not_depend_on_the_order_of_rows_and_go_by_compression() -> None:
    looks = study()
    assert study(*reversed(RUNS)) == looks
    assert list(looks) == [ENSEMBLE, AGAIN, SMALLER, SOLVER, BOUND, KEPT]


def test_colours_of_a_study_do_not_depend_on_order_and_never_repeat() -> None:
    labels = [f"diffusion (c{2**i})" for i in range(12)] + [f"solver (c{i})" for i in range(12)]
    palette = colours(labels)
    assert colours(reversed([*labels, "persistence"])) == palette
    assert len(set(palette.values())) == len(labels) + len(FIXED)
    assert [palette[label] for label in labels[:8]] == PALETTE
    # The ninth colour is the first, 45 % towards black.
    expected = [0.55 * part for part in to_rgb(PALETTE[0])]
    assert to_rgb(palette[labels[8]]) == pytest.approx(expected, abs=1 / 255)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(LilasError, match="'guess'; allowed: truth, diffusion"):
        study(("c32-s0", "guess-s0", ""))


# --- Metrics ----------------------------------------------------------------------------------


def known() -> pd.DataFrame:
    """VRMSE 1, 3 and 4, 4 of two fields of two trajectories at lead time 1; 2 at lead time 5."""
    first = {("vrmse", 0, "u", 1): 1.0, ("vrmse", 0, "v", 1): 3.0}
    second = {("vrmse", 1, "u", 1): 4.0, ("vrmse", 1, "v", 1): 4.0}
    later = dict.fromkeys(itertools.product(["vrmse"], [0, 1], ["u", "v"], [5]), 2.0)
    return scalars(ENSEMBLE, first | second | later)


def test_means_over_trajectories_and_fields_with_their_interval() -> None:
    misleading = known().assign(relative_to="autoencoder", value=99.0)
    frame = pd.concat([known(), misleading]).astype({"relative_to": "category"})
    means = mean_metrics([frame]).set_index("lead_time")
    # Trajectories are 2 and 4: a quarter of the resamples holds only the one, or the other.
    assert (means.loc[1, ["value", "low", "high", "trajectories"]] == [3, 2, 4, 2]).all()
    assert (means.loc[5, ["value", "low", "high", "trajectories"]] == [2, 2, 2, 2]).all()
    assert means.loc[1, KEYS].to_dict() == names(ENSEMBLE)


def test_a_single_trajectory_has_no_interval() -> None:
    rows = known()
    means = mean_metrics([rows[rows["trajectory"] == 0]])
    assert (means["low"] == means["value"]).all()
    assert (means["high"] == means["value"]).all()
    assert (means["trajectories"] == 1).all()


def test_crps_is_drawn_in_standard_deviations_of_the_truth() -> None:
    values = {
        ("vcrps", 0, "u", 1): 0.2,
        ("crps", 0, "u", 1): 0.4,
        ("vcrps", 0, "v", 1): 0.4,
        ("crps", 0, "v", 1): 8.0,
    }
    means = mean_metrics([scalars(ENSEMBLE, values)]).set_index("metric")["value"]
    assert means.to_dict() == {"vcrps": pytest.approx(0.3)}


def test_metric_curves_draw_means_and_bands_of_every_file() -> None:
    frames = [known(), flat(KEPT, "vrmse", 1.5), flat(ENSEMBLE, "spread_skill", 0.5)]
    means = mean_metrics(frames)
    looks = study(ENSEMBLE, KEPT)
    figure = figures.metric_curves(means, looks)
    ax, spread = figure.axes[0], figure.axes[2]
    line = shown(ax, "diffusion (c32)")
    np.testing.assert_allclose(line.get_xydata(), [[1, 3], [5, 2]])
    assert line.get_color() == looks[ENSEMBLE].colour
    band = ax.collections[0].get_paths()[0].vertices
    assert band[band[:, 0] == 1, 1].min() == 2
    assert band[band[:, 0] == 1, 1].max() == 4
    assert to_hex(ax.collections[0].get_facecolor()[0]).upper() == looks[ENSEMBLE].colour
    np.testing.assert_array_equal(shown(ax, "persistence").get_ydata(), 1.5)
    assert shown(ax, "persistence").is_dashed()
    # Errors of 3 leave the panel, which says so.
    assert ax.get_ylim()[1] == 2
    assert ax.get_title().endswith("(up to 3, drawn to 2)")
    assert spread.get_title() == "spread / skill"
    np.testing.assert_array_equal(shown(spread, "diffusion (c32)").get_ydata(), 0.5)
    # One to be well spread is in sight, and marked.
    assert spread.get_ylim()[1] > 1
    assert list(spread.lines[-1].get_ydata()) == [1, 1]
    legend = [text.get_text() for text in figure.legends[0].texts]
    assert legend == ["diffusion (c32)", "persistence"]
    figures.plt.close(figure)


# --- Compression ------------------------------------------------------------------------------


def horizons(low: float = 0.1) -> pd.DataFrame:
    rows = [
        names(run) | {"horizon": horizon, "value": value, "low": value - low, "high": value + 0.2}
        for run, values in {ENSEMBLE: (0.5, 0.7), SMALLER: (0.6, 0.9), SOLVER: (0.4, 0.8)}.items()
        for horizon, value in zip(("1-9", "10-19"), values, strict=True)
    ]
    return pd.DataFrame(rows[::-1])


def test_compression_curves_hold_the_tables_cells() -> None:
    looks = study()
    figure = figures.compression_curves(horizons(), looks)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["lead time 1 to 9", "lead time 10 to 19"]
    found = {}
    for bars in second.containers:
        point, _, (line,) = bars
        found[to_hex(point.get_color()).upper()] = (
            float(point.get_xdata()[0]),
            float(point.get_ydata()[0]),
            *line.get_segments()[0][:, 1],
        )
    expected = {ENSEMBLE: (32, 0.7), SMALLER: (128, 0.9), SOLVER: (32, 0.8)}
    assert set(found) == {looks[run].colour for run in expected}
    for run, (compression, value) in expected.items():
        x, *y = found[looks[run].colour]
        assert x == pytest.approx(compression, rel=0.05)
        assert y == pytest.approx([value, value - 0.1, value + 0.2])
    # Only the emulator with two compressions has a line from one to the other.
    joined = [line.get_ydata() for line in second.lines if len(line.get_xdata()) == 2]
    assert [list(y) for y in joined] == [[0.7, 0.9]]
    assert first.get_ylim()[0] == 0
    assert first.get_ylim()[1] >= 1.1
    figures.plt.close(figure)


def test_a_single_trajectory_has_no_intervals() -> None:
    figure = figures.compression_curves(horizons(low=np.nan).assign(high=np.nan), study())
    figure.canvas.draw()
    for bars in figure.axes[0].containers:
        assert not np.isfinite(bars[2][0].get_segments()[0]).any()
    figures.plt.close(figure)


# --- Curves -----------------------------------------------------------------------------------


def curves(run: tuple[str, str, str], metric: str, values: np.ndarray) -> pd.DataFrame:
    """Rows of one curve, twice as high in the second of two trajectories, at four lead times.

    Spectra begin at 0.05 cycles per pixel, histograms at rank 0.
    """
    places = itertools.product(range(2), [1, 2, 4, 8], range(len(values)))
    rows = pd.DataFrame(places, columns=["trajectory", "lead_time", "at"])
    rows["value"] = (1 + rows["trajectory"]) * values[rows["at"]]
    rows = rows.assign(metric=metric, field="u", relative_to="truth", **names(run))
    return rows.assign(at=(rows["at"] + 1) / 20 if "power" in metric else rows["at"])


def test_spectra_are_means_over_trajectories_beside_the_truth() -> None:
    power = 10.0 ** -np.arange(11)
    frames = [
        pd.concat(
            [
                curves(ENSEMBLE, "power_spectrum", power / 2),
                curves(ENSEMBLE, "power_spectrum_truth", power),
            ]
        )
    ]
    figure = figures.spectra(mean_curves(frames), study(ENSEMBLE, KEPT))
    assert [ax.get_title() for ax in figure.axes] == [f"lead time {t}" for t in (1, 2, 4, 8)]
    ax = figure.axes[1]
    k = np.arange(1, 12) / 20
    line = shown(ax, "diffusion (c32)")
    np.testing.assert_allclose(line.get_xydata(), np.stack([k, 0.75 * power], 1))
    true = next(line for line in ax.lines if line.get_color() == FIXED["truth"])
    np.testing.assert_allclose(true.get_xydata(), np.stack([k, 1.5 * power], 1))
    # The dotted lines part the bands of the metrics.
    inside = spectra.bands(torch.from_numpy(k))
    edges = sorted(line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":")
    assert len(edges) == 3
    for edge, (name, after) in zip(edges, itertools.pairwise(inside), strict=True):
        assert k[inside[name]].max() <= edge + 1e-9
        assert k[inside[after]].min() >= edge - 1e-9
    figures.plt.close(figure)


def test_spectra_of_runs_that_begin_elsewhere_are_beside_a_truth_of_their_own() -> None:
    power = 10.0 ** -np.arange(11)
    frames = [
        pd.concat(
            [
                curves(run, "power_spectrum", scale * power / 2).assign(start=start),
                curves(run, "power_spectrum_truth", scale * power).assign(start=start),
            ]
        )
        for run, start, scale in ((ENSEMBLE, 0, 1), (SMALLER, 0, 1), (AGAIN, 8, 3))
    ]
    figure = figures.spectra(mean_curves(frames), study(ENSEMBLE, SMALLER, AGAIN))
    lines = figure.axes[1].lines
    true = [line.get_ydata() for line in lines if line.get_color() == FIXED["truth"]]
    np.testing.assert_allclose(sorted(y[0] for y in true), [1.5, 4.5])
    figures.plt.close(figure)


def test_rank_histograms_are_relative_to_a_flat_one() -> None:
    flat = curves(ENSEMBLE, "rank_histogram", np.full(5, 0.2) / 1.5)
    bowl = curves(SMALLER, "rank_histogram", np.array([0.4, 0.1, 0.0, 0.1, 0.4]) / 1.5)
    single = curves(SOLVER, "rank_histogram", np.array([0.9, 0.1]))
    looks = study()
    figure = figures.rank_histograms(mean_curves([flat, bowl, single]), looks)
    found = {to_hex(patch.get_edgecolor()).upper(): patch for patch in figure.axes[0].patches}
    # A deterministic forecast is no ensemble.
    assert set(found) == {looks[ENSEMBLE].colour, looks[SMALLER].colour}
    values, edges, _ = found[looks[ENSEMBLE].colour].get_data()
    np.testing.assert_allclose(values, 1)
    np.testing.assert_allclose(edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
    values, *_ = found[looks[SMALLER].colour].get_data()
    np.testing.assert_allclose(values, [2, 0.5, 0, 0.5, 2])
    for ax in figure.axes:
        assert ax.get_ylim()[0] == 0
        assert ax.get_ylim()[1] >= 2
    figures.plt.close(figure)


def test_every_probabilistic_method_has_its_ranks_and_its_ratio_of_spread_to_skill() -> None:
    """None is known by its name: a method with members is drawn."""
    named = [name for name, method in METHODS.items() if method.probabilistic]
    runs = [("c32-s0", f"{name}-s0", "ab") for name in named]
    frames = [
        curves(run, "rank_histogram", np.full(5, 0.2) / 1.5).assign(members=4) for run in runs
    ]
    looks = study(*runs)
    figure = figures.rank_histograms(mean_curves(frames), looks)
    drawn = {to_hex(patch.get_edgecolor()).upper() for patch in figure.axes[0].patches}
    assert drawn == {looks[run].colour for run in runs}
    assert len(drawn) == len(named)
    styles = {(str(looks[run].line), looks[run].marker) for run in runs}
    assert len(styles) == len(named)
    ratios = [flat(run, "spread_skill", 1.0 + i) for i, run in enumerate(runs)]
    figure = figures.metric_curves(mean_metrics(ratios), looks)
    labels = {line.get_label() for ax in figure.axes for line in ax.lines}
    assert {looks[run].label for run in runs} <= labels


# --- States -----------------------------------------------------------------------------------


def test_a_signed_field_is_centred_and_one_of_one_sign_is_not() -> None:
    cmap, norm = panels.colour_scale(np.array([-1.0, 4.0]))
    assert norm(0.0) == 0.5
    assert norm(4.0) == 1
    assert norm(-4.0) == 0
    # The middle of a diverging map is nearly white.
    assert min(cmap(norm(0.0))[:3]) > 0.9
    cmap, norm = panels.colour_scale(np.array([-0.01, 1.0]))
    assert (norm.vmin, norm.vmax) == (-0.01, 1)
    # A sequential map gets lighter all the way, so that it reads in grey.
    grey = np.array([cmap(i / 20)[:3] for i in range(21)]) @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) > 0).all()
    _, norm = panels.colour_scale(np.array([1e-2, 1e4]))
    assert isinstance(norm, LogNorm)
    assert norm(10.0) == pytest.approx(0.5)
    assert norm(-1.0) == 0
    _, norm = panels.colour_scale(np.array([1.0, 500.0]))
    assert not isinstance(norm, LogNorm)


@pytest.mark.parametrize(
    ("y", "inside", "height"),
    [([0.0, 0.2, 1.0], [0.0, 0.3, 0.9], 1.5), ([0.0, 0.5, 1.0], [0.1, 0.4, 0.9], 1.5)],
)
def test_panels_show_each_state_where_it_is_with_y_upward(
    y: list[float], inside: list[float], height: float
) -> None:
    x = np.array([0.5, 1.5, 2.5, 3.5])
    states = np.random.default_rng(0).uniform(1, 2, (2, 2, 4, 3))
    rows = {"truth": states[0], "run": states[1]}
    figure = panels.rollout_panels(
        rows, ["lead time 1", "lead time 2"], "u", x, np.array(y), "x, y (m)"
    )
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255
    cmap, norm = panels.colour_scale(states[0])
    shape = (len(rows), 2)
    for (row, time), ax in zip(np.ndindex(shape), figure.axes, strict=False):
        for i, j in np.ndindex(4, 3):
            left, bottom = ax.transData.transform((x[i], inside[j]))
            expected = cmap(norm(states[row, time, i, j]))[:3]
            np.testing.assert_allclose(drawn[int(bottom), int(left)], expected, atol=0.01)
    # One scale for both axes: 4 wide and 1.5 high, cells lying around the points.
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(4 / height, rel=0.02)
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "u"
    assert bar.get_ylim() == pytest.approx((states[0].min(), states[0].max()))
    figures.plt.close(figure)


def frames(run: tuple[str, str, str], leads: list[int], value: float = 0.0) -> xr.Dataset:
    """Frames whose states are all `value`, the truth's all their lead time; pressure is 100."""
    members = 2 if run[1].startswith("diffusion") else 1
    dims = ("trajectory", "time", "channel", "x", "y")
    shape = (2, len(leads), 2, 8, 4)
    truth = np.broadcast_to(np.array(leads, float)[:, None, None, None], shape).copy()
    truth[:, :, 1] = 100
    truth[..., 0, 0] *= -1
    member = np.full((2, members, *shape[1:]), float(value)) + np.arange(members).reshape(
        -1, 1, 1, 1, 1
    )
    names_ = names(run)
    return xr.Dataset(
        {
            "truth": (dims, truth),
            "autoencoder": (dims, truth + 0.5),
            "member": (("trajectory", "member", *dims[1:]), member),
        },
        {
            "trajectory": [3, 8],
            "lead_time": ("time", leads),
            "channel": np.array(["u", "pressure"], dtype=object),
            "x": ("x", np.arange(8.0), {"units": "m"}),
            "y": ("y", np.arange(4.0), {"units": "m"}),
            "trajectory_x": (("trajectory", "x"), np.tile(np.arange(8.0), (2, 1))),
            "trajectory_y": (("trajectory", "y"), np.tile(np.arange(4.0), (2, 1))),
        },
        {key: names_[key] for key in KEYS[: KEYS.index("context")]},
    )


def test_what_is_drawn_of_frames() -> None:
    pixel = ("c1-s0", "solver-s0", "direct")
    stores = {
        pixel: frames(pixel, [0, 4, 8], 5),
        SOLVER: frames(SOLVER, [0, 2, 4, 6, 8], 7),
        ENSEMBLE: frames(ENSEMBLE, list(range(9)), 2),
    }
    assert panels.common_lead_times(stores.values()) == [0, 4, 8]
    looks = study(BOUND, ("c1-s0", "reconstruction", ""), *stores)
    rows = panels.rollout_states(stores, stores, looks, 1, "u", [4, 8], reconstructed=True)
    # In the legend's order, and the identity of pixel space reconstructs nothing.
    assert {name: states[1, 1, 1] for name, states in rows.items()} == {
        "truth": 8,
        "reconstruction (c32)": 8.5,
        "diffusion (c32), member 1": 2,
        "diffusion (c32), member 2": 3,
        "solver (c1)": 5,
        "solver (c32)": 7,
    }
    assert all(states.shape == (2, 8, 4) for states in rows.values())
    np.testing.assert_array_equal(rows["truth"][:, 1, 1], [4, 8])
    rows = panels.rollout_states(stores, [SOLVER], looks, 0, "pressure", [8], reconstructed=False)
    assert list(rows) == ["truth", "solver (c32)"]
    assert rows["truth"][0, 1, 1] == 100
    # A run that began elsewhere in its trajectories is drawn beside the truth from there.
    later = frames(SOLVER, [0, 4, 8], 7)
    later[["truth", "autoencoder"]] += 1
    rows = panels.rollout_states(
        stores | {SOLVER: later}, [ENSEMBLE, SOLVER], looks, 0, "u", [4], reconstructed=True
    )
    assert list(rows)[-2:] == ["truth of solver (c32)", "solver (c32)"]
    # And the reconstruction is of the truth that stands above it.
    assert rows["reconstruction (c32)"][0, 1, 1] == 4.5
    assert (rows["truth"][0, 1, 1], rows["truth of solver (c32)"][0, 1, 1]) == (4, 5)
    with pytest.raises(LilasError, match="no lead time in common"):
        panels.common_lead_times([frames(SOLVER, [0, 2]), frames(ENSEMBLE, [0, 3])])
    stores[SOLVER]["member"][0, 0, 4, 0, 2, 2] = np.nan
    with pytest.raises(LilasError, match=r"solver \(c32\) hold values that are not finite"):
        panels.rollout_states(stores, stores, looks, 0, "u", [4, 8], reconstructed=False)


# --- Training and the stage -------------------------------------------------------------------


def test_training_curves_and_equal_bytes_each_time(tmp_path) -> None:
    history = pd.DataFrame(
        {"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "valid_loss": [np.nan, 2.5, np.nan]}
    )
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        figure = figures.training_curves({"flow/c1.5": history})
        train, valid = figure.axes[0].lines
        np.testing.assert_array_equal(train.get_xydata(), [[1, 3], [2, 2], [3, 1]])
        np.testing.assert_array_equal(valid.get_xydata(), [[2, 2.5]])
        # A dot in a name is not an extension.
        figures.save(figure, tmp_path / folder / "training_c1.5", 40)
    for name in ("training_c1.5.png", "training_c1.5.pdf"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second
        assert len(first) > 1000


def test_the_stage_draws_what_a_study_has(tmp_path, monkeypatch) -> None:
    root = tmp_path / "study"
    history = root / "flow" / "c32-s0" / "history.jsonl"
    history.parent.mkdir(parents=True)
    lines = [{"step": step, "loss": 1.0, "skipped": 0} for step in (1, 2)]
    lines[1]["valid_loss"] = 1.0
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = _training([history], root)
    assert figure.axes[0].get_title() == "flow/c32-s0"
    figures.plt.close(figure)
    cells = horizons().assign(cell=lambda t: "flow/c/e/s/vrmse/" + t["horizon"])
    other = cells.assign(cell=lambda t: "flow/c/e/s/vrmse@autoencoder/" + t["horizon"], value=-9.0)
    pd.concat([cells, other]).to_csv(root / "horizons.csv", index=False)
    runs, manifests, files = [ENSEMBLE, SMALLER, SOLVER], [], []
    for number, run in enumerate([*runs, KEPT]):
        files.append(root / f"{number}.parquet")
        parts = [flat(run, "vrmse", 0.5)]
        if run in runs:
            parts.append(curves(run, "power_spectrum", np.arange(9) + 1.0))
            parts.append(curves(run, "power_spectrum_truth", np.arange(9) + 1.0))
            parts.append(curves(run, "rank_histogram", np.full(5, 0.2)))
            manifests.append(write_frames(root / f"frames{number}", frames(run, [0, 1, 2, 4])))
        write_metrics(files[-1], parts, {}, {})

    def draw(output: str, *arguments: object) -> set[str]:
        settings = json.dumps({"figures": {"dpi": 20, "trajectories": 5, "lead_times": [1, 9]}})
        line = ["figures", "--config", settings, "--table", root / "horizons.csv", *arguments]
        line += ["--output", root / output]
        monkeypatch.setattr(sys, "argv", [str(part) for part in line])
        stage.main()
        assert not figures.plt.get_fignums()
        return {path.name for path in (root / output).iterdir()} - {"record.json"}

    inputs = ["--metrics", *files, "--histories", history, "--frames", *manifests]
    # One trajectory is there, of the five asked for.
    numbers = {f"{kind}_flow" for kind in ("metrics", "compression", "spectra", "ranks")}
    pictures = {"training", "rollout_flow_3_u", "rollout_flow_3_pressure"}
    both = {f"{name}.{kind}" for name in numbers | pictures for kind in ("png", "pdf")}
    assert draw("all", *inputs) == both | {"video_flow_3.gif"}
    # Baselines alone have one compression, no curves, no training and no rollout.
    cells.head(0).to_csv(root / "horizons.csv", index=False)
    assert draw("few", "--metrics", files[-1]) == {"metrics_flow.png", "metrics_flow.pdf"}


def test_each_of_several_datasets_has_a_figure_of_its_own_trainings(tmp_path, monkeypatch) -> None:
    saved, histories, files = {}, [], []
    for dataset in ("flow", "tube"):
        for training in ("c32-s0", "c32-s0/solver-s0"):
            histories.append(tmp_path / dataset / training / "history.jsonl")
            histories[-1].parent.mkdir(parents=True)
            line = {"step": 1, "loss": 1.0, "valid_loss": 1.0, "skipped": 0}
            histories[-1].write_text(json.dumps(line) + "\n")
        files.append(tmp_path / dataset / "baselines.parquet")
        rows = flat(KEPT, "vrmse", 0.5).assign(dataset=pd.Categorical([dataset] * 6))
        write_metrics(files[-1], [rows], {}, {})
    horizons().assign(cell="").head(0).to_csv(tmp_path / "horizons.csv", index=False)

    def save(figure: figures.plt.Figure, path: Path, dpi: int) -> None:
        saved[path.name] = [ax.get_title() for ax in figure.axes if ax.axison]

    monkeypatch.setattr(figures, "save", save)
    settings = Figures()
    write_figures(
        tmp_path / "all",
        files,
        tmp_path / "horizons.csv",
        histories[::2] + histories[1::2],
        [],
        settings,
    )
    for dataset in ("flow", "tube"):
        titles = [f"{dataset}/c32-s0", f"{dataset}/c32-s0/solver-s0"]
        assert saved.pop(f"training_{dataset}") == titles
    assert saved.keys() == {"metrics_flow", "metrics_tube"}


def write_frames(path: Path, store: xr.Dataset) -> Path:
    """Writes the first trajectory of frames as a store of its own, and returns its manifest."""
    record = {"stage": "frames", "version": 1, "config": {}, "inputs": {}}
    store = store.isel(trajectory=[0]).assign_attrs(provenance=as_json(record))
    folder = path.with_suffix(".zarr")
    stores.write(stores.partial(folder), store)
    stores.finish(folder, path.with_suffix(".json"), record)
    return path.with_suffix(".json")
