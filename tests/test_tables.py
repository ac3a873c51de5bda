"""From scores to tables: averages by hand, what is refused, the paper's numbers and layout."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lilas.errors import LilasError
from lilas.evaluation.uncertainty import bootstrap_interval
from lilas.records.metrics import SCHEMA, read_metrics, write_metrics
from lilas.report.answer import answer
from lilas.report.published import LAYOUTS, paper_tables, published_horizon, read_published
from lilas.report.summary import by_horizon, differences, label_runs
from lilas.report.tables import difference_tables, metric_tables, valid_time_tables
from lilas.report.trajectories import by_trajectory, valid_times
from lilas.report.typeset import Cell, Row, Table, csv, latex, markdown, terminal
from lilas.study.paths import origins
from lilas.study.read import read_study

STUDIES = Path(__file__).parents[1] / "workflow" / "studies"

RUN = {
    "dataset": "flow",
    "autoencoder": "c-s0",
    "compression": 4.0,
    "emulator": "diffusion-s0",
    "method": "diffusion",
    "sampler": "ab16",
    "context": 1,
    "start": 0,
    "direction": "forward",
    "members": 8,
    "relative_to": "truth",
    "metric": "vrmse",
}
SOLVER = {"emulator": "solver-s0", "method": "solver", "sampler": "direct", "members": 1}
PERSISTENCE = {
    "autoencoder": "",
    "compression": 1.0,
    "emulator": "persistence",
    "method": "persistence",
    "sampler": "",
    "members": 1,
}
REBUILT = {"emulator": "reconstruction", "method": "reconstruction", "sampler": "", "members": 1}


def scores(value, trajectories=3, fields=("u", "v"), leads=range(1, 7), **run):
    """Scores of a run, value(trajectory, field's number, lead time)."""
    rows = [
        (trajectory, field, lead, float(value(trajectory, i, lead)))
        for trajectory in range(trajectories)
        for lead in leads
        for i, field in enumerate(fields)
    ]
    frame = pd.DataFrame(rows, columns=["trajectory", "field", "lead_time", "value"])
    return frame.assign(**RUN | run)


def constant(value, **run):
    """Scores that are value + trajectory / 100 everywhere."""
    return scores(lambda trajectory, field, lead: value + trajectory / 100, **run)


def summed(*frames, horizons=((1, 2), (3, 6))):
    return by_trajectory(frames, {"flow": list(horizons)})


# --- Averages -----------------------------------------------------------------------------------


def test_trajectories_fields_and_lead_times_weigh_equally():
    frame = scores(lambda trajectory, field, lead: 100 * trajectory + 10 * lead + field)
    summary = summed(frame)
    one = summary[(summary["trajectory"] == 2) & (summary["field"] == "v")]
    assert dict(zip(one["horizon"], one["value"], strict=True)) == {"1-2": 216.0, "3-6": 246.0}
    means = by_horizon(summary)
    assert means["value"].tolist() == pytest.approx([115.5, 145.5])
    assert means["trajectories"].tolist() == [3, 3]
    low, high = bootstrap_interval(np.array([[15.5], [115.5], [215.5]]))
    assert means.loc[0, ["low", "high"]].tolist() == pytest.approx([low[0], high[0]])
    assert means["cell"].tolist() == [
        "flow/c-s0/diffusion-s0/ab16/vrmse/1-2",
        "flow/c-s0/diffusion-s0/ab16/vrmse/3-6",
    ]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), first=st.integers(1, 4), length=st.integers(0, 2))
def test_averages_are_those_of_a_plain_loop(seed, first, length):
    rng = np.random.default_rng(seed)
    frames = [
        scores(lambda *_: rng.normal(), metric=metric, sampler=sampler)
        for sampler in ("ab16", "ddim")
        for metric in ("vrmse", "crps")
    ]
    shuffled = pd.concat(frames).sample(frac=1, random_state=seed)
    summary = summed(shuffled, horizons=[(first, first + length)])
    assert len(summary) == 2 * 2 * 3 * 2
    for row in summary.itertuples():
        values = [
            other.value
            for other in shuffled.itertuples()
            if first <= other.lead_time <= first + length
            and all(
                getattr(other, key) == getattr(row, key)
                for key in ("sampler", "metric", "trajectory", "field")
            )
        ]
        assert row.value == pytest.approx(sum(values) / len(values))


def test_metrics_in_the_fields_unit_are_not_averaged_over_fields():
    means = by_horizon(summed(scores(lambda t, field, lead: field, metric="rmse")))
    assert set(zip(means["field"], means["value"], strict=True)) == {("u", 0.0), ("v", 1.0)}
    assert "flow/c-s0/diffusion-s0/ab16/rmse:v/3-6" in set(means["cell"])


def test_cells_are_named_by_what_they_are_of():
    frames = [
        constant(1, **PERSISTENCE),
        constant(1, **REBUILT),
        constant(1, relative_to="autoencoder", metric="rmse", fields=("velocity_y",)),
    ]
    assert by_horizon(summed(*frames, horizons=[(1, 6)]))["cell"].tolist() == [
        "flow/persistence/vrmse/1-6",
        "flow/c-s0/reconstruction/vrmse/1-6",
        "flow/c-s0/diffusion-s0/ab16/rmse@autoencoder:velocity_y/1-6",
    ]


