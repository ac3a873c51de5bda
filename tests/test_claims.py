"""The six claims on runs whose numbers are made up, so that every verdict is known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
import xarray as xr
import yaml
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lilas.errors import LilasError
from lilas.files import read_json, write_json
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.report.claims import CLAIMS, check, write_claims
from lilas.report.costs import COSTS, LOSSES, costs, validation_losses
from lilas.report.evidence import evidence
from lilas.report.paired import (
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    Part,
    Results,
    Verdict,
    estimate,
)
from lilas.study.read import read_study
from lilas.study.study import Study

MINIATURE = Path(__file__).parent / "data" / "miniature.yaml"
HORIZONS = ("1-9", "10-19")
TRAJECTORIES = 8
NO_COSTS = pd.DataFrame([], columns=COSTS)
NO_LOSSES = pd.DataFrame([], columns=LOSSES)
# Trajectories differ by a factor of three, so that only pairing makes small ratios certain.
DIFFICULTY = np.linspace(0.5, 1.5, TRAJECTORIES)


def study(tmp_path: Path, **changes: dict[str, Any]) -> Study:
    """The miniature with more autoencoders, emulators, samplers."""
    values = yaml.safe_load(MINIATURE.read_text())
    dcae = values["autoencoders"]["c16"]
    values["autoencoders"] |= {"c64": dcae | {"latent_channels": 1}}
    values["samplers"] |= {"ab4_c2": values["samplers"]["ab4"] | {"context": 2, "overlap": 2}}
    for name in ("diffusion", "solver"):
        values["emulators"][name]["autoencoders"] = ["c16", "c64"]
    values["datasets"]["convection"]["evaluation"]["start"] = 1
    for kind, entries in changes.items():
        values[kind] |= entries
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    return read_study(path)


def run(
    emulator: str,
    autoencoder: str = "c16-s0",
    sampler: str = "",
    metric: str = "vrmse",
    value: float | np.ndarray = 1.0,
    trajectories: int = TRAJECTORIES,
    spread: float = 0.0,
) -> pd.DataFrame:
    """A run's summary: value x difficulty, `spread` larger in one of two fields than its mean."""
    method = emulator.rpartition("-s")[0] or emulator
    method = "solver" if method == "pixel_solver" else method
    rows = [
        {
            "dataset": "convection",
            "autoencoder": autoencoder,
            "compression": {"c16-s0": 16.0, "c64-s0": 64.0}.get(autoencoder, 1.0),
            "emulator": emulator,
            "method": method,
            "sampler": sampler or {"diffusion": "ab4", "solver": "direct"}.get(method, ""),
            "context": 2 if sampler == "ab4_c2" else 1,
            "start": 0,
            "direction": "forward",
            "members": 2 if method == "diffusion" else 1,
            "relative_to": relative_to,
            "metric": metric,
            "field": field,
            "horizon": horizon,
            "trajectory": trajectory,
            # Relative to the auto-encoded truth everything is wrong, and must not count.
            "value": (1 + sign * spread) * number * (1 if relative_to == "truth" else 99.0),
        }
        for trajectory, number in enumerate((value * DIFFICULTY)[:trajectories])
        for horizon in HORIZONS
        for field, sign in (("pressure", 1), ("buoyancy", -1))
        for relative_to in ("truth", "autoencoder")
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({"dataset": "category", "emulator": "category", "metric": "category"})


def cost(kind: str, quantity: str, value: float, *names: str) -> tuple[Any, ...]:
    return (kind, "convection", *names, *[""] * (3 - len(names)), quantity, value)


def verdict(
    number: int,
    of: Study,
    summary: list[pd.DataFrame],
    jobs: list[tuple[Any, ...]] = (),
    losses: pd.DataFrame = NO_LOSSES,
) -> Verdict:
    table = pd.DataFrame(jobs, columns=COSTS) if jobs else NO_COSTS
    results = Results(pd.concat(summary, ignore_index=True), table, losses, of)
    found = CLAIMS[number](results)
    assert found.number == number
    return found


def compressed(growth: float, bound: float, **more: Any) -> list[pd.DataFrame]:
    """Diffusion whose VRMSE grows by a factor between compressions, as its reconstruction does."""
    return [
        run("diffusion-s0", "c16-s0", value=0.4, spread=0.2, **more),
        run("diffusion-s0", "c64-s0", value=0.4 * growth, spread=0.1, **more),
        run("reconstruction", "c16-s0", value=0.05, **more),
        run("reconstruction", "c64-s0", value=0.05 * bound, **more),
    ]


@pytest.mark.parametrize(
    ("growth", "bound", "expected"),
    [
        (1.05, 2.0, SUPPORTED),
        (0.9, 2.0, SUPPORTED),
        (1.2, 2.0, NOT_SUPPORTED),
        # Robustness says nothing where the reconstruction does not degrade, or degrades as little.
        (1.05, 1.0, NOT_SUPPORTED),
        (1.05, 1.04, NOT_SUPPORTED),
        (0.9, 0.95, NOT_SUPPORTED),
    ],
)
def test_robustness(tmp_path, growth, bound, expected):
    found = verdict(1, study(tmp_path), compressed(growth, bound))
    assert found.verdict == expected
    assert (
        f"VRMSE 0.4 to {0.4 * growth:.3g}, ratio {growth:.3g} [{growth:.3g}, {growth:.3g}]"
        in (found.evidence[0])
    )
    assert f"ratio {bound:.3g} [{bound:.3g}, {bound:.3g}]" in found.evidence[0]
    assert sum("horizon" in line for line in found.evidence) == len(HORIZONS)
    assert "convection 16 to 64" in found.reason


def test_robustness_is_not_tested(tmp_path):
    few = verdict(1, study(tmp_path), compressed(1.05, 2.0, trajectories=5))
    assert few.verdict == NOT_TESTED
    assert "5 test trajectories" in few.evidence[0]
    one = verdict(1, study(tmp_path), compressed(1.05, 2.0)[::2])
    assert one.verdict == NOT_TESTED
    assert "two compressions" in one.reason
    solver = [run("solver-s0", "c16-s0"), run("solver-s0", "c64-s0"), *compressed(1, 2)[2:]]
    found = verdict(1, study(tmp_path), solver)
    assert found.verdict == NOT_TESTED
    assert "convection, solver, compression 16 to 64: VRMSE 1 to 1" in found.evidence[0]


def test_uncertain_growth_is_not_robust(tmp_path):
    """The mean ratio is 1.05, but one trajectory alone makes it: the interval passes 1.1."""
    growth = np.ones(TRAJECTORIES)
    growth[-1] += 0.05 * DIFFICULTY.sum() / DIFFICULTY[-1]
    runs = compressed(1.0, 3.0)
    runs[1] = run("diffusion-s0", "c64-s0", value=0.4 * growth)
    found = verdict(1, study(tmp_path), runs)
    assert "ratio 1.05 [1," in found.evidence[0]
    assert found.verdict == NOT_SUPPORTED


def trainings(fewer: float = 1.0, faster: float = 1.0) -> list[tuple[Any, ...]]:
    latent, pixel = ("c16-s0", "solver-s0"), ("pixel-s0", "pixel_solver-s0")
    return [
        cost("emulator", "parameters", 1000 * fewer, *latent),
        cost("emulator", "parameters", 4000, *pixel),
        cost("emulator", "seconds", 50 * faster, *latent),
        cost("emulator", "seconds", 100, *pixel),
        cost("autoencoder", "parameters", 777, "c16-s0"),
    ]


@pytest.mark.parametrize(
    ("latent", "jobs", "expected"),
    [
        (0.9, trainings(), SUPPORTED),
        (1.04, trainings(), SUPPORTED),
        (1.1, trainings(), NOT_SUPPORTED),
        (0.9, trainings(fewer=5), NOT_SUPPORTED),
        (0.9, trainings(faster=3), NOT_SUPPORTED),
        (0.9, trainings()[:2], NOT_TESTED),
    ],
)
def test_pixel_space(tmp_path, latent, jobs, expected):
    runs = [
        run("solver-s0", value=0.5 * latent),
        run("pixel_solver-s0", "pixel-s0", "direct", value=0.5),
        # Another method says nothing of this one.
        run("diffusion-s0", value=9.0),
    ]
    found = verdict(2, study(tmp_path), runs, jobs)
    assert found.verdict == expected
    assert f"VRMSE {0.5 * latent:.3g}, in pixel space 0.5" in found.evidence[0]
    assert "difference" in found.evidence[0]
    if expected == SUPPORTED:
        assert (
            "parameters 1,000, in pixel space 4,000; the autoencoder, not counted, 777"
            in (found.evidence[1])
        )


def test_uncertain_differences_support_nothing(tmp_path):
    """The mean difference is on the claims' side; one trajectory alone makes it so."""
    lucky = np.full(TRAJECTORIES, 1.1)
    lucky[-1] = 0.05
    runs = [run("solver-s0", value=lucky), run("pixel_solver-s0", "pixel-s0", "direct")]
    found = verdict(2, study(tmp_path), runs, trainings())
    assert "difference -0.0969 [" in found.evidence[0]
    assert found.verdict == NOT_SUPPORTED
    found = verdict(3, study(tmp_path), against_solver(vrmse=lucky))
    assert "difference -0.0969 [" in found.evidence[0]
    assert found.verdict == NOT_SUPPORTED


def test_equal_samplers_are_compared(tmp_path):
    """A sampler that only the higher compression has must not tip the balance."""
    more = run("diffusion-s0", "c64-s0", sampler="ab4_c2", value=50.0)
    found = verdict(1, study(tmp_path), [*compressed(1.05, 2.0), more])
    assert found.verdict == SUPPORTED


def test_the_first_sampler_stands_for_its_emulator(tmp_path):
    """A sampler of one step, listed after, tips no balance; one that is listed before does."""
    of = study(tmp_path)
    for number, runs in (
        (1, compressed(1.05, 2.0)),
        (3, against_solver()),
        (2, [run("diffusion-s0", value=0.4), run("diffusion-s0", "pixel-s0")]),
    ):
        more = [
            part.assign(sampler="one", value=part["value"] * (1 + 9 * (part["compression"] > 1)))
            for part in runs
            if part["method"].iloc[0] == "diffusion"
        ]
        jobs = [
            cost("emulator", quantity, value, autoencoder, "diffusion-s0")
            for quantity in ("parameters", "seconds")
            for value, autoencoder in ((1, "c16-s0"), (2, "pixel-s0"))
        ]
        found = verdict(number, of, [*runs, *more], jobs)
        assert found.verdict == SUPPORTED
        assert found.evidence == verdict(number, of, runs, jobs).evidence
        found = verdict(number, of, [*more, *runs], jobs)
        # Ten times as large at both compressions is as robust.
        assert found.verdict == (SUPPORTED if number == 1 else NOT_SUPPORTED)
        assert {1: "VRMSE 4 to 4.2", 2: "VRMSE 4, in pixel", 3: "9, solver 1"}[number] in (
            found.evidence[0]
        )


def test_one_sampler_is_compared_at_both_compressions(tmp_path):
    """Of two entries that list the same samplers in another order."""
    entries = yaml.safe_load(MINIATURE.read_text())["emulators"]
    of = study(tmp_path, emulators={"coarse": entries["diffusion"] | {"autoencoders": ["c64"]}})
    fine, coarse, *bounds = compressed(1.05, 2.0)
    coarse = coarse.assign(emulator="coarse-s0")
    wrong = [rows.assign(sampler="one", value=50.0) for rows in (fine, coarse)]
    found = verdict(1, of, [fine, wrong[0], wrong[1], coarse, *bounds])
    assert "VRMSE 0.4 to 0.42, ratio 1.05" in found.evidence[0]
    assert found.verdict == SUPPORTED


def test_emulators_of_one_budget_are_compared(tmp_path):
    """A solver of half of the budget, from which another starts, must not tip the balance."""
    plain = yaml.safe_load(MINIATURE.read_text())["emulators"]
    emulators = {
        name: entry | {"train": entry["train"] | {"budget": {"flops": 1e9}}}
        for name, entry in plain.items()
        if name in ("diffusion", "solver", "pixel_solver")
    }
    for entry in emulators.values():
        entry["train"].pop("steps", None)
    short = emulators["solver"]["train"] | {"budget": {"flops": 5e8}}
    emulators["short"] = emulators["solver"] | {"train": short}
    of = study(tmp_path, emulators=emulators)
    half = run("short-s0", sampler="direct").assign(method="solver")
    runs = [run("solver-s0", value=0.4), run("pixel_solver-s0", "pixel-s0", "direct")]
    assert verdict(2, of, [half.assign(value=50.0), *runs], trainings()).verdict == SUPPORTED
    found = verdict(3, of, [half.assign(value=0.0), *against_solver()])
    assert found.evidence[0].startswith(
        "convection, compression 16, vrmse: diffusion 0.9, solver 1,"
    )
    # Of two budgets that both have, it is the larger one's; what has none is of no budget.
    both = [half.assign(emulator="diffusion_short-s0", method="diffusion", sampler="ab4"), half]
    free = run("free-s0", sampler="direct").assign(method="solver", value=0.0)
    of = study(
        tmp_path,
        emulators=emulators
        | {
            "diffusion_short": emulators["diffusion"] | {"train": short},
            "free": plain["solver"],
            "diffusion_free": plain["diffusion"],
        },
    )
    unknown = run("diffusion_free-s0", sampler="ab4").assign(method="diffusion", value=9.0)
    found = verdict(3, of, [*both, free, unknown, *against_solver()])
    assert "16, vrmse: diffusion 0.9, solver 1," in found.evidence[0]
    # Where no two budgets agree, all are compared, as where none are known.
    alone = [run("diffusion-s0", value=0.9), half.assign(value=0.0)]
    assert "solver 0, difference 0.9" in verdict(3, of, alone).evidence[0]


def test_pixel_space_needs_a_pixel_run(tmp_path):
    found = verdict(2, study(tmp_path), [run("solver-s0")], trainings())
    assert (found.verdict, found.evidence) == (NOT_TESTED, [])


def against_solver(**changes: float | np.ndarray) -> list[pd.DataFrame]:
    """Diffusion that is as claimed in every respect, except for the changes."""
    numbers = {"vrmse": 0.9, "low": 0.9, "mid": 0.9, "high": 0.9, "c16": 1.0, "c64": 0.93}
    numbers |= changes
    runs = [run("diffusion-s0", value=numbers["vrmse"]), run("solver-s0")]
    for band in ("low", "mid", "high"):
        metric = f"power_spectrum_{band}"
        runs += [run("diffusion-s0", metric=metric, value=numbers[band])]
        runs += [run("solver-s0", metric=metric)]
    for autoencoder in ("c16", "c64"):
        flat = numbers[autoencoder] / DIFFICULTY
        runs += [run("diffusion-s0", f"{autoencoder}-s0", metric="spread_skill", value=flat)]
    return runs


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, None),
        ({"vrmse": 1.01}, "vrmse"),
        ({"high": 1.01}, "power_spectrum_high"),
        ({"c16": 1.25}, "compression 16, spread_skill"),
        ({"c64": 0.79}, "compression 64, spread"),
        # It does not fall, or falls by too much.
        ({"c64": 1.0}, "spread_skill by compression"),
        ({"c16": 1.1, "c64": 0.85}, "by compression"),
    ],
)
def test_diffusion_or_solver(tmp_path, changes, wrong):
    found = verdict(3, study(tmp_path), against_solver(**changes))
    assert len(found.evidence) == 7
    assert found.verdict == (NOT_SUPPORTED if wrong else SUPPORTED)
    if wrong:
        failing = found.reason.partition("Supported:")[0]
        assert failing.startswith("Not supported:")
        assert wrong in failing


