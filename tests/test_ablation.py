"""An ablation from its sweep to table, figure, claim and report, and what another value plans."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from conftest import Pipeline
from lilas.data.well_writer import write_well
from lilas.files import read_json
from lilas.inspect.others import inspect_text
from lilas.report import figures
from lilas.report.ablation import arms, reached, reference
from lilas.report.ablation_figure import ablation_curves
from lilas.report.ablation_tables import NAME, TRIED, ablation_tables
from lilas.report.costs import LOSSES
from lilas.report.figure_files import _without_the_others
from lilas.report.looks import Look
from lilas.report.typeset import csv
from lilas.study.ablation import Variant, variants
from lilas.study.read import make_study, read_study, read_swept
from paper_page import files, rows

SHAPE, STEPS = (16, 8), 5
STUDY: dict[str, Any] = {
    "datasets": {
        "flow": {
            "source": {"kind": "path", "path": "flow"},
            "states": {"fields": ["buoyancy", "velocity"]},
            "evaluation": {"start": 0, "horizons": [[1, 4]]},
        }
    },
    "autoencoders": {
        "c4": {
            "architecture": "dcae",
            "latent_channels": 3,
            "channels": [4, 8],
            "blocks": [1, 1],
            "seeds": [0, 1],
            "train": {
                "steps": 4,
                "batch_size": 2,
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "validate_every": 1,
                "threads": 1,
            },
        }
    },
    "sweep": {
        "autoencoders.c4": {
            "train.optimizer": ["adam", "soap"],
            "identity_init": [True, False],
        }
    },
}


def write_flow(folder: Path) -> None:
    """Random states of three splits, in The Well's layout."""
    x, y = (np.arange(n) / n for n in SHAPE)
    for i, split in enumerate(("train", "valid", "test")):
        random = np.random.default_rng(i)
        file = folder / "data" / split / "flow.hdf5"
        file.parent.mkdir(parents=True)
        states = (2, STEPS, *SHAPE)
        write_well(
            file,
            dataset="flow",
            fields={
                "buoyancy": random.normal(size=states),
                "velocity": random.normal(size=(*states, 2)),
            },
            time=np.arange(STEPS, dtype=float),
            coordinates={"x": x, "y": y},
            parameters={"Rayleigh": 1e5},
            boundaries={"x": "periodic", "y": "wall"},
        )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("ablation") / "pipeline").lay_out()
    pipeline.study.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    write_flow(pipeline.folder / "flow")
    assert len(pipeline.commands()) == 1 + 8 + 1 + 8 + 4
    pipeline.run_here()
    return pipeline


def test_it_ends_in_table_figure_claim_and_report(finished):
    """The table's numbers are those of histories and of the reconstructions' scores."""
    folder = finished.results
    table = pd.read_csv(folder / "tables" / "ablation.csv", keep_default_na=False)
    assert table["autoencoder"].nunique() == 4
    cells = table.set_index(["autoencoder", "quantity"])["value"]
    for entry in set(table["autoencoder"]):
        runs = [folder / "flow" / f"{entry}-s{seed}" for seed in (0, 1)]
        lines = [(run / "history.jsonl").read_text().splitlines() for run in runs]
        losses = np.array([[json.loads(line)["valid_loss"] for line in one] for one in lines])
        for share, at in (("25%", 0), ("50%", 1), ("100%", 3)):
            value = cells[entry, f"validation loss, {share} of steps"]
            assert value == pytest.approx(losses[:, at].mean(), rel=1e-5)
        scores = pd.concat([pd.read_parquet(run / "reconstruction.parquet") for run in runs])
        errors = scores[(scores["metric"] == "vrmse") & (scores["lead_time"].between(1, 4))]
        assert cells[entry, "VRMSE, test"] == pytest.approx(errors["value"].mean(), rel=1e-5)
    claim = read_json(folder / "claims.json", ("claims",))["claims"][3]
    assert claim["verdict"] in ("supported", "not supported")
    assert len(claim["evidence"]) == 4
    # One rate alone was tried.
    named = [pattern for pattern in files(rows()["Table 4"]) if "_tried" not in pattern]
    assert {Path(pattern).suffix for pattern in named} == {".csv", ".md", ".tex", ".png", ".pdf"}
    for pattern in named:
        assert next(folder.glob(pattern)).stat().st_size > 1000
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "as in the paper&#39;s Table 4" in report or "as in the paper's Table 4" in report
    assert "Validation loss of autoencoders by optimiser" in report
    assert "Nothing was rolled out" in report
    # Of eight reconstructions that no emulator needs, the first table has the best.
    assert report.count('<tr class="bound">') == 1
    assert "7 other reconstructions are worse" in report
    errors = pd.read_csv(folder / "tables" / "horizons.csv", keep_default_na=False)
    errors = errors[(errors["metric"] == "vrmse") & (errors["relative_to"] == "truth")]
    errors = errors[(errors["method"] == "reconstruction") & (errors["field"] == "")]
    best = errors.loc[errors["value"].astype(float).idxmin(), "autoencoder"]
    assert f"<td>reconstruction ({best})" in report