def test_one_trajectory_has_no_interval(tmp_path):
    summary = summed(constant(1, trajectories=1), constant(2, trajectories=1, **SOLVER))
    for table, empty in ((by_horizon(summary), 2), (differences(summary), 3)):
        table.to_csv(tmp_path / "table.csv", index=False)
        lines = (tmp_path / "table.csv").read_text().splitlines()[1:]
        assert len(lines) >= 2
        assert all("," * (empty + 1) in line and "nan" not in line for line in lines)
    text = markdown("VRMSE", metric_tables(by_horizon(summary), "vrmse", "truth"))
    assert "**1.000**" in text
    assert "nan" not in text + markdown(
        "d", difference_tables(differences(summary), "vrmse", "truth")
    )


def test_files_are_summed_up_as_they_were_written(tmp_path):
    frames = [constant(0.5), constant(0.7, **SOLVER), constant(0.9, **PERSISTENCE)]
    for i, frame in enumerate(frames):
        write_metrics(tmp_path / f"{i}.parquet", [frame], {}, {})
    read = summed(*(read_metrics(tmp_path / f"{i}.parquet") for i in range(3)))
    assert isinstance(read["emulator"].dtype, pd.CategoricalDtype)
    pd.testing.assert_frame_equal(by_horizon(read), by_horizon(summed(*frames)), check_dtype=False)
    assert set(SCHEMA.names) - {"at", "lead_time"} <= set(read)


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "horizons", "words"),
    [
        (constant(1), [(3, 7)], "horizon 3-7 reaches beyond .* 1, 2, ..., 6"),
        (constant(1), [(7, 9)], "beyond"),
        (constant(1, leads=range(4, 25, 4)), [(5, 7)], "horizon 5-7 holds no lead time"),
        (constant(1)[:-1], [(1, 6)], "expected 6 lead times of vrmse of v, .* found 5"),
        (pd.concat([constant(1), constant(1)]), [(1, 6)], "expected 6 .* found 12"),
        (constant(1, leads=[1, 2, 4]), [(1, 4)], "expected every lead time"),
        (constant(1, dataset="other"), [(1, 6)], "other has no horizons, only flow"),
    ],
)
def test_scores_that_do_not_fill_their_horizons_are_refused(frame, horizons, words):
    with pytest.raises(LilasError, match=words):
        summed(frame, horizons=horizons)


def test_no_scores_are_refused():
    with pytest.raises(LilasError, match="no score"):
        summed()


def test_horizons_may_end_between_lead_times():
    # Euler's stride of 4: its 1:20 holds 4, 8, 12 and 16.
    frame = scores(lambda trajectory, field, lead: lead, leads=range(4, 25, 4))
    means = by_horizon(summed(frame, horizons=[(1, 19), (20, 27)]))
    assert means["value"].tolist() == [10.0, 22.0]


@pytest.mark.parametrize(
    "other",
    [
        constant(1, trajectories=4, **SOLVER),
        constant(1, trajectories=2, **SOLVER),
        constant(1, **SOLVER).assign(trajectory=lambda frame: frame["trajectory"] + 1),
        constant(1, metric="crps", fields=("u",), trajectories=2),
    ],
    ids=["more", "fewer", "others", "metric"],
)
def test_values_of_different_trajectories_are_refused(other):
    summary = summed(constant(1), other)
    for function in (by_horizon, differences):
        with pytest.raises(LilasError, match=r"the same . trajectories everywhere"):
            function(summary)


def test_fields_of_different_trajectories_are_refused():
    frame = constant(1)
    summary = summed(frame[(frame["field"] == "u") | (frame["trajectory"] > 0)])
    with pytest.raises(LilasError, match="found 0 of trajectory 0 for vrmse of v"):
        by_horizon(summary)


# --- Differences --------------------------------------------------------------------------------


def test_differences_are_paired():
    # Trajectories differ by hundreds, emulators by 1 to 6 hundredths, all of one sign.
    def first(trajectory, field, lead):
        return 100 * trajectory + (trajectory + 1) / 100

    def second(trajectory, field, lead):
        return 100 * trajectory

    frames = [
        scores(first, trajectories=6),
        scores(second, trajectories=6, **SOLVER),
        scores(second, trajectories=6, **PERSISTENCE),
        scores(second, trajectories=6, **SOLVER | {"sampler": "direct_c2", "context": 2}),
        scores(second, trajectories=6, metric="correlation"),
    ]
    found = differences(summed(*frames, horizons=[(1, 6)]))
    diffusion, solver = "c-s0/diffusion-s0/ab16", "c-s0/solver-s0/direct"
    # Emulators of one context with each other, and every one with the baseline.
    assert found[["context", "first", "second"]].to_numpy().tolist() == [
        [1, diffusion, solver],
        [1, diffusion, "persistence"],
        [1, solver, "persistence"],
        [2, "c-s0/solver-s0/direct_c2", "persistence"],
    ]
    assert found["p"].tolist() == [2 / 2**6, 2 / 2**6, 1, 1]
    row = found.iloc[0]
    assert row["difference"] == pytest.approx(0.035)
    assert row["p"] == 2 / 2**6
    low, high = bootstrap_interval(np.arange(1, 7)[:, None] / 100)
    assert [row["low"], row["high"]] == pytest.approx([low[0], high[0]], abs=1e-9)
    text = markdown("vrmse", difference_tables(found, "vrmse", "truth"))
    line = f"| 0.0350 [{low[0]:.4f}, {high[0]:.4f}], p 0.0312 |"
    assert f"c-s0/diffusion-s0/ab16 - c-s0/solver-s0/direct | 1 {line}" in text