def test_diffusion_or_solver_is_not_tested(tmp_path):
    runs = against_solver()
    one = verdict(3, study(tmp_path), runs[:-1])
    assert one.verdict == NOT_TESTED
    assert "convection, spread_skill by compression: one compression" in one.evidence
    alone = [rows for rows in runs if "solver-s0" not in set(rows["emulator"])]
    assert verdict(3, study(tmp_path), alone).verdict == NOT_TESTED
    contradicted = verdict(3, study(tmp_path), against_solver(vrmse=1.1)[:-1])
    assert contradicted.verdict == NOT_SUPPORTED


def autoencoders() -> dict[str, Any]:
    """Autoencoders that differ from c16 in its initialisation, its optimiser, or more."""
    values = yaml.safe_load(MINIATURE.read_text())
    c16 = {key: v for key, v in values["autoencoders"]["c16"].items() if key != "per_dataset"}
    c16["seeds"] = [0, 1, 2]
    soap = {**c16["train"], "optimizer": "soap"}
    return {
        "far": {**c16, "identity_init": False},
        "near": c16,
        "psgd": {**c16, "train": {**soap, "learning_rate": 3e-3}},
        "psgd_fast": {**c16, "train": {**soap, "learning_rate": 1e-2}},
        "other": {**c16, "identity_init": False, "train": {**soap, "batch_size": 2}},
        "c16": c16 | {"latent_channels": 2},
    }