def test_a_value_that_is_added_plans_its_own_jobs_alone(finished):
    """And so does the same study with keys and values in another order: nothing."""
    before = finished.study.read_text()
    study = yaml.safe_load(before)
    crossed = study["sweep"]["autoencoders.c4"]
    turned = {key: crossed[key][::-1] for key in reversed(crossed)}
    trainings = {"autoencoder": 2 * 2, "reconstruction": 2 * 2}
    try:
        for change, jobs in ({}, {}), ({"train.optimizer": ["adamw", "soap", "adam"]}, trainings):
            study["sweep"]["autoencoders.c4"] = turned | change
            finished.study.write_text(yaml.safe_dump(study, sort_keys=False))
            planned = finished.planned("all_evaluate")
            planned.pop("all_evaluate", None)
            assert planned == jobs
    finally:
        finished.study.write_text(before)


# --- Numbers that are known -------------------------------------------------------------------


def variant(entry: str, optimizer: str, identity: bool, rate: float = 1e-3, **more: Any) -> Variant:
    own = {"optimizer": optimizer, "learning_rate": rate}
    values = {"seeds": [0, 1], "group": ""} | more
    return Variant(entry=entry, identity_init=identity, optimizer=own, **values)


def trained(**curves: list[list[float]]) -> pd.DataFrame:
    """Losses of entries, a list per seed, at steps 10, 20, ...; a step takes a second."""
    rows = [
        ("flow", f"{entry}-s{seed}", 10 * (i + 1), 10.0 * (i + 1), value)
        for entry, seeds in curves.items()
        for seed, losses in enumerate(seeds)
        for i, value in enumerate(losses)
    ]
    return pd.DataFrame(rows, columns=LOSSES)


ITS = [
    variant("slow", "adam", False),
    variant("worse", "adam", False, 1e-2),
    variant("near", "adam", True),
    variant("soap", "soap", True, 3e-3),
    variant("lost", "soap", False),
]
CURVES = trained(
    slow=[[9.0, 8.0, 7.0, 6.0], [9.0, 8.0, 7.5, 7.0]],
    # Ahead by one seed and for most of the steps, behind by the mean of the last.
    worse=[[5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 9.0]],
    near=[[8.0, 7.0, 6.0, 5.0], [8.0, 7.5, 7.25, 7.5]],
    soap=[[5.0, 4.0, 3.0, 2.0], [8.0, 6.0, 4.0, 3.0]],
)
SUMMARY = pd.DataFrame(
    [
        ("flow", f"{entry}-s{seed}", "reconstruction", "vrmse", "truth", 0.1 * seed + value)
        for entry, value in (("slow", 0.5), ("near", 0.4), ("soap", 0.1))
        for seed in (0, 1)
    ]
    + [("flow", "soap-s0", "diffusion", "vrmse", "truth", 7.0)],
    columns=["dataset", "autoencoder", "method", "metric", "relative_to", "value"],
)