def test_every_two_emulators_are_compared_once():
    runs = [
        {"sampler": name, "relative_to": to} for name in "abc" for to in ("truth", "autoencoder")
    ]
    found = differences(summed(*(constant(1, **run) for run in runs)))
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    names = found[["first", "second"]].map(lambda name: name.split("/")[-1])
    assert list(dict.fromkeys(names.itertuples(index=False, name=None))) == pairs
    # By pair: two references, two horizons.
    assert len(found) == 3 * 2 * 2
    assert (found["p"] == 1).all()


def test_emulators_with_truths_of_their_own_are_not_compared():
    runs = [
        {"autoencoder": autoencoder, "sampler": sampler, "relative_to": to}
        for autoencoder in ("c4-s0", "c8-s0")
        for sampler in "ab"
        for to in ("truth", "autoencoder")
    ]
    summary = summed(*(constant(i, **run) for i, run in enumerate(runs)), horizons=[(1, 6)])
    found = differences(summary)
    pairs = {
        to: {(row.first[:4] + row.first[-1], row.second[:4] + row.second[-1]) for row in part}
        for to, part in ((to, list(rows.itertuples())) for to, rows in found.groupby("relative_to"))
    }
    assert pairs["autoencoder"] == {("c4-sa", "c4-sb"), ("c8-sa", "c8-sb")}
    assert len(pairs["truth"]) == 6
    # Nor is one the best of the other's table.
    for to, best in (("truth", 1), ("autoencoder", 2)):
        text = markdown("VRMSE", metric_tables(by_horizon(summary), "vrmse", to))
        assert text.count("**") == 2 * best


def test_a_single_emulator_has_no_differences():
    assert differences(summed(constant(1), constant(1, **REBUILT))).empty


# --- Valid time ---------------------------------------------------------------------------------


def test_valid_times_by_hand():
    # Lost at lead time 4, at once, never (0.5 itself is still valid), and at the last, 12.
    lost = {0: 4, 1: 2, 2: 100, 3: 12}

    def vrmse(trajectory, field, lead):
        return 0.6 if lead >= lost[trajectory] and lead != 10 else 0.5

    def correlation(trajectory, field, lead):
        return 0.79 if lead >= lost[trajectory] + 2 * field else 0.8

    leads = range(2, 13, 2)
    frames = [
        scores(vrmse, 4, leads=leads, fields=("u",)),
        scores(correlation, 4, metric="correlation", leads=leads),
        scores(lambda *_: 9, 4, leads=leads, fields=("u",), relative_to="autoencoder"),
    ]
    times = valid_times([pd.concat(frames)])
    vrmse = times[times["metric"] == "valid_time_vrmse"]
    assert vrmse["value"].tolist() == [2, 0, 12, 10]
    assert vrmse["censored"].tolist() == [False, False, True, False]
    table = csv(valid_time_tables(times), "criterion").set_index("criterion")
    assert table.loc["VRMSE > 0.5", "value"] == pytest.approx((2 + 0 + 12 + 10) / 4)
    assert table.loc["VRMSE > 0.5", "valid_to_end"] == pytest.approx(1 / 4)
    # The other field is lost one lead time later: 4, 2 and twice never.
    assert table.loc["correlation < 0.8", "value"] == pytest.approx((3 + 1 + 12 + 11) / 4)
    low, high = bootstrap_interval(np.array([[3.0], [1.0], [12.0], [11.0]]))
    assert table.loc["correlation < 0.8", ["low", "high"]].tolist() == pytest.approx(
        [low[0], high[0]]
    )
    assert table["cell"].tolist()[0] == "flow/c-s0/diffusion-s0/ab16/valid_time_vrmse"


def test_valid_times_need_every_lead_time():
    with pytest.raises(LilasError, match=r"expected 6 lead times .* found 5"):
        valid_times([constant(0.1)[:-1]])


# --- The general tables -------------------------------------------------------------------------


def test_the_best_is_in_bold_and_bounds_are_not_contenders():
    frames = [
        constant(0.9, **PERSISTENCE),
        constant(0.1, **REBUILT),
        constant(0.4),
        constant(0.6, **SOLVER),
        constant(0.7, metric="spread_skill"),
        constant(1.2, metric="spread_skill", sampler="ddim"),
        constant(0.3, sampler="ddim"),
    ]
    means = by_horizon(summed(*frames, horizons=[(1, 6)]))
    text = markdown("VRMSE", metric_tables(means, "vrmse", "truth"))
    assert "| flow | compression | members | 1-6 |\n|---|---|---|---|\n" in text
    assert "| persistence | - | 1 | 0.910 [0.900, 0.920] |" in text
    assert "| reconstruction (c) | 4 | 1 | 0.110 [0.100, 0.120] |" in text
    assert re.findall(r"\| (\S+ \S+ \S+) \| 4 \| 8 \| \*\*(.*)\*\*", text) == [
        ("diffusion (c, ddim)", "0.310 [0.300, 0.320]")
    ]
    # 1.21 is closer to 1 than 0.71.
    text = markdown("Ratio", metric_tables(means, "spread_skill", "truth"))
    assert "**1.210" in text
    assert text.count("**") == 2


