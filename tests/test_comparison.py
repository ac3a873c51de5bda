"""Methods at equal budget and sampling steps: which runs are compared, their numbers by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lilas.errors import LilasError
from lilas.evaluation.uncertainty import bootstrap_interval, sign_flip_test
from lilas.records.histories import write_history
from lilas.records.metrics import write_metrics
from lilas.records.timings import read_timings, write_timings
from lilas.report import figures, report
from lilas.report.looks import looks
from lilas.report.method_tables import cost_tables, method_tables
from lilas.report.step_figure import read_steps, step_curves
from lilas.report.step_tables import NAME, step_tables
from lilas.report.trajectories import by_trajectory
from lilas.report.typeset import Cell, Row, Table, csv, markdown
from lilas.stages import tables as stage
from lilas.study.comparison import Compared, Sampling, compared, sampling
from lilas.study.methods import METHODS, Method
from lilas.study.read import make_study
from lilas.study.study import Study
from lilas.study.tasks import Task
from test_claims import rollouts_of
from test_report import inputs as report_inputs
from test_report import rendered

TRAIN = {
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "validate_every": 1,
}
SPACE = "c4-s0"


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method beyond the paper's, whatever LILAS has: reports go by what a method declares."""
    monkeypatch.setitem(METHODS, "burst", Method("burst", "emulator", "state", True))


# --- Which are compared ---------------------------------------------------------------------------


def emulator(method: str = "solver", **changes: Any) -> dict[str, Any]:
    train = TRAIN | {"budget": {"flops": 2e9}} | changes.pop("train", {})
    if "steps" in train:
        train.pop("budget")
    return {
        "method": method,
        "autoencoders": ["c4"],
        "samplers": ["direct"] if method == "solver" else ["ab4"],
        "network": {"channels": 8, "blocks": 1, "heads": 1},
        "train": train,
    } | changes


def study(emulators: dict[str, Any], samplers: dict[str, Any] | None = None) -> Study:
    autoencoder = {
        "architecture": "dcae",
        "latent_channels": 3,
        "channels": [4, 8],
        "blocks": [1, 1],
        "train": TRAIN | {"steps": 4},
    }
    algorithms = {"direct": {"algorithm": "direct"}}
    algorithms["ab4"] = {"algorithm": "ab", "steps": 4, "members": 8}
    return make_study(
        "study.yaml",
        {
            "datasets": {
                "flow": {
                    "source": {"kind": "path", "path": "flow"},
                    "states": {"fields": ["velocity"]},
                    "evaluation": {"start": 0, "horizons": [[1, 4]]},
                }
            },
            "autoencoders": {"c4": autoencoder, "c8": autoencoder},
            "emulators": emulators,
            "samplers": algorithms | (samplers or {}),
        },
    )


def test_emulators_are_compared_where_another_forecasts_on_the_same_latents() -> None:
    alone = emulator("diffusion", autoencoders=["c4", "c8"])
    found = compared(study({"diffusion": alone, "solver": emulator(seeds=[0, 1])}))
    assert {
        name: [(one.autoencoder, one.emulator) for one in its] for name, its in found.items()
    } == {"flow": [(SPACE, "diffusion-s0"), (SPACE, "solver-s0"), (SPACE, "solver-s1")]}
    assert compared(study({"solver": emulator(seeds=[0, 1])})) == {}


def test_a_training_that_starts_from_another_has_its_budget_too() -> None:
    start = {"start": {"from": {"training": "solver"}}}
    again = {"start": {"from": {"training": "child"}}}
    found = compared(
        study(
            {
                "solver": emulator(seeds=[0, 1]),
                "child": emulator(train=start | {"budget": {"flops": 1e9}}),
                "grandchild": emulator(train=again | {"budget": {"flops": 5e8}, "batch_size": 4}),
            }
        )
    )["flow"]
    budgets = {one.emulator: (one.unit, one.budget) for one in found}
    assert budgets == {
        "solver-s0": ("FLOPs", 2e9),
        "solver-s1": ("FLOPs", 2e9),
        "child-s0": ("FLOPs", 3e9),
        "grandchild-s0": ("FLOPs", 3.5e9),
    }
    last = next(one for one in found if one.emulator == "grandchild-s0")
    assert [(one.run, one.windows) for one in last.ancestors] == [
        (f"flow/{SPACE}/child-s0", 16),
        (f"flow/{SPACE}/solver-s0", 16),
    ]
    assert (last.windows, last.elsewhere) == (4, False)