def test_the_best_of_what_was_tried_stands_for_an_arm():
    found = arms(ITS, CURVES)
    assert [arm.best.variant.entry for arm in found] == ["slow", "near", "soap"]
    assert [len(arm.tried) for arm in found] == [2, 1, 1]
    other = reference(found, "")
    assert other is found[0]
    assert reference(found[1:], "") is None
    assert reached(found[2].best, other.best.losses.iloc[-1]).tolist() == [10.0, 20.0]
    steps = reached(found[1].best, other.best.losses.iloc[-1])
    assert steps.tolist()[0] == 30.0
    assert steps.isna().tolist() == [False, True]


def test_the_table_tells_means_and_ranges_over_seeds():
    tables = ablation_tables({"flow": ITS}, CURVES, SUMMARY)
    assert set(tables) == {NAME, TRIED}
    _, (table,) = tables[NAME]
    lines = {row.heads[-1]: row for row in table.rows}
    assert {name: row.heads[:3] for name, row in lines.items()} == {
        "slow": ["adam", "plain", "0.001"],
        "near": ["adam", "near identity", "0.001"],
        "soap": ["soap", "near identity", "0.003"],
    }
    soap = [(cell.value, cell.low, cell.high, cell.best) for cell in lines["soap"].cells]
    assert soap[:3] == [(6.5, 5, 8, True), (5, 4, 6, True), (2.5, 2, 3, True)]
    assert soap[3:6] == [(15, 10, 20, True)] * 2 + [(40, 40, 40, False)]
    assert soap[6] == pytest.approx((0.15, 0.1, 0.2, True))
    # The second seed of `near` does not get there.
    assert lines["near"].cells[3:5] == [None, None]
    assert lines["slow"].cells[3].value == 40
    assert "least tried of adam plain: beyond" in table.note
    assert "adam, plain 0.065, 0.029, 0.017 (19 h)" in table.note
    assert "psgd, near identity 0.023, 0.015, 0.011 (25 h)" in table.note
    _, (tried,) = tables[TRIED]
    marked = {row.heads[0]: (row.cells[0].value, row.cells[0].best) for row in tried.rows}
    assert marked == {
        "slow": (6.5, True),
        "worse": (7, False),
        "near": (6.25, True),
        "soap": (2.5, True),
    }


def test_digits_are_of_each_column():
    tables = ablation_tables({"flow": ITS}, CURVES, SUMMARY)
    first = tables[NAME][1][0].grid("{}")[1]
    # Losses, steps, seconds, and an error a hundred times smaller.
    assert first[4] == "9.00 [9.00, 9.00]"
    assert first[7] == "40 [40, 40]"
    assert first[10] == "0.550 [0.500, 0.600]"


def test_without_seconds_and_with_one_seed_there_is_a_table_still():
    one = [variant("slow", "adam", False, seeds=[0]), variant("near", "adam", True, seeds=[0])]
    losses = trained(slow=[[2.0, 1.0]], near=[[1.0, 0.5]]).assign(seconds=np.nan)
    tables = ablation_tables({"flow": one}, losses, SUMMARY)
    assert set(tables) == {NAME}
    cells = tables[NAME][1][0].rows[1].cells
    assert [cell and (cell.value, cell.low) for cell in cells] == [
        None,
        (1.0, None),
        (0.5, None),
        (10.0, None),
        None,
        None,
        (0.4, None),
    ]


def test_the_figure_draws_means_and_ranges_against_steps_and_seconds():
    rows = csv(ablation_tables({"flow": ITS}, CURVES, SUMMARY)[NAME][1], "quantity")
    slow = CURVES["autoencoder"].str.startswith("slow")
    losses = CURVES.assign(seconds=CURVES["seconds"] + 4 * slow)
    figure = ablation_curves(rows.drop_duplicates("autoencoder"), losses)
    left, right = figure.axes
    (line,) = [line for line in left.lines if line.get_label().startswith("adam, plain")]
    assert line.get_label() == "adam, plain, rate 0.001"
    assert line.get_xydata().tolist() == [[10, 9], [20, 8], [30, 7.25], [40, 6.5]]
    (line,) = [line for line in right.lines if line.get_label().startswith("adam, plain")]
    assert line.get_xdata().tolist() == [14, 24, 34, 44]
    band = left.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(40, 6), (40, 7), (10, 9)}
    assert len(left.lines) == len(right.lines) == 3
    assert len({line.get_color() for line in left.lines}) == 2
    figures.plt.close(figure)