def test_fields_have_rows_and_a_best_each():
    def value(trajectory, field, lead):
        return 1 + field

    def other(trajectory, field, lead):
        return 2 - field

    frames = [scores(value, metric="rmse"), scores(other, metric="rmse", **SOLVER)]
    means = by_horizon(summed(*frames, horizons=[(1, 6)]))
    (table,) = metric_tables(means, "rmse", "truth")
    assert [(row.heads[:2], row.cells[0].best) for row in table.rows] == [
        (("diffusion (c)", "u"), True),
        (("solver (c)", "u"), False),
        (("diffusion (c)", "v"), False),
        (("solver (c)", "v"), True),
    ]


# --- The paper's tables -------------------------------------------------------------------------


def test_the_papers_numbers_are_packaged():
    numbers = {layout.name: read_published(layout) for layout in LAYOUTS}
    assert [len(found) for found in numbers.values()] == [87, 54, 261, 30, 30, 27]
    key = ("rayleigh_benard", "diffusion", 1024)
    assert numbers["table6_vrmse"][(*key, "", "1:20")] == 0.146
    assert (
        numbers["tables8_10_power_spectrum_rmse"][
            ("euler_multi_quadrants", "autoencoder", 80, "high", "61:100")
        ]
        == 0.096
    )
    assert numbers["table12_wasserstein_vertical_velocity"][(*key, "", "61:180")] == 0.0139


def test_the_papers_table_by_context_is_its_latent_rows_averaged():
    by_rate, by_context = (read_published(layout) for layout in LAYOUTS[:2])
    spans = {(key[0], key[1], key[4]) for key in by_context}
    assert len(spans) == 18
    for dataset, method, horizon in spans:
        means = [
            np.mean(
                [
                    value
                    for key, value in numbers.items()
                    if (key[0], key[1], key[4]) == (dataset, method, horizon)
                    and (numbers is by_context or key[2] > 1)
                ]
            )
            for numbers in (by_rate, by_context)
        ]
        assert means[0] == pytest.approx(means[1], abs=1.01e-3)


@pytest.mark.parametrize(
    ("dataset", "ours", "theirs"),
    [
        ("rayleigh_benard", "1-19", "1:20"),
        ("rayleigh_benard", "20-59", "21:60"),
        ("rayleigh_benard", "60-180", "61:180"),
        ("rayleigh_benard", "1-20", None),
        ("rayleigh_benard", "21-60", None),
        ("rayleigh_benard", "60-120", None),
        ("euler_multi_quadrants", "60-88", "61:100"),
        ("turbulence_gravity_cooling", "1-9", "1:10"),
        ("turbulence_gravity_cooling", "30-45", "31:50"),
        ("turbulence_gravity_cooling", "1-19", None),
    ],
)
def test_the_papers_horizons_are_those_of_the_official_code(dataset, ours, theirs):
    assert published_horizon(dataset, ours) == theirs


@pytest.mark.parametrize(
    ("change", "papers"),
    [
        ({}, True),
        ({"evaluation": {"start": 15}}, False),
        ({"stride": 4}, False),
        ({"states": {"fields": ["buoyancy", "velocity"]}}, False),
        ({"states": {"fields": ["velocity", "buoyancy", "pressure"]}}, True),
        ({"source": {"include": ["Rayleigh_1e6"]}}, False),
        ({"source": {"files": {"test": 10}}}, False),
        ({"source": {"name": "rayleigh_benard_uniform"}}, False),
    ],
)
def test_the_papers_data_are_asked_the_papers_questions(tmp_path, change, papers):
    values = yaml.safe_load((STUDIES / "paper.yaml").read_text())
    entry = values["datasets"]["rayleigh_benard"]
    for key, value in change.items():
        entry[key] = entry[key] | value if isinstance(value, dict) else value
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    found = origins(read_study(tmp_path / "study.yaml"))["published"]
    others = ["euler_multi_quadrants", "turbulence_gravity_cooling"]
    assert found == {name: name for name in [*others, *["rayleigh_benard"] * papers]}


def elsewhere():
    """Runs from step 0, from step 8 and backward from step 40, the later the easier."""
    climatology = PERSISTENCE | {"emulator": "climatology", "method": "climatology"}
    runs = []
    for value, name, begin in (
        (0.6, "from_0", {}),
        (0.35, "from_8", {"start": 8}),
        (0.2, "backward_from_40", {"start": 40, "direction": "backward"}),
    ):
        for baseline, more in ((PERSISTENCE, 0), (climatology, 0.4)):
            runs.append(constant(value + more, **baseline | {"sampler": name} | begin))
        sampler = {"sampler": f"ab16_{name}", "context": 3 if begin else 1}
        runs.append(constant(value + 0.05 if begin else value - 0.1, **sampler | begin))
    runs.append(constant(0.45, **SOLVER))
    return summed(*runs, horizons=[(1, 2)])