def test_members_of_a_training_sample_are_windows_too() -> None:
    drawn = emulator("ensemble", samplers=["direct"], members=3, unroll=2)
    found = compared(study({"ensemble": drawn, "solver": emulator()}))["flow"]
    assert {one.emulator: one.windows for one in found} == {
        "ensemble-s0": 16 * 3 * 2,
        "solver-s0": 16,
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"steps": 10}, {"budget": {"flops": 1e9}}),
        ({"budget": {"hours": 1.0}}, {"budget": {"flops": 1e9}}),
        ({"budget": {"flops": 1e9}}, {"steps": 10}),
    ],
)
def test_budgets_of_several_kinds_do_not_add_up(first: dict, second: dict) -> None:
    start = {"start": {"from": {"training": "solver"}}}
    emulators = {"solver": emulator(train=first), "child": emulator(train=start | second)}
    child = compared(study(emulators))["flow"][1]
    assert (child.unit, child.budget) == ("", None)


def test_weights_from_elsewhere_have_cost_who_knows_what() -> None:
    start = {"start": {"from": {"file": "weights.safetensors"}}}
    one = compared(study({"solver": emulator(), "other": emulator(train=start)}))["flow"][1]
    assert (one.unit, one.budget, one.elsewhere, one.ancestors) == ("", None, True, [])


def test_samplers_are_compared_by_steps_and_algorithm_alone() -> None:
    ab = {"algorithm": "ab", "members": 8}
    samplers = {
        "ab1": ab | {"steps": 1, "order": 1},
        "ab2": ab | {"steps": 2, "order": 2},
        "ab8": ab | {"steps": 8},
        "ab8_2": ab | {"steps": 8, "order": 2},
        "ddim4": {"algorithm": "ddim", "steps": 4, "members": 8},
        "few": ab | {"steps": 8, "members": 2},
        "tuned": ab | {"steps": 4, "tune_temperature": [1.0, 1.2]},
    }
    names = ["ab4", *samplers]
    own = study({"diffusion": emulator("diffusion", samplers=names), "s": emulator()}, samplers)
    found = sampling(own)
    # An order that the steps bound is as high as they allow: of the line of the highest.
    assert {name: (one.algorithm, one.steps) for name, one in found.items()} == {
        "direct": ("direct", None),
        "ab4": ("ab, order 3", 4),
        "ab1": ("ab, order 3", 1),
        "ab2": ("ab, order 3", 2),
        "ab8": ("ab, order 3", 8),
        "ab8_2": ("ab, order 2", 8),
        "ddim4": ("ddim", 4),
        "few": ("ab, order 3", 8),
        "tuned": ("ab, order 3", 4),
    }
    assert len({found[name].rest for name in ("ab4", "ab1", "ddim4", "ab8_2")}) == 1
    assert found["few"].rest == "members 2"
    assert found["tuned"].rest == "members 8, tune_temperature [1.0, 1.2]"
    # Where an emulator's samplers differ in more, nothing is compared.
    two = {"few": ab | {"steps": 8, "members": 2}}
    assert sampling(study({"d": emulator("diffusion", samplers=["ab4", "few"])}, two)) == {}


def test_a_job_is_told_of_them_as_json() -> None:
    own = study({"diffusion": emulator("diffusion"), "solver": emulator()})
    given = {
        "compared": {
            name: [one.model_dump(mode="json") for one in its]
            for name, its in compared(own).items()
        }
    }
    assert Task.model_validate_json(json.dumps(given)).compared == compared(own)


# --- Tables ---------------------------------------------------------------------------------------


VALUES = {
    # Of two trajectories; sampler by method.
    "diffusion": ("ab4", [0.30, 0.34]),
    "solver": ("direct", [0.20, 0.22]),
    "burst": ("direct", [0.21, 0.29]),
}