def seconds() -> dict[str, Any]:
    """Those of Adam with a second rate."""
    of = autoencoders()
    rate = {"learning_rate": 2e-3}
    return {f"{name}_2": of[name] | {"train": of[name]["train"] | rate} for name in ("far", "near")}


# What the seeds' losses are off by, the same of all that is trained.
SEEDS = (0.0, 0.02, 0.05)


def curves(seeds: tuple[float, ...] = SEEDS, **losses: list[float]) -> pd.DataFrame:
    rows = [
        ("convection", f"{name}-s{seed}", 10 * (i + 1), i + 1.0, value + off)
        for name, values in losses.items()
        for seed, off in enumerate(seeds)
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=NO_LOSSES.columns)


SLOW, FAST = [0.9, 0.8, 0.7, 0.6], [0.7, 0.5, 0.4, 0.3]
BEST = [0.4, 0.2, 0.2, 0.1]
# Each with two rates.
BOTH = {"far": SLOW, "near": FAST, "far_2": SLOW, "near_2": SLOW}


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (curves(far=SLOW, near=FAST, psgd=BEST), SUPPORTED),
        # The rate that ends better stands for the optimiser, though it begins worse.
        (curves(**BOTH, psgd=BEST, psgd_fast=[0.1, 0.9, 0.9, 0.9]), SUPPORTED),
        (curves(**BOTH, psgd=[0.9] * 4, psgd_fast=BEST), SUPPORTED),
        # The best of more is better by chance.
        (curves(far=SLOW, near=FAST, psgd=BEST, psgd_fast=SLOW), NOT_TESTED),
        (curves(**BOTH, psgd=BEST), NOT_TESTED),
        # The optimiser is better in the end, and no faster.
        (curves(far=SLOW, near=FAST, psgd=[0.7, 0.5, 0.25, 0.2]), NOT_SUPPORTED),
        # It is faster, and no better in the end.
        (curves(far=SLOW, near=FAST, psgd=[0.2, 0.2, 0.25, 0.35]), NOT_SUPPORTED),
        (curves(far=SLOW, near=SLOW, psgd=BEST), NOT_SUPPORTED),
        (curves(far=SLOW, near=FAST), NOT_TESTED),
        # One seed has no interval.
        (curves((0.0,), far=SLOW, near=FAST, psgd=BEST), NOT_TESTED),
        # No seed in common.
        (curves(far=SLOW, psgd=BEST)[:-1], NOT_TESTED),
        (NO_LOSSES, NOT_TESTED),
    ],
)
def test_convergence(tmp_path, losses, expected):
    of = study(tmp_path, autoencoders=autoencoders() | seconds())
    found = verdict(4, of, [run("solver-s0")], [], losses)
    assert found.verdict == expected