def test_forecasts_from_other_steps_are_no_pairs_and_have_a_best_of_their_own():
    summary = elsewhere()
    pairs = differences(summary)
    against = pairs[pairs["second"].str.startswith("persistence")]
    assert dict(zip(against["first"], against["second"], strict=True)) == {
        "c-s0/diffusion-s0/ab16_from_0": "persistence/from_0",
        "c-s0/diffusion-s0/ab16_from_8": "persistence/from_8",
        "c-s0/diffusion-s0/ab16_backward_from_40": "persistence/backward_from_40",
        "c-s0/solver-s0/direct": "persistence/from_0",
    }
    among = pairs[~pairs["second"].str.startswith(("persistence", "climatology"))]
    assert among[["first", "second"]].to_numpy().tolist() == [
        ["c-s0/diffusion-s0/ab16_from_0", "c-s0/solver-s0/direct"]
    ]
    (table,) = metric_tables(by_horizon(summary), "vrmse", "truth")
    assert table.heads[-2:] == ["start", "direction"]
    best = {row.heads[-2:]: row.heads[0].split(" ")[0] for row in table.rows if row.cells[0].best}
    assert best == {
        ("0", "forward"): "solver",
        ("8", "forward"): "persistence",
        ("40", "backward"): "persistence",
    }


def test_the_answer_is_of_rollouts_from_one_step():
    """From step 8 diffusion is nearer the truth and behind persistence; from step 0 it is ahead."""
    summary = elsewhere()
    cells = by_horizon(summary)
    cells["run"] = label_runs(cells)
    found = answer(cells, differences(summary))
    (line,) = found.horizons
    for words in ("VRMSE 0.510", "apart from persistence (from_0)", "apart from solver"):
        assert words in line
    assert "from step 0 alone" in found.sentence


def test_papers_tables_have_no_backward_rollouts_and_baselines_by_the_step_of_a_context():
    tables = paper_tables(elsewhere(), {"flow": "made up"}, {})
    # Of all steps that emulators begin at, as their own numbers are.
    (table,) = tables["table6_vrmse"][1]
    found = {row.heads[0]: row.cells[0].value for row in table.rows}
    means = {"persistence": 0.485, "climatology": 0.885, "diffusion": 0.46, "solver": 0.46}
    assert found == pytest.approx(means)
    (table,) = tables["table7_vrmse_by_context"][1]
    found = {row.heads[:2]: row.cells[0].value for row in table.rows}
    assert found == {
        ("persistence", "1"): pytest.approx(0.61),
        ("persistence", "3"): pytest.approx(0.36),
        ("climatology", "1"): pytest.approx(1.01),
        ("climatology", "3"): pytest.approx(0.76),
        ("diffusion", "1"): pytest.approx(0.51),
        ("diffusion", "3"): pytest.approx(0.41),
        ("solver", "1"): pytest.approx(0.46),
    }


def paper_study(rates=(64, 256, 1024), contexts=(1, 2, 3), pixel=True):
    """A study like the paper's: value 10 * context + place of the rate (pixel 0), by method."""
    frames = [
        constant(500, **PERSISTENCE),
        constant(600, **PERSISTENCE | {"emulator": "climatology", "method": "climatology"}),
    ]
    for place, rate in enumerate([1, *rates]):
        name = {"autoencoder": f"f32c{rate}-s0", "compression": float(rate)}
        if rate > 1:
            frames.append(constant(place, **name | REBUILT))
        elif not pixel:
            continue
        for context in contexts:
            for method in ("solver",) if rate == 1 else ("diffusion", "solver"):
                run = {"emulator": f"{method}_{rate}-s0", "method": method, "context": context}
                run |= {"members": 16 if method == "diffusion" else 1, "sampler": f"x_c{context}"}
                frames.append(constant(10 * context + place, **name | run))
    frames = [frame.assign(dataset="mine") for frame in frames]
    return by_trajectory(
        [frame.assign(lead_time=frame["lead_time"] * 30) for frame in frames],
        {"mine": [(60, 180)]},
    )


def rows(table):
    return {tuple(row.heads): row.cells[0] for row in table.rows}