def scores(
    method: str, metric: str, values: list[float], sampler: str, **names: Any
) -> pd.DataFrame:
    """Scores of a run at lead times 1 and 2, a value per trajectory."""
    rows = [(t, lead, value) for t, value in enumerate(values) for lead in (1, 2)]
    frame = pd.DataFrame(rows, columns=["trajectory", "lead_time", "value"])
    run = {
        "dataset": "flow",
        "autoencoder": SPACE,
        "compression": 4.0,
        "emulator": f"{method}-s0",
        "method": method,
        "sampler": sampler,
        "context": 1,
        "start": 0,
        "direction": "forward",
        "members": 8 if METHODS[method].probabilistic else 1,
        "relative_to": "truth",
        "metric": metric,
        "field": "u",
    }
    return frame.assign(**run | names)


def summed(*frames: pd.DataFrame) -> pd.DataFrame:
    return by_trajectory(frames, {"flow": [(1, 2)]})


def trained(name: str, budget: float | None = 1e15, **changes: Any) -> Compared:
    values = {
        "autoencoder": SPACE,
        "emulator": f"{name}-s0",
        "windows": 16,
        "unit": "FLOPs" if budget else "",
        "budget": budget,
        "ancestors": [],
        "elsewhere": False,
    }
    return Compared.model_validate(values | changes)


def table_of(frames: list[pd.DataFrame], its: list[Compared]) -> dict[tuple[str, ...], list]:
    (table,) = method_tables(summed(*frames), {"flow": its})
    assert table.columns == ["1-2", "1-2, minus the best"]
    return {tuple(row.heads[1:4]): list(row.cells) for row in table.rows}


def test_methods_of_equal_budget_are_held_against_the_best_by_trajectory() -> None:
    frames = [
        scores(method, metric, values, sampler)
        for metric in ("vrmse", "vcrps")
        for method, (sampler, values) in VALUES.items()
    ]
    frames += [scores("diffusion", "spread_skill", [0.5, 0.7], "ab4")]
    frames += [scores("burst", "spread_skill", [1.2, 1.1], "direct")]
    # Only the first sampler of each counts.
    frames += [scores("diffusion", metric, [0.0, 0.0], "ab8") for metric in ("vrmse", "vcrps")]
    found = table_of(frames, [trained(name) for name in VALUES])
    budget = "1e+15 FLOPs"
    solver, best = found[budget, "VRMSE", "solver (c4)"]
    assert (solver.value, solver.best, best) == (pytest.approx(0.21), True, None)
    assert solver.name == f"flow/{SPACE}/solver-s0/direct/vrmse/1-2"
    own, apart = found[budget, "CRPS", "diffusion (c4)"]
    values = np.array([[0.30 - 0.20], [0.34 - 0.22]])
    low, high = bootstrap_interval(values)
    assert own.value == pytest.approx(0.32)
    assert not own.best
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.11, low[0], high[0]))
    assert apart.beside == {"p": sign_flip_test(values)[0]}
    assert apart.name == ""
    # The closest to one is best; what is no ensemble has no ratio.
    assert found[budget, "spread / skill", "burst (c4)"][0].best
    other = found[budget, "spread / skill", "diffusion (c4)"][1]
    assert other.value == pytest.approx(0.6 - 1.15)
    assert (budget, "spread / skill", "solver (c4)") not in found


def test_only_equal_budgets_and_equal_beginnings_are_compared() -> None:
    frames = [scores(m, "vrmse", values, sampler) for m, (sampler, values) in VALUES.items()]
    its = [trained("diffusion"), trained("solver", 2e15), trained("burst", None)]
    found = table_of(frames, its)
    assert list(found) == [
        ("1e+15 FLOPs", "VRMSE", "diffusion (c4)"),
        ("2e+15 FLOPs", "VRMSE", "solver (c4)"),
        ("unknown", "VRMSE", "burst (c4)"),
    ]
    assert all(apart is None and not own.best for own, apart in found.values())
    (table,) = method_tables(summed(*frames), {"flow": its})
    assert "Budget unknown" in table.note
    later = [frames[0], scores("solver", "vrmse", [0.2, 0.2], "direct", context=2)]
    found = table_of(later, [trained("diffusion"), trained("solver")])
    assert all(apart is None for _, apart in found.values())
    (table,) = method_tables(summed(*later), {"flow": [trained("diffusion"), trained("solver")]})
    assert "Budget unknown" not in table.note