def test_convergence_tells_its_numbers(tmp_path):
    """Seeds that shift both alike leave the difference as it is: pairing makes it certain."""
    of = study(tmp_path, autoencoders=autoencoders())
    losses = curves(far=SLOW, near=FAST, psgd=BEST)
    found = verdict(4, of, [run("solver-s0")], [], losses)
    assert found.evidence == [
        "convection, initialisation: adam near identity against adam plain (near; far): validation "
        "loss 0.723 and 0.923 at step 10; 0.523 and 0.823 at step 20; 0.423 and 0.723 at step 30; "
        "0.323 and 0.623 at step 40; last less last -0.3 [-0.3, -0.3]; least within 50% of the "
        "steps less last -0.1 [-0.1, -0.1]; by seed -0.3, -0.3, -0.3 and -0.1, -0.1, -0.1",
        "convection, optimiser: soap near identity against adam near identity (psgd; near): "
        "validation loss 0.423 and 0.723 at step 10; 0.223 and 0.523 at step 20; 0.223 and 0.423 "
        "at step 30; 0.123 and 0.323 at step 40; last less last -0.2 [-0.2, -0.2]; least within "
        "50% of the steps less last -0.1 [-0.1, -0.1]; by seed -0.2, -0.2, -0.2 and -0.1, -0.1, "
        "-0.1",
    ]
    losses = curves(far=SLOW, near=FAST, psgd=BEST, psgd_fast=SLOW)
    found = verdict(4, of, [run("solver-s0")], [], losses)
    told = "(psgd, best of 2; near): not tried alike, with 2 and 1 settings of the optimiser"
    assert found.evidence[1].endswith(told)
    assert "Not tested: convection, optimiser" in found.reason