def test_contexts_are_pooled_and_the_papers_numbers_stand_beside():
    found = paper_tables(paper_study(), {"mine": "The Well"}, {"mine": "rayleigh_benard"})
    assert list(found) == ["table6_vrmse", "table7_vrmse_by_context"]
    title, (table,) = found["table6_vrmse"]
    assert title == "VRMSE, as in the paper's Table 6"
    assert (table.heads, table.columns) == (["method", "compression"], ["60-180"])
    assert [row.heads for row in table.rows] == [
        ("persistence", "-"),
        ("climatology", "-"),
        *(("reconstruction", rate) for rate in ("64", "256", "1024")),
        *(("diffusion", rate) for rate in ("64", "256", "1024")),
        *(("solver", rate) for rate in ("1", "64", "256", "1024")),
    ]
    cell = rows(table)["diffusion", "1024"]
    # Contexts 1 to 3 make 20, the third rate 3, trajectories 0.00 to 0.02.
    assert cell.value == pytest.approx(23.01)
    assert (cell.low, cell.high) == pytest.approx((23, 23.02))
    assert cell.beside == {"paper": 0.67}
    assert cell.name == "mine/f32c1024-s0/diffusion_1024-s0/x_c1+x_c2+x_c3/vrmse/60-180"
    assert rows(table)["solver", "1"].beside == {"paper": 0.918}
    assert rows(table)["persistence", "-"].beside == {}
    assert ", paper 0.67 |" in markdown(title, [table])
    for words in (
        "Data: The Well; 3 test trajectories",
        "Members: 16 (diffusion); 1 (solver). Contexts: 1, 2, 3, from step 0.",
        "bootstrap interval",
        "paper: the number that Rozet et al. 2025",
        "64 test trajectories, averaged over contexts 1 to 3.",
    ):
        assert words in table.note


def test_the_table_by_context_pools_latent_emulators():
    _, (table,) = paper_tables(paper_study(), {"mine": ""}, {"mine": "rayleigh_benard"})[
        "table7_vrmse_by_context"
    ]
    assert table.heads == ["method", "context", "compressions"]
    cell = rows(table)["solver", "2", "64, 256, 1024"]
    assert cell.value == pytest.approx(22.01)
    assert cell.beside == {"paper": 0.943}
    assert rows(table)["diffusion", "3", "64, 256, 1024"].beside == {"paper": 0.689}
    assert ("persistence", "-", "-") in rows(table)
    assert not any(heads[0] == "reconstruction" for heads in rows(table))
    # Of other rates than the paper's the numbers cannot be compared, of one context not at all.
    fewer = paper_tables(paper_study(rates=(64, 256)), {"mine": ""}, {"mine": "rayleigh_benard"})
    assert not any(cell.beside for cell in rows(fewer["table7_vrmse_by_context"][1][0]).values())
    one = paper_tables(paper_study(contexts=(1,)), {"mine": ""}, {})
    assert list(one) == ["table6_vrmse"]


def test_a_datasets_own_name_is_no_claim_to_be_the_papers():
    summary = paper_study()
    summary["dataset"] = summary["dataset"].cat.rename_categories({"mine": "rayleigh_benard"})
    _, (table,) = paper_tables(summary, {"rayleigh_benard": "simulated"}, {})["table6_vrmse"]
    assert not any(cell.beside for cell in rows(table).values())
    assert "Rozet" not in table.note
    with pytest.raises(LilasError, match="no dataset 'convection'"):
        paper_tables(paper_study(), {"mine": ""}, {"mine": "convection"})


def test_seeds_are_pooled_and_autoencoders_of_one_rate_are_not():
    frames = [
        constant(value, autoencoder=autoencoder, emulator=emulator)
        for value, autoencoder, emulator in (
            (1, "a-s0", "diffusion-s0"),
            (2, "a-s1", "diffusion-s0"),
            (3, "a-s0", "diffusion-s1"),
            (9, "b-s0", "diffusion-s0"),
        )
    ]
    _, (table,) = paper_tables(summed(*frames), {"flow": ""}, {})["table6_vrmse"]
    assert table.heads == ["method", "compression", "model"]
    values = {heads: cell.value for heads, cell in rows(table).items()}
    assert values == {
        ("diffusion", "4", "a diffusion"): pytest.approx(2.01),
        ("diffusion", "4", "b diffusion"): pytest.approx(9.01),
    }
    name = rows(table)["diffusion", "4", "a diffusion"].name
    assert name == "flow/a-s0+a-s1/diffusion-s0+diffusion-s1/ab16/vrmse/1-2"
    assert "Training seeds: 0, 1." in table.note


def test_the_first_sampler_of_each_context_stands_for_its_emulator():
    frames = [
        constant(value, sampler=sampler, context=context)
        for value, sampler, context in ((1, "zab", 1), (9, "one", 1), (2, "ab16_c2", 2))
    ]
    found = paper_tables(summed(*frames), {"flow": ""}, {})
    (table,) = found["table6_vrmse"][1]
    assert {heads: cell.value for heads, cell in rows(table).items()} == {
        ("diffusion", "4"): pytest.approx(1.51)
    }
    assert "Samplers: ab16_c2, zab, each emulator's first in each context." in table.note
    (table,) = found["table7_vrmse_by_context"][1]
    values = {heads[1]: cell.value for heads, cell in rows(table).items()}
    assert values == {"1": pytest.approx(1.01), "2": pytest.approx(2.01)}


def truth(name, **shares):
    """What is said of the truth, by field: the share of states of which it is true."""
    return [
        scores(
            lambda trajectory, field, lead, share=share: share,
            fields=(field,),
            metric=name,
            **PERSISTENCE | {"emulator": "truth", "method": "truth"},
        )
        for field, share in shares.items()
    ]