def test_one_trajectory_has_no_interval_and_no_test() -> None:
    frames = [scores(m, "vrmse", values[:1], sampler) for m, (sampler, values) in VALUES.items()]
    found = table_of(frames, [trained(name) for name in VALUES])
    _, apart = found["1e+15 FLOPs", "VRMSE", "diffusion (c4)"]
    assert (apart.value, apart.low, apart.beside) == (pytest.approx(0.1), None, {})


def history(root: Path, run: str, steps: int, seconds: float | None) -> Path:
    path = root / "flow" / SPACE / run / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {"step": steps, "loss": 1.0, "skipped": 0, "seconds": seconds}
    write_history(path, [entry | {"step": 1, "seconds": 0.5}, entry])
    return path


NOT_TIMED = read_timings([])


def test_costs_are_those_of_a_training_and_of_what_it_starts_from(tmp_path: Path) -> None:
    frames = [scores(m, "vrmse", values, sampler) for m, (sampler, values) in VALUES.items()]
    parent = {"run": f"flow/{SPACE}/solver-s0", "windows": 16}
    its = [
        trained("diffusion"),
        trained("solver"),
        trained("burst", 2e15, ancestors=[parent], windows=8),
    ]
    files = [
        history(tmp_path, "diffusion-s0", 50, None),
        history(tmp_path, "solver-s0", 100, 12.5),
        history(tmp_path, "burst-s0", 30, 2.0),
    ]
    (table,) = cost_tables(summed(*frames), {"flow": its}, files, NOT_TIMED, tmp_path)
    found = {row.heads[2]: [c and c.value for c in row.cells] for row in table.rows}
    # Steps, windows, seconds of training; no job of rollouts has run here.
    assert found == {
        "diffusion (c4)": [50, 800, None, None],
        "solver (c4)": [100, 1600, 12.5, None],
        "burst (c4)": [30, 1840, 14.5, None],
    }
    assert [row.heads[3] for row in table.rows] == ["-", "-", "solver-s0"]
    its[2] = trained("burst", None, elsewhere=True)
    (table,) = cost_tables(summed(*frames), {"flow": its}, files, NOT_TIMED, tmp_path)
    assert table.rows[-1].heads[3] == "weights from elsewhere"
    assert [c and c.value for c in table.rows[-1].cells] == [30, None, None, None]
    # Of weights that are given there is nothing to tell.
    its[2] = trained("burst", None, elsewhere=True, windows=None)
    (table,) = cost_tables(summed(*frames), {"flow": its}, files[:2], NOT_TIMED, tmp_path)
    assert table.rows[-1].cells == [None] * 4


# --- Steps ----------------------------------------------------------------------------------------


WAYS = {
    "ab4": Sampling(algorithm="ab", steps=4, rest="members 8"),
    "ab8": Sampling(algorithm="ab", steps=8, rest="members 8"),
    "ddim8": Sampling(algorithm="ddim", steps=8, rest="members 8"),
    "direct": Sampling(algorithm="direct", steps=None, rest="members 1"),
}
# Seconds of a state as timed, by run.
SECONDS = {
    ("diffusion", "ab4"): 0.04,
    ("diffusion", "ab8"): 0.08,
    ("diffusion", "ddim8"): 0.07,
    ("solver", "direct"): 0.01,
}


def steps_summary(**names: Any) -> pd.DataFrame:
    frames = [
        scores(m, metric, [at, at + 0.1], sampler, **(names if m == "solver" else {}))
        for metric, shift in (("vrmse", 0.0), ("vcrps", 0.5))
        for (m, sampler), at in ((run, shift + 10 * s) for run, s in SECONDS.items())
    ]
    return summed(*frames)


def timings(folder: Path) -> pd.DataFrame:
    rows = [
        {
            "kind": "rollout",
            "method": method,
            "autoencoder": SPACE,
            "emulator": f"{method}-s0",
            "sampler": sampler,
            "compression": 4.0,
            "batch": 8,
            "states": 8,
            "flops": 1e6,
            "seconds": [s * turn for turn in (0.9, 1.0, 1.0, 1.0, 1.0, 1.3)],
        }
        for (method, sampler), s in SECONDS.items()
    ]
    rows.append({"kind": "matmul", "flops": 1e9, "seconds": [0.1] * 6})
    path = folder / "timing.json"
    record = {"stage": "timing", "version": 1, "config": {}, "inputs": {}, "code": "0"}
    record |= {"versions": {}, "implementations": []}
    machine = {"device": "a", "threads": 1, "turns": 6}
    write_timings(path, "flow", rows, machine, record)
    return read_timings([path])