def test_convergence_is_computed_from_the_losses_of_its_rows(tmp_path):
    """The least of the first half of the steps, and the last ones, seed by seed."""
    of = study(tmp_path, autoencoders=autoencoders())
    losses = curves(far=SLOW, near=[0.3, 0.5, 0.4, 0.45])
    found = check(Results(pd.concat([run("solver-s0")]), NO_COSTS, losses, of))
    write_claims(tmp_path / "claims.json", tmp_path / "claims.csv", found, {})
    part = evidence(tmp_path / "claims.json", tmp_path / "claims.csv")[3]["parts"][0]
    assert (part["sample"], part["middle"]) == ("seed", "mean")
    soon, last, other = part["sides"]
    assert [side["name"] for side in part["sides"]] == [
        "adam near identity, least within 50% of the steps",
        "adam near identity, last",
        "adam plain, last",
    ]
    assert part["values"] == [
        (0, ["0.3", "0.45", "0.6"]),
        (1, ["0.32", "0.47", "0.62"]),
        (2, ["0.35", "0.5", "0.65"]),
    ]
    assert last["cells"] == [f"convection/near-s{seed}/history.jsonl" for seed in range(3)]
    assert other["cells"][0] == "convection/far-s0/history.jsonl"
    differences = [float(side["middle"]) - float(other["middle"]) for side in (last, soon)]
    assert differences == pytest.approx([-0.15, -0.3], abs=1e-3)
    assert "last less last -0.15 [" in part["evidence"][0]
    assert "steps less last -0.3 [" in part["evidence"][0]


@pytest.mark.parametrize(("apart", "expected"), [(0.02, SUPPORTED), (0.2, NOT_SUPPORTED)])
def test_convergence_is_judged_by_an_interval_over_seeds(tmp_path, apart, expected):
    """Where seeds differ by more than the means, nothing is supported: against scipy's test."""
    losses = curves(far=SLOW, near=FAST, psgd=BEST)
    moved = losses["autoencoder"] == "psgd-s2"
    losses.loc[moved, "valid_loss"] += apart
    of = study(tmp_path, autoencoders=autoencoders())
    found = verdict(4, of, [run("solver-s0")], [], losses)
    assert found.verdict == expected
    pair = scipy.stats.ttest_1samp([-0.2, -0.2, -0.2 + apart], 0).confidence_interval()
    text = f"[{pair.low:.3g}, {pair.high:.3g}]"
    assert f"last less last {-0.2 + apart / 3:.3g} {text}" in found.evidence[1]


def test_initialisations_are_compared_where_equal_rates_were_tried(tmp_path):
    of = autoencoders()
    of["far"]["train"] = of["far"]["train"] | {"learning_rate": 2e-3}
    losses = curves(far=SLOW, near=FAST)
    found = verdict(4, study(tmp_path, autoencoders=of), [run("solver-s0")], [], losses)
    assert found.verdict == NOT_TESTED
    assert "(near; far): not tried alike, with 1 and 1 settings" in found.evidence[0]
    of = autoencoders() | seconds()
    losses = curves(far=SLOW, near=FAST, far_2=FAST, near_2=SLOW)
    found = verdict(4, study(tmp_path, autoencoders=of), [run("solver-s0")], [], losses)
    assert len(found.evidence) == 2
    assert "(near, best of 2; far_2, best of 2)" in found.evidence[0]


def rolled_out(
    name: str, seconds: float, states: float, evaluation: float
) -> list[tuple[Any, ...]]:
    emulator = "pixel_diffusion-s0" if name == "pixel-s0" else "diffusion-s0"
    run_ = (name, emulator, "ab4")
    return [
        cost("rollout", "seconds", seconds, *run_),
        cost("rollout", "states", states, *run_),
        cost("evaluation", "seconds", evaluation, *run_),
    ]


SIMULATION = [cost("simulation", "seconds", 600), cost("simulation", "states", 100)]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    # 0.2 to 0.3 s a state, against 1 s in pixel space and 6 s of the simulator.
    [
        (
            rolled_out("c16-s0", 20, 100, 10) + rolled_out("pixel-s0", 10, 10, 1) + SIMULATION,
            SUPPORTED,
        ),
        (
            rolled_out("c16-s0", 200, 100, 1) + rolled_out("pixel-s0", 10, 10, 1) + SIMULATION,
            NOT_SUPPORTED,
        ),
        (
            rolled_out("c16-s0", 50, 100, 90) + rolled_out("pixel-s0", 10, 10, 1) + SIMULATION,
            NOT_TESTED,
        ),
        (rolled_out("c16-s0", 20, 100, 10) + SIMULATION, NOT_TESTED),
        # Slower than the simulator: no pixel-space emulator could make it the fastest.
        (rolled_out("c16-s0", 700, 100, 10) + SIMULATION, NOT_SUPPORTED),
        (rolled_out("c16-s0", 20, 100, 10) + rolled_out("pixel-s0", 10, 10, 1), NOT_TESTED),
        (rolled_out("pixel-s0", 10, 10, 1) + SIMULATION, NOT_TESTED),
    ],
)
def test_speed(tmp_path, jobs, expected):
    entry = yaml.safe_load(MINIATURE.read_text())["emulators"]["diffusion"]
    entry = entry | {"autoencoders": ["pixel"]}
    of = study(tmp_path, emulators={"pixel_diffusion": entry})
    found = verdict(5, of, [run("solver-s0")], jobs)
    assert found.verdict == expected
    assert "start-up included" in found.reason
    if expected == SUPPORTED:
        assert [line.rpartition(": ")[2] for line in found.evidence] == [
            "0.2 (not decoded)",
            "0.3",
            "1",
            "6",
        ]