def test_where_the_constant_decides_tables_say_so():
    """In a line that names the field, with the value that has none beside."""
    frames = [constant(358.7, **RUN), constant(0.4, **RUN | {"metric": "vrmse_scale_free"})]
    frames += truth("constant_matters", u=1.0, v=0.0) + truth("uniform", u=0.25, v=0.0)
    (table,) = metric_tables(by_horizon(summed(*frames)), "vrmse", "truth")
    assert (
        "variance in part of the test states, and lowers the VRMSE there: 100 % (u)." in table.note
    )
    assert "uniform in part of the test states" in table.note
    assert "25 % (u)" in table.note
    assert "v" not in re.findall(r"\((\w+)\)", table.note)
    for row in table.rows:
        assert [cell.beside["scale-free"] for cell in row.cells] == pytest.approx([0.41, 0.41])
    for name in ("table6_vrmse",):
        _, (table,) = paper_tables(summed(*frames), {"flow": ""}, {})[name]
        assert table.note.endswith("total and the spectra are as large.")
    # Where nothing is to be said, nothing is.
    frames[2:] = truth("constant_matters", u=0.0, v=0.0) + truth("uniform", u=0.0, v=0.0)
    (table,) = metric_tables(by_horizon(summed(*frames)), "vrmse", "truth")
    assert table.note == ""
    assert all(cell.beside == {} for row in table.rows for cell in row.cells)


def test_tables_are_made_where_their_field_exists():
    def value(trajectory, field, lead):
        return field

    spectra = [f"power_spectrum_{band}" for band in ("low", "mid", "high", "beyond")]
    planar = ("buoyancy", "velocity_x", "velocity_y")
    frames = [scores(value, fields=planar, metric=m) for m in ("wasserstein", *spectra)]
    frames += [constant(7, fields=planar, metric="wasserstein", **PERSISTENCE)]
    # Only what is against the truth counts.
    frames += [constant(9, fields=planar, metric="wasserstein", relative_to="autoencoder")]
    found = paper_tables(summed(*frames), {"flow": ""}, {})
    assert list(found) == ["tables8_10_power_spectrum_rmse"]
    # Which velocity is vertical is known of convection alone: by its law, or as the paper's own.
    law = constant(0.1, fields=("state",), metric="nusselt")
    found = paper_tables(summed(*frames, law), {"flow": ""}, {})
    assert list(found) == [
        "tables8_10_power_spectrum_rmse",
        "table12_wasserstein_vertical_velocity",
    ]
    _, (table,) = found["tables8_10_power_spectrum_rmse"]
    assert list(rows(table)) == [("diffusion", band, "4") for band in ("low", "mid", "high")]
    _, (table,) = found["table12_wasserstein_vertical_velocity"]
    assert rows(table)["diffusion", "4"].value == 2
    assert rows(table)["persistence", "-"].value == pytest.approx(7.01)
    assert "of velocity_y" in table.note

    gas = ("density", "velocity_x", "velocity_y", "velocity_z", "velocity")
    frames = [scores(value, fields=gas, metric="wasserstein")]
    frames += [constant(5, fields=("density",), metric="sliced_emd")]
    # Any data may have a density: the paper's tables of it are of two of its datasets, and of gas.
    assert paper_tables(summed(*frames), {"flow": ""}, {}) == {}
    other = constant(0.1, fields=("state",), metric="nusselt")
    about = {
        "table11_sliced_emd_density": (pytest.approx(5.01), "euler_multi_quadrants"),
        "table13_wasserstein_density": (0, "turbulence_gravity_cooling"),
    }
    for name, (value, paper) in about.items():
        published = {"flow": paper}
        found = paper_tables(summed(*frames, other), {"flow": ""}, published)
        assert list(set(found) & set(about)) == [name]
        assert rows(found[name][1][0])["diffusion", "4"].value == value
    law = constant(0.1, fields=("state",), metric="mach")
    found = paper_tables(summed(*frames, law), {"flow": ""}, {})
    assert list(found) == ["table11_sliced_emd_density"]
    # Gas in three dimensions that has a temperature is as the paper's cooling clouds.
    for missing in ("", "velocity_z", "temperature"):
        held = {"density", "pressure", "temperature", "velocity_z"} - {missing}
        cloud = constant(3, fields=tuple(sorted(held)), metric="wasserstein")
        found = paper_tables(summed(cloud), {"flow": ""}, {})
        assert list(found) == ["table13_wasserstein_density"] * (not missing)


def test_other_scores_with_a_constant_are_remarked_on():
    """Fields of 1e-21, and an ensemble that is nearly exact: the constants alone score well."""
    truth = {**PERSISTENCE, "emulator": "truth", "method": "truth", "metric": "constant_matters"}
    frames = [
        *(constant(0.5, metric=m) for m in ("nrmse", "coherence_low", "total", "crps", "mae")),
        *(constant(0.5, metric=m) for m in ("vcrps", "venergy_score")),
        scores(lambda *at: float(at[1] == 0), **truth),
        constant(0.999, metric="spread_skill"),
        scores(lambda *at: [1e-6, 0.5][at[1]], metric="spread"),
        scores(lambda *at: [1e-6, 0.5][at[1]], metric="skill"),
    ]
    means = by_horizon(summed(*frames))
    notes = {m: metric_tables(means, m, "truth")[0].note for m in means["metric"].unique()}
    for metric in ("nrmse", "coherence_low", "total", "vcrps", "venergy_score"):
        assert notes[metric].endswith("as little as in part of the test states: u.")
    assert notes["spread_skill"].endswith("draws the ratio to 1, of some runs and horizons: u.")
    assert {notes[metric] for metric in ("crps", "mae", "spread", "skill")} == {""}
    # Where nothing is small, nothing is said; of one member there is no ratio.
    frames[7] = scores(lambda *at: 0.0, **truth)
    frames[9:] = [constant(0.5, metric="spread"), constant(0.5, metric="skill")]
    frames += [constant(1e-6, metric="skill", **PERSISTENCE)]
    means = by_horizon(summed(*frames))
    assert {metric_tables(means, m, "truth")[0].note for m in means["metric"].unique()} == {""}