def steps_table(tmp_path: Path, summary: pd.DataFrame, ways: dict[str, Sampling] = WAYS) -> Table:
    (table,) = step_tables(summary, ways, timings(tmp_path), tmp_path)
    return table


def test_runs_by_steps_have_scores_beside_the_seconds_as_timed(tmp_path: Path) -> None:
    table = steps_table(tmp_path, steps_summary())
    assert table.columns == ["seconds per state", "VRMSE, 1-2", "CRPS, 1-2"]
    assert [list(row.heads[2:5]) for row in table.rows] == [
        ["ab4", "ab", "4"],
        ["ab8", "ab", "8"],
        ["ddim8", "ddim", "8"],
        ["direct", "direct", "-"],
    ]
    for row, seconds in zip(table.rows, SECONDS.values(), strict=True):
        took, vrmse, crps = row.cells
        assert (took.value, took.low, took.high) == pytest.approx(
            (seconds, 0.9 * seconds, 1.3 * seconds)
        )
        assert vrmse.value == pytest.approx(10 * seconds + 0.05)
        assert crps.value == pytest.approx(10 * seconds + 0.55)
    assert table.rows[0].cells[0].name == f"flow/{SPACE}/diffusion-s0/ab4/timing_rollout"
    assert "as timed" in table.note


def test_other_states_and_lone_samplers_are_not_compared(tmp_path: Path) -> None:
    table = steps_table(tmp_path, steps_summary(context=2))
    assert "direct" not in {row.heads[2] for row in table.rows}
    # Other settings than steps make another line, and one of its own has nothing to say.
    other = WAYS | {"ddim8": WAYS["ddim8"].model_copy(update={"rest": "members 2"})}
    table = steps_table(tmp_path, steps_summary(), other)
    assert {row.heads[3] for row in table.rows} == {"ab, members 8", "direct"}
    lone = summed(*(scores("solver", m, [0.1, 0.2], "direct") for m in ("vrmse", "vcrps")))
    assert step_tables(lone, WAYS, NOT_TIMED, tmp_path) == []


def drawn(tmp_path: Path, summary: pd.DataFrame) -> figures.plt.Figure:
    csv([steps_table(tmp_path, summary)], "quantity").to_csv(tmp_path / f"{NAME}.csv", index=False)
    study_looks = looks(summary.astype({"method": str}))
    return step_curves(read_steps(tmp_path), study_looks)


def test_the_figure_has_a_line_per_algorithm_and_a_point_per_number_of_steps(tmp_path) -> None:
    figure = drawn(tmp_path, steps_summary())
    top, bottom = figure.axes
    assert top.get_xscale() == "log"
    assert "as timed" in bottom.get_xlabel()
    for ax, shift in ((top, 0.05), (bottom, 0.55)):
        lines = {tuple(line.get_xdata()): line for line in ax.lines}
        assert set(lines) == {(0.04, 0.08), (0.07,), (0.01,)}
        for seconds, line in lines.items():
            np.testing.assert_allclose(line.get_ydata(), [10 * s + shift for s in seconds])
        assert [text.get_text() for text in ax.texts] == ["4", "8", "8"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "diffusion (c4), ab",
        "diffusion (c4), ddim",
        "solver (c4), direct",
    ]
    figures.plt.close(figure)


def test_without_seconds_there_is_nothing_to_draw(tmp_path: Path) -> None:
    summary = steps_summary()
    tables = step_tables(summary, WAYS, NOT_TIMED, tmp_path)
    assert {row.cells[0] for row in tables[0].rows} == {None}
    csv(tables, "quantity").to_csv(tmp_path / f"{NAME}.csv", index=False)
    assert step_curves(read_steps(tmp_path), looks(summary.astype({"method": str}))) is None
    assert read_steps(tmp_path / "none").empty