def test_other_figures_show_the_best_by_their_first_seeds(tmp_path):
    for name, (_, tables) in ablation_tables({"flow": ITS}, CURVES, SUMMARY).items():
        csv(tables, "quantity").to_csv(tmp_path / f"{name}.csv", index=False)
    runs = [f"{one.entry}-s{seed}" for one in ITS for seed in (0, 1)] + ["more-s0", "more-s1", ""]
    rows = pd.DataFrame({"dataset": "flow", "autoencoder": runs, "method": "reconstruction"})
    rows = pd.concat([rows, rows[:4].assign(method="diffusion"), rows.assign(dataset="other")])
    found = _without_the_others(rows, tmp_path)
    kept = found[(found["dataset"] == "flow") & (found["method"] == "reconstruction")]
    assert [*kept["autoencoder"]] == ["slow-s0", "near-s0", "soap-s0", *runs[8:]]
    assert len(found) == len(kept) + 4 + len(runs)
    (tmp_path / "ablation_tried.csv").unlink()
    assert len(_without_the_others(rows, tmp_path)) == len(rows)


def test_long_names_leave_a_legend_within_its_figure():
    names = [f"reconstruction ({'long_' * 9}{i})" for i in range(6)]
    figure, _ = figures.plt.subplots(figsize=(9.6, 6), layout="constrained")
    figures._legend(figure, [Look(name, "#000000", "-", "o", "full") for name in names])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    inside, whole = legend.get_window_extent(), figure.bbox
    assert inside.x0 >= whole.x0
    assert inside.x1 <= whole.x1
    figures.plt.close(figure)


def test_long_names_of_trainings_stay_above_their_panels():
    history = pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5], "valid_loss": [1.0, 0.5]})
    names = [f"rayleigh_benard/c32_{'long_' * 8}{i}-s0" for i in range(3)]
    figure = figures.training_curves(dict.fromkeys(names, history))
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert figure.axes[0].get_title().replace("\n", "") == names[0]
    figures.plt.close(figure)


# --- What is compared -------------------------------------------------------------------------


def test_what_differs_in_more_is_another_group(tmp_path):
    """By hand as by a sweep; entries of a sweep have a row even where none is like them."""
    study = json.loads(json.dumps(STUDY))
    study["sweep"] = {"autoencoders.c4": {"latent_channels": [3, 2], "loss": ["mse"]}}
    assert variants(make_study("study.yaml", study)) == {}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    (names,) = [variants(read_study(path), read_swept(path)["autoencoders"])["flow"]]
    assert {one.entry: one.group for one in names} == {
        "c4_latent_channels_3_loss_mse": "latent_channels 3",
        "c4_latent_channels_2_loss_mse": "latent_channels 2",
    }
    lines = "\n".join(inspect_text(path).lines)
    assert all(name in lines for name in ("c4_latent_channels_3_loss_mse", "swept autoencoders"))
    study["sweep"]["autoencoders.c4"] = {
        "latent_channels": [3, 2],
        "train.optimizer": ["adam", "psgd"],
        "identity_init": [True, False],
    }
    study["autoencoders"]["alone"] = {**study["autoencoders"]["c4"], "patch_size": 2}
    study["autoencoders"]["pixel"] = {"architecture": "identity"}
    found = variants(make_study("study.yaml", study))["flow"]
    assert len(found) == 8
    assert {one.group for one in found} == {"latent_channels 3", "latent_channels 2"}
    assert {(one.optimizer["optimizer"], one.identity_init) for one in found} == {
        (name, near) for name in ("adam", "psgd") for near in (True, False)
    }