def test_speed_is_of_the_first_sampler(tmp_path):
    """One of few steps, or of guidance, says nothing of what the first one costs."""
    jobs = rolled_out("c16-s0", 20, 100, 10) + rolled_out("pixel-s0", 10, 10, 1) + SIMULATION
    slow = [(*job[:4], "back", job[5], 1e6) for job in jobs if job[4]]
    entry = yaml.safe_load(MINIATURE.read_text())["emulators"]["diffusion"]
    entry["samplers"] = ["guided", "ab4", "back"]
    pixel = entry | {"autoencoders": ["pixel"]}
    of = with_guidance(tmp_path, emulators={"diffusion": entry, "pixel_diffusion": pixel})
    found = verdict(5, of, [run("solver-s0")], [*jobs, *slow])
    assert found.evidence == verdict(5, of, [run("solver-s0")], jobs).evidence
    assert found.verdict == SUPPORTED


@pytest.mark.parametrize(("stride", "expected"), [(1, NOT_SUPPORTED), (4, SUPPORTED)])
def test_a_state_of_the_simulator_is_as_far_from_the_next_as_the_emulators(
    tmp_path, stride, expected
):
    """An interval takes 2 s; a generated state, of so many intervals, 3 s."""
    values = yaml.safe_load(MINIATURE.read_text())
    entry = values["emulators"]["diffusion"] | {"autoencoders": ["pixel"]}
    flow = values["datasets"]["convection"]
    flow["evaluation"] |= {"start": 1, "horizons": [[stride, stride]]}
    flow |= {"stride": stride, "source": flow["source"] | {"steps": 24}}
    of = study(tmp_path, emulators={"pixel_diffusion": entry}, datasets={"convection": flow})
    jobs = rolled_out("c16-s0", 100, 50, 50) + rolled_out("pixel-s0", 100, 10, 1)
    jobs += [cost("simulation", "seconds", 200), cost("simulation", "states", 100)]
    found = verdict(5, of, [run("solver-s0")], jobs)
    assert f"simulator: {2 * stride}" in found.evidence[3]
    assert found.parts[1].verdict == expected


@pytest.mark.parametrize(("longer", "part"), [(0.97, SUPPORTED), (1.08, NOT_SUPPORTED)])
def test_context(tmp_path, longer, part):
    runs = [run("diffusion-s0"), run("diffusion-s0", sampler="ab4_c2", value=longer)]
    found = verdict(6, study(tmp_path), runs)
    # A half that is contradicted contradicts the claim, whether or not the other was tested.
    assert found.verdict == (NOT_SUPPORTED if part == NOT_SUPPORTED else NOT_TESTED)
    assert found.reason == f"Context: {part}. Guidance: not tested."
    assert f"ratio {longer} [{longer}, {longer}]" in found.evidence[0]
    one = verdict(6, study(tmp_path), runs[:1])
    assert one.reason.startswith("Context: not tested.")


def test_contexts_that_begin_elsewhere_forecast_other_states(tmp_path):
    runs = [run("diffusion-s0"), run("diffusion-s0", sampler="ab4_c2").assign(start=4)]
    found = verdict(6, study(tmp_path), runs)
    assert found.reason.startswith("Context: not tested.")
    assert "they begin at steps 0 and 4" in found.evidence[0]


def test_samplers_that_differ_in_more_are_no_contexts(tmp_path):
    values = yaml.safe_load(MINIATURE.read_text())["samplers"]["ab4"]
    of = study(tmp_path, samplers={"ab4_c2": values | {"context": 2, "steps": 8}})
    runs = [run("diffusion-s0"), run("diffusion-s0", sampler="ab4_c2")]
    assert "No two samplers" in verdict(6, of, runs).evidence[0]


def with_guidance(tmp_path: Path, **changes: dict[str, Any]) -> Study:
    """The miniature with a sampler that observes the truth."""
    values = yaml.safe_load(MINIATURE.read_text())["samplers"]["ab4"]
    operator = {"kind": "subsample", "factor": 4}
    guidance = {"kind": "mmps", "operator": operator, "noise": 0.1}
    return study(tmp_path, samplers={"guided": values | {"guidance": guidance}}, **changes)


@pytest.mark.parametrize(
    ("longer", "error", "expected"),
    [
        (1.0, 0.4, SUPPORTED),
        (1.0, 0.6, NOT_SUPPORTED),
        (1.2, 0.4, NOT_SUPPORTED),
        # The last horizon alone counts.
        (1.0, (0.6, 0.4), SUPPORTED),
        (1.0, (0.4, 0.6), NOT_SUPPORTED),
    ],
)
def test_guidance(tmp_path, longer, error, expected):
    guided = run("diffusion-s0", sampler="guided")
    errors = dict(zip(HORIZONS, np.broadcast_to(error, 2), strict=True))
    guided["value"] *= guided["horizon"].map(errors)
    runs = [run("diffusion-s0"), run("diffusion-s0", sampler="ab4_c2", value=longer), guided]
    found = verdict(6, with_guidance(tmp_path), runs)
    assert found.verdict == expected
    last = errors[HORIZONS[1]]
    assert f"ratio {last} [{last}, {last}]" in found.evidence[-1]
    # Without longer contexts, or without rollouts that are not guided, the half is not tested.
    half = verdict(6, with_guidance(tmp_path), [runs[0], guided])
    assert half.verdict == (NOT_SUPPORTED if last > 0.5 else NOT_TESTED)
    alone = verdict(6, with_guidance(tmp_path), [guided])
    assert alone.reason.startswith("Context: not tested. Guidance: not tested.")