def test_the_stage_writes_tables_with_seconds_of_jobs_where_nothing_was_timed(tmp_path) -> None:
    files = []
    for (method, sampler), at in SECONDS.items():
        frames = [scores(method, m, [at, 2 * at], sampler) for m in ("vrmse", "vcrps")]
        path = tmp_path / f"{method}_{sampler}.parquet"
        write_metrics(path, frames, {}, {})
        files.append(path)
    run = tmp_path / "flow" / SPACE / "diffusion-s0" / "ab4"
    # 16 seconds of 4 trajectories x 2 members x 8 new states.
    rollouts_of(run)
    benchmark = tmp_path / "benchmarks" / run.relative_to(tmp_path) / "rollout.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\tmax_rss\n16.0\t1.0\n")
    config = {
        "horizons": {"flow": [[1, 2]]},
        "sources": {"flow": "files"},
        "compared": {"flow": [trained(name).model_dump() for name in ("diffusion", "solver")]},
        "sampling": {name: one.model_dump() for name, one in WAYS.items()},
    }
    command = ["tables", "--config", json.dumps(config), "--output", tmp_path / "tables"]
    command += ["--metrics", *files, "--trained", history(tmp_path, "solver-s0", 100, 12.5)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", list(map(str, command)))
        stage.main()
    text = (tmp_path / "tables" / "methods.md").read_text()
    assert "| c4-s0 | 1e+15 FLOPs | VRMSE | solver (c4) | 1 | **0.0150" in text
    for name in ("methods_cost", "steps"):
        table = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        (took,) = table[table["quantity"] == "seconds per state"]["value"]
        assert took == 0.25
        assert "of whole rollout jobs" in (tmp_path / "tables" / f"{name}.md").read_text()
    record = json.loads((tmp_path / "tables" / "record.json").read_text())["provenance"]
    assert {"compared", "sampling"} <= set(record["config"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("quantity", "what"), "no quantity"),
        (lambda text: text.replace("0.04,", "none,"), "CSV table of numbers"),
        (lambda text: "", "CSV table of numbers"),
    ],
)
def test_a_damaged_table_of_steps_is_refused(tmp_path, change, words) -> None:
    path = tmp_path / f"{NAME}.csv"
    csv([steps_table(tmp_path, steps_summary())], "quantity").to_csv(path, index=False)
    path.write_text(change(path.read_text()))
    with pytest.raises(LilasError, match=rf"steps\.csv.*{words}.*snakemake -R tables"):
        read_steps(tmp_path)


# --- The page -------------------------------------------------------------------------------------


inputs = report_inputs


def test_the_page_of_methods_has_their_tables_and_the_report_leads_there(inputs, tmp_path) -> None:
    assert "methods.html" not in rendered(inputs)
    tables, pictures = tmp_path / "tables", tmp_path / "figures"
    for path in (tables, pictures):
        path.mkdir()
    for name in ("horizons.csv", "differences.csv"):
        (tables / name).write_bytes((inputs["tables"] / name).read_bytes())
    rows = {"methods": "scores here", "methods_cost": "costs here", "steps": "steps here"}
    number = Cell(0.1, 0.05, 0.2, beside={"p": 0.25})
    for name, text in rows.items():
        table = Table("rayleigh_benard", ["run"], ["1-9"], [Row([text], [number])], "A note [1].")
        (tables / f"{name}.md").write_text(markdown(name, [table]))
    (tables / "other.md").write_text(
        "### Other\n\n| rayleigh_benard | x |\n|---|---|\n| no | 1 |\n"
    )
    (pictures / "steps_rayleigh_benard.png").write_bytes(b"\x89PNG")
    (pictures / "metrics_rayleigh_benard.png").write_bytes(b"\x89PNG")
    pages = dict(report.render(**inputs | {"tables": tables, "figures": pictures}))
    assert list(pages) == ["claims.html", "methods.html", "report.html"]
    page = pages["methods.html"]
    places = [page.index(text) for text in ("costs here", "scores here", "steps here")]
    assert places == sorted(places)
    assert "<td>no</td>" not in page
    # What follows a number stands small below it.
    assert "<td>0.100<small>[0.050, 0.200]</small><small>p 0.25</small></td>" in page
    assert "A note [1].</p>" in page
    assert 'alt="steps_rayleigh_benard.png"' in page
    assert "metrics_rayleigh_benard.png" not in page
    assert '<a href="methods.html">Methods</a>' in pages["report.html"]
    assert "steps here" in pages["report.html"]
    assert '<a href="report.html">Report</a>' in page