# --- Renderers ----------------------------------------------------------------------------------


@pytest.fixture
def table():
    rows = [
        Row(["a_b & 50%", "x"], [Cell(0.5, 0.25, 0.75, "d/a/1", {"paper": 0.146}), None]),
        Row(["{c}", "#~^\\<$"], [Cell(0.125, best=True), Cell(2.0, 1.0, 3.0)]),
    ]
    return Table("my_data", ["run", "kind"], ["1-9", "10-19"], rows, "A note_ of <1 %.")


def test_markdown(table):
    assert markdown("Title", [table]) == (
        "### Title\n\n"
        "| my_data | kind | 1-9 | 10-19 |\n"
        "|---|---|---|---|\n"
        "| a_b & 50% | x | 0.500 [0.250, 0.750], paper 0.146 | - |\n"
        "| {c} | #~^\\<$ | **0.125** | 2.000 [1.000, 3.000] |\n\n"
        "A note_ of <1 %.\n"
    )


def test_latex_is_escaped_and_balanced(table):
    text = latex("Title #1", [table, table])
    lines = text.splitlines()
    assert r"a\_b \& 50\% & x & 0.500 [0.250, 0.750], paper 0.146 & -- \\" in lines
    special = r"\{c\} & \#\textasciitilde{}\textasciicircum{}\textbackslash{}$<$\$"
    assert rf"{special} & \textbf{{0.125}} & 2.000 [1.000, 3.000] \\" in lines
    assert r"\caption{Title \#1}" in lines
    assert r"\begin{tabular}{llrr}" in lines
    assert r"A note\_ of $<$1 \%." in text
    # Environments nest, braces pair, every row has the columns that the head has.
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        opened.append(name) if kind == "begin" else None
        assert kind == "begin" or opened.pop() == name
    assert not opened
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    body = [line for line in lines if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [3] * 6


def test_csv_has_a_row_per_cell(table):
    found = csv([table], "horizon")
    assert list(found) == [
        "dataset", "run", "kind", "horizon", "value", "low", "high", "paper", "cell"
    ]  # fmt: skip
    assert found["value"].tolist() == [0.5, 0.125, 2.0]
    assert found["horizon"].tolist() == ["1-9", "1-9", "10-19"]
    assert found.loc[0, ["low", "high", "paper", "cell"]].tolist() == [0.25, 0.75, 0.146, "d/a/1"]


def test_the_terminal_has_aligned_columns(table):
    text = terminal(markdown("Title", [table]))
    assert text == (
        "Title\n\n"
        "my_data      kind                                 1-9                  10-19\n"
        "a_b & 50%       x   0.500 [0.250, 0.750], paper 0.146                      -\n"
        "{c}        #~^\\<$                               0.125*  2.000 [1.000, 3.000]\n\n"
        "A note_ of <1 %.\n"
    )


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 0.0], ["0.000", "0.000"]),
        ([0.00031, 0.0123], ["0.0003", "0.0123"]),
        ([3e-9, 4e-9], ["3.00e-09", "4.00e-09"]),
        ([23.456, 7.0], ["23.46", "7.00"]),
        ([152.0, 1234.5], ["152", "1234"]),
        # Of a field with another unit, or of a reconstruction that is almost perfect.
        ([15234.0, 20345.0, 0.0123, 1.7], ["15234", "20345", "0.0123", "1.700"]),
        ([0.31, 0.52, 0.00017], ["0.310", "0.520", "0.000170"]),
        ([0.31, 0.52, 3e-9], ["0.310", "0.520", "3.00e-09"]),
    ],
)
def test_numbers_have_the_digits_of_a_typical_one_or_their_own(values, texts):
    rows = [Row([str(i)], [Cell(value)]) for i, value in enumerate(values)]
    table = Table("data", ["run"], ["1-9"], rows)
    assert [row[1] for row in table.grid("{}")[1:]] == texts


def test_an_interval_has_the_digits_of_its_larger_end():
    cells = [
        Cell(0.5, 0.4, 0.6),
        Cell(0.5),
        Cell(0.00002, -0.03, 0.04),
        Cell(0.0002, 0.0001, 0.0003),
    ]
    table = Table("data", ["run"], ["1-9"], [Row([""], [cell]) for cell in cells])
    assert [row[1] for row in table.grid("{}")[1:]] == [
        "0.500 [0.400, 0.600]",
        "0.500",
        "0.000 [-0.030, 0.040]",
        "0.000200 [0.000100, 0.000300]",
    ]