def test_what_is_guided_by_the_truth_counts_in_no_other_claim(tmp_path):
    runs = compressed(1.05, 2.0)
    runs += [run("solver-s0", name, value=0.6) for name in ("c16-s0", "c64-s0")]
    runs += [run("pixel_solver-s0", "pixel-s0", value=0.7)]
    of = with_guidance(tmp_path)
    guided = [run("diffusion-s0", name, "guided", value=1e-3) for name in ("c16-s0", "c64-s0")]
    for number in (1, 2, 3, 4, 5):
        assert verdict(number, of, runs + guided) == verdict(number, of, runs)


def test_other_trajectories_are_refused(tmp_path):
    runs = compressed(1.0, 2.0)
    runs[1] = runs[1][runs[1]["trajectory"] != 3]
    with pytest.raises(LilasError, match="other trajectories or horizons"):
        verdict(1, study(tmp_path), runs)
    holes = compressed(1.0, 2.0)
    holes[1] = holes[1].drop(holes[1].index[0])
    with pytest.raises(LilasError, match="not every trajectory has every horizon"):
        verdict(1, study(tmp_path), holes)


def test_equal_contexts_are_compared(tmp_path):
    """The pixel-space solver has no second context; the latent one's must not tip the balance."""
    solver = run("solver-s0").assign(sampler="direct_c2", context=2, value=50.0)
    runs = [run("solver-s0", value=0.4), solver, run("pixel_solver-s0", "pixel-s0", "direct")]
    found = verdict(2, study(tmp_path), runs, trainings())
    assert found.evidence[0].startswith("convection, solver, compression 16: VRMSE 0.4, in pixel")
    assert found.verdict == SUPPORTED


@pytest.mark.parametrize(
    "statistic", [lambda a, b: a / b, lambda a, b: a - b, lambda a, b: (a - b) / (a + b)]
)
def test_interval_is_scipys(statistic: Callable[..., Any]):
    rng = np.random.default_rng(3)
    a = rng.gamma(4.0, size=30)
    b = a * rng.uniform(0.7, 1.1, 30)
    found = estimate(statistic, pd.Series(a), pd.Series(b))
    other = scipy.stats.bootstrap(
        (a, b),
        lambda x, y, axis: statistic(x.mean(axis), y.mean(axis)),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    width = other.high - other.low
    assert found.value == pytest.approx(statistic(a.mean(), b.mean()))
    assert abs(found.low - other.low) < 0.05 * width
    assert abs(found.high - other.high) < 0.05 * width


@settings(deadline=None, max_examples=20)
@given(st.floats(0.1, 10), st.floats(0.5, 2), st.integers(0, 2**32 - 1))
def test_paired_ratio_is_certain(scale: float, ratio: float, seed: int):
    """However trajectories differ, a constant ratio has an interval of no width."""
    a = scale * np.random.default_rng(seed).lognormal(size=12)
    found = estimate(lambda x, y: y / x, pd.Series(a), pd.Series(ratio * a))
    np.testing.assert_allclose([found.value, found.low, found.high], ratio, rtol=1e-12)


def test_ratio_to_nothing_is_refused(tmp_path):
    with pytest.raises(LilasError, match="ratio to an error of 0"):
        verdict(
            1,
            study(tmp_path),
            [
                *compressed(1, 2)[:2],
                *compressed(1, 0)[3:],
                *[run("reconstruction", "c16-s0", value=0.0)],
            ],
        )


def test_check_and_json(tmp_path):
    of = study(tmp_path)
    results = Results(pd.concat(compressed(1.05, 2.0)), NO_COSTS, NO_LOSSES, of)
    verdicts = check(results)
    assert [v.number for v in verdicts] == [1, 2, 3, 4, 5, 6]
    assert [v.verdict for v in verdicts] == [SUPPORTED, *[NOT_TESTED] * 5]
    assert all(v.claim and v.reason for v in verdicts)
    write_claims(tmp_path / "claims.json", tmp_path / "claims.csv", verdicts, {})
    entries = read_json(tmp_path / "claims.json", ("claims",))["claims"]
    read = [Verdict(**entry | {"parts": [Part(**p) for p in entry["parts"]]}) for entry in entries]
    assert read == verdicts
    # Whoever doubts a number computes it again from the values behind it.
    rows = pd.read_csv(tmp_path / "claims.csv")
    rows = rows[(rows["claim"] == 1) & (rows["part"] == verdicts[0].parts[0].name)]
    assert set(rows["sample"]) == {"trajectory"}
    sides = rows.groupby(["number", "side"])["value"].mean().unstack()
    sides = sides[["emulator, compression 64", "emulator, compression 16"]]
    ratio = estimate(lambda a, b: a / b, *(sides[name] for name in sides))
    assert f"ratio {ratio}; of the reconstruction" in verdicts[0].evidence[0]
    assert "convection/c64-s0/diffusion-s0/ab4/vrmse/10-19" in set(rows["cell"])


def test_a_side_may_have_any_name(tmp_path):
    """Texts that pandas takes for missing ones; a value that is missing is damage."""
    claims, rows = tmp_path / "claims.json", tmp_path / "claims.csv"
    part = {"name": "NA", "verdict": SUPPORTED, "evidence": []}
    write_json(claims, {"claims": [{"number": 1, "parts": [part]}]})
    head = "claim,part,side,cell,sample,number,value\n"
    rows.write_text(f"{head}1,NA,null,None,turn,0,0.5\n1,NA,nan,N/A,turn,0,0.25\n")
    told = evidence(claims, rows)[0]["parts"][0]
    assert [(side["name"], side["cells"]) for side in told["sides"]] == [
        *(("null", ["None"]), ("nan", ["N/A"])),
    ]
    assert told["values"] == [(0, ["0.5", "0.25"])]
    rows.write_text(f"{head}1,NA,null,None,turn,0,\n")
    with pytest.raises(LilasError, match="a CSV table"):
        evidence(claims, rows)


def benchmark(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t10.0\n")


def rollouts_of(folder: Path) -> None:
    """A store of 4 trajectories x 2 members x 9 states, one of them the context."""
    folder.mkdir(parents=True)
    record = provenance("rollout", {}, {})
    sizes = {"trajectory": 4, "member": 2, "time": 9, "channel": 1, "x": 2}
    stores.create(
        folder / "rollouts.zarr",
        variable="latent",
        sizes=sizes,
        chunk={},
        shard={},
        dataset=xr.Dataset(attrs={"context": 1}),
        record=record,
    )
    built = stores.partial(folder / "rollouts.zarr")
    zarr.open_array(built, path="latent", mode="r+")[:] = 1.0
    stores.finish(folder / "rollouts.zarr", folder / "rollouts.json", record)


def test_costs(tmp_path):
    of = read_study(MINIATURE)
    root, data = tmp_path / "root", tmp_path / "data"
    source = of.datasets["convection"].source
    benchmarks = data / source.folder / "rayleigh_benard" / "benchmarks"
    benchmark(benchmarks / "simulate_Rayleigh_2e4.tsv", 30.0)
    benchmark(benchmarks / "simulate_Rayleigh_5e4.tsv", 34.0)
    latent = "convection/c16-s0/diffusion-s0"
    benchmark(root / "benchmarks" / f"{latent}/emulator.tsv", 11.0)
    benchmark(root / "benchmarks" / f"{latent}/ab4/rollout.tsv", 12.0)
    benchmark(root / "benchmarks/convection/c16-s0/autoencoder.tsv", 14.0)
    state = {"weight": torch.zeros(3, 5), "bias": torch.zeros(3), "scale": torch.zeros(())}
    (root / latent).mkdir(parents=True)
    write_weights(root / latent / "weights.safetensors", state, {})
    rollouts_of(root / latent / "ab4")
    # Of the file itself: a job that keeps it has a benchmark of its own.
    metadata = {"seconds": "13.0"}
    pq.write_table(
        pa.table({}).replace_schema_metadata(metadata), root / latent / "ab4/metrics.parquet"
    )
    table = costs(of, root, data)
    found = {tuple(row[:-1]): row[-1] for row in table.itertuples(index=False)}
    run_ = ("convection", "c16-s0", "diffusion-s0")
    # 2 Rayleigh numbers of 1 Prandtl number and 7 trajectories each: 2 / 0.25 intervals of spin-up
    # and 11 between 12 states.
    assert found == {
        ("simulation", "convection", "", "", "", "seconds"): 64.0,
        ("simulation", "convection", "", "", "", "states"): 2 * 7 * (8 + 11),
        ("autoencoder", "convection", "c16-s0", "", "", "seconds"): 14.0,
        ("emulator", *run_, "", "seconds"): 11.0,
        ("emulator", *run_, "", "parameters"): 15 + 3 + 1,
        ("rollout", *run_, "ab4", "seconds"): 12.0,
        ("rollout", *run_, "ab4", "states"): 4 * 2 * 8,
        ("evaluation", *run_, "ab4", "seconds"): 13.0,
    }
    speed = verdict(5, of, [run("solver-s0")], list(table.itertuples(index=False)))
    assert "convection: seconds per state, latent diffusion: 0.188 (not decoded)" in speed.evidence
    # Of rollouts in parts, all jobs count, and only where all of them ran here.
    cut = {f"{latent}/ab4/rollouts.json": {"parts": 2, "most": 4}}
    (root / "study.json").write_text(json.dumps({"cuts": cut}))
    for name, seconds in (("create", 1.0), ("1of2", 5.0), ("2of2", 6.0)):
        assert "rollout" not in set(costs(of, root, data).query("quantity == 'seconds'")["kind"])
        benchmark(root / "benchmarks" / f"{latent}/ab4/rollout_{name}.tsv", seconds)
    table = costs(of, root, data).query("kind == 'rollout' and quantity == 'seconds'")
    assert table["value"].tolist() == [12.0 + 1.0 + 5.0 + 6.0]
    (benchmarks / "simulate_Rayleigh_5e4.tsv").write_text("t\n1\n")
    with pytest.raises(LilasError, match="seconds in column s"):
        costs(of, root, data)


def test_validation_losses(tmp_path):
    of = read_study(MINIATURE)
    path = tmp_path / "convection" / "c16-s0" / "history.jsonl"
    path.parent.mkdir(parents=True)
    lines = [{"step": 1, "loss": 3.0, "skipped": 0}, {"step": 4, "loss": 2.0, "skipped": 0}]
    lines[1] |= {"valid_loss": 2.5, "seconds": 0.5}
    path.write_text("\n".join(map(json.dumps, lines)))
    found = validation_losses(of, tmp_path)
    assert found.values.tolist() == [["convection", "c16-s0", 4, 0.5, 2.5]]
    path.write_text('{"step": 1, "lo')
    with pytest.raises(LilasError, match="line 1"):
        validation_losses(of, tmp_path)
