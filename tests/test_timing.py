"""What states cost: FLOPs by closed forms, turns by a clock that is known, and the stage."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
import yaml
from torch import nn

import test_claims
from lilas.errors import LilasError
from lilas.evaluation.uncertainty import median_interval
from lilas.files import read_json, write_json
from lilas.models import timing
from lilas.models.build import make_autoencoder, make_emulator
from lilas.models.timing import (
    Piece,
    coding,
    count_flops,
    emulation,
    generation,
    measure,
    simulation,
)
from lilas.nn.vit import Transformer
from lilas.plan import check_simulators
from lilas.records.provenance import provenance
from lilas.records.timings import read_timings, write_timings
from lilas.report.claims import CLAIMS, write_claims
from lilas.report.costs import COSTS
from lilas.report.evidence import evidence
from lilas.report.paired import NOT_SUPPORTED, SUPPORTED, Results, Verdict
from lilas.report.speed import median, read_published, runs, speed_tables
from lilas.study.entries import SamplerEntry
from lilas.study.networks import TransformerSettings
from lilas.study.read import read_study
from lilas.systems.rayleigh_benard import RayleighBenard
from lilas.systems.rayleigh_benard_solver import simulate
from lilas.systems.runs import carried_on

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]

# --- FLOPs ------------------------------------------------------------------------------------


@torch.inference_mode()
def test_flops_by_closed_forms():
    """A multiplication and an addition are two; in inference mode too, in which rollouts run."""
    x, y = torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: x @ y) == 2 * 3 * 5 * 7
    linear = nn.Linear(5, 11)
    assert count_flops(lambda: linear(x)) == 2 * 3 * 5 * 11
    conv, states = nn.Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 8, 6)
    assert count_flops(lambda: conv(states)) == 2 * (2 * 4 * 8 * 6) * (3 * 3 * 3)
    q = torch.randn(2, 4, 10, 8)
    attended = count_flops(lambda: F.scaled_dot_product_attention(q, q, q))
    assert attended == 2 * (2 * 2 * 4 * 10 * 10 * 8)


def test_flops_of_a_transformer():
    channels, blocks, inputs, axes, (time, points) = 16, 3, 4, 2, (5, 6)
    model = Transformer(
        *(inputs, inputs), channels=channels, blocks=blocks, heads=2, axes=axes, embedding=None
    )
    tokens, square = time * points, channels**2
    ends = 2 * tokens * inputs * channels
    block = tokens * (3 + 1 + 8) * square + 2 * tokens**2 * channels
    # The linear layer of the positions is taken axis by axis.
    position = (time + points) * square
    x = torch.randn(1, inputs, time, points)
    assert count_flops(lambda: model(x)) == 2 * (ends + blocks * block + position)


SIZES = {
    "rayleigh_benard": ("f32c64", (4, 512, 128), ("x", "y"), (5, 16, 4)),
    "euler_multi_quadrants": ("f32c64", (5, 512, 512), ("x", "y"), (5, 16, 16)),
    "turbulence_gravity_cooling": ("f8c64", (6, 64, 64, 64), ("x", "y", "z"), (5, 8, 8, 8)),
}


@pytest.mark.parametrize("dataset", SIZES)
def test_flops_of_the_papers_models(dataset):
    """The paper's networks at their full size, without memory; counted of the official code.

    That was counted without the attention that the released Euler autoencoders have. The official
    denoiser takes the linear layer of the positions of every token; ours takes it axis by axis,
    with the same result, and so has 1.2 to 1.6 % fewer.
    """
    entry, shape, axes, grid = SIZES[dataset]
    study = read_study(ROOT / "workflow" / "studies" / "paper.yaml")
    expected = pd.read_csv(ROOT / "tests" / "data" / "flops.csv").set_index("system").loc[dataset]
    meta = torch.device("meta")
    settings = study.resolve("autoencoders", entry, dataset).model
    settings = settings.model_copy(update={"attention_heads": {}})
    emulator = study.resolve("emulators", "diffusion", dataset).model
    sampler = study.samplers["ab16_c1"]
    with meta:
        autoencoder = make_autoencoder(settings, shape[0], axes).eval()
        model = make_emulator(emulator, 64, 8, len(axes)).eval()
    for piece in coding(autoencoder, shape, meta):
        tflop = count_flops(piece.make(1)) / 1e12
        assert tflop == pytest.approx(expected["encode_or_decode_tflop"], rel=0.005)
    window = generation(model, (64, *grid[1:]), 8, emulator, sampler, meta)
    tflop = count_flops(window.make(1)) / 1e12 / 16
    assert tflop == pytest.approx(expected["denoiser_five_states_tflop"], rel=0.02)
    saved = len(grid) * math.prod(grid) - sum(grid)
    tflop += 2 * saved * emulator.network.channels**2 / 1e12
    assert tflop == pytest.approx(expected["denoiser_five_states_tflop"], rel=0.005)


# --- Turns ------------------------------------------------------------------------------------


class Clock:
    """A clock that goes on only when something is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def recorded(clock: Clock, took: dict[str, list[float]]) -> tuple[list[Piece], list[str]]:
    """Pieces whose calls take what they are told, one after the other; and who was called."""
    order: list[str] = []

    def make(name: str) -> Piece:
        seconds = iter(took[name])

        def call() -> None:
            order.append(name)
            clock.now += next(seconds)

        return Piece(name, lambda _: call, 2, 5, {"emulator": f"{name}-s0"}, counted=False)

    return [make(name) for name in took], order


def test_turns_go_forwards_and_backwards_and_the_first_calls_do_not_count():
    clock = Clock()
    # Compilation, say, in the first call; the second still allocates.
    took = {"A": [9, 7, *range(1, 7)], "B": [9, 7, *range(11, 17)], "C": [9, 7, *range(21, 27)]}
    pieces, order = recorded(clock, took)
    rows = measure(pieces, CPU, turns=6, clock=clock)
    warm = ["A", "A", "B", "B", "C", "C"]
    assert order == warm + [*"ABC", *"CBA"] * 3
    for row, (name, seconds) in zip(rows, took.items(), strict=True):
        assert row["kind"], row["emulator"] == (name, f"{name}-s0")
        # Ten states in a call: two of a batch, five of each.
        assert (row["batch"], row["states"]) == (2, 10)
        assert row["seconds"] == [value / 10 for value in seconds[2:]]
        assert row["flops"] is row["memory"] is row["parameters"] is None


def test_short_calls_are_repeated():
    clock = Clock()
    short = timing.LEAST / 4
    pieces, order = recorded(clock, {"A": [short] * 40, "B": [1.0] * 20})
    rows = measure(pieces, CPU, turns=6, clock=clock)
    assert order.count("A") == timing.WARM_UP + 6 * 4
    assert order.count("B") == timing.WARM_UP + 6
    assert rows[0]["seconds"] == pytest.approx([short / 10] * 6)


class Told(nn.Module):
    """A model that tells whether it was training."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.modes = nn.Parameter(torch.ones(3, 4)), []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        return x @ self.weight


def test_models_train_where_they_train_and_flops_are_of_a_state():
    model, clock = Told(), Clock()

    def make(count: int) -> timing.Call:
        x = torch.ones(count, 3)

        def call() -> None:
            clock.now += 1
            model(x)

        return call

    pieces = [
        Piece("gradient", make, 8, model=model, trains=True, counted=False),
        Piece("rollout", make, 8, 4, model=model),
    ]
    rows = measure(pieces, CPU, turns=6, clock=clock)
    # Counted once, warm twice, then in turns: T F, F T, ...
    assert model.modes == [False, True, True, False, False, *[True, False, False, True] * 3]
    assert [row["flops"] for row in rows] == [None, 2 * 3 * 4 / 4]
    assert [row["parameters"] for row in rows] == [12, 12]


@pytest.mark.parametrize("count", [6, 7, 9, 20, 50])
def test_the_interval_of_a_median_is_the_narrowest_that_holds_it(count):
    low, high = median_interval(np.random.default_rng(0).permutation(count).astype(float))
    below = int(low)
    assert low + high == count - 1
    # The median is outside where at most `below` values lie on one side of it.
    assert 2 * scipy.stats.binom.cdf(below, count, 0.5) <= 0.05
    assert 2 * scipy.stats.binom.cdf(below + 1, count, 0.5) > 0.05


def test_an_interval_of_five_turns_is_refused():
    with pytest.raises(LilasError, match="takes 6 values, found 5"):
        median_interval(np.arange(5.0))


# --- Pieces -----------------------------------------------------------------------------------

SAMPLER = {"algorithm": "ab", "order": 2, "steps": 3, "members": 3, "batch_size": 7, "overlap": 2}


def small(method: str, compiled: bool = False) -> tuple[nn.Module, Any]:
    study = read_study(ROOT / "tests" / "data" / "miniature.yaml")
    settings = study.resolve("emulators", method, "convection").model
    network = TransformerSettings(channels=8, blocks=1, heads=2, embedding=8)
    train = settings.train.model_copy(update={"compile": compiled})
    settings = settings.model_copy(update={"network": network, "train": train})
    return make_emulator(settings, 3, 2, 2), settings


def test_a_window_is_the_samplers_batch_and_its_new_states():
    sampler = SamplerEntry(**SAMPLER, crop=4)
    pieces = emulation(lambda: small("diffusion"), (3, 4, 2), 2, {"ab3": sampler}, CPU)
    rollout, gradient = pieces
    # Two trajectories of three members; of four states kept, two were given.
    assert (rollout.kind, rollout.batch, rollout.states) == ("rollout", 6, 2)
    assert rollout.names == {"method": "diffusion", "sampler": "ab3"}
    assert (gradient.kind, gradient.batch, gradient.states) == ("gradient", 4, 1)
    # Eight steps of four windows.
    assert gradient.names["windows"] == 32
    evaluations = []
    backbone = rollout.model.backbone
    backbone.register_forward_hook(lambda _, x, y: evaluations.append(len(y)))
    rollout.make(6)()
    assert evaluations == [6] * 3
    gradient.make(4)()
    assert evaluations[3:] == [4]
    assert all(p.grad is None for p in backbone.parameters())


def test_what_one_piece_compiles_is_not_compiled_for_another():
    loaded = []

    def load() -> tuple[nn.Module, Any]:
        loaded.append(small("diffusion", compiled=True))
        return loaded[-1]

    samplers = {
        name: SamplerEntry(**SAMPLER, compile=compiled)
        for name, compiled in (("a", False), ("b", True), ("c", False))
    }
    pieces = emulation(load, (3, 4, 2), 2, samplers, CPU)
    assert len(loaded) == 2
    models = [piece.model for piece in pieces]
    assert models[0] is models[2] is not models[1]
    assert models[3] is models[1]
    assert [piece.compiled is not None for piece in pieces] == [False, True, False, True]


def test_pixel_space_has_nothing_to_code():
    study = read_study(ROOT / "tests" / "data" / "miniature.yaml")
    model = make_autoencoder(study.autoencoders["pixel"].model, 4, ("x", "y"))
    assert coding(model, (4, 32, 16), CPU) == []


@pytest.mark.parametrize(("intervals", "after"), [(1, 4), (2, 5), (4, 7)])
def test_a_run_is_carried_on_from_its_middle_each_time(intervals, after):
    call = carried_on(0, lambda state: state + 1, 7, intervals)
    assert [call() for _ in range(3)] == [after] * 3


@pytest.mark.parametrize("stride", [1, 2])
def test_the_simulator_that_is_timed_makes_a_state_as_far_on_as_the_emulators(stride):
    """A stride of intervals from the middle of a trajectory, and so with each call."""
    values = read_study(ROOT / "tests" / "data" / "miniature.yaml").datasets["convection"].source
    settings = RayleighBenard.model_validate(values.model_dump() | {"start": 0.0, "steps": 4})
    piece = simulation(settings, stride)
    assert (piece.batch, piece.states) == (settings.trajectories.total, 1)
    expected = simulate(
        rayleigh=settings.rayleigh[0],
        prandtl=settings.prandtl[0],
        size=settings.size,
        time_step=settings.time_step,
        start=0.0,
        interval=settings.interval,
        steps=3 + stride,
        trajectories=piece.batch,
        seed=settings.seed,
    )
    call = piece.make(piece.batch)
    for _ in range(2):
        buoyancy, velocity, pressure = call()
        np.testing.assert_array_equal(buoyancy, expected.buoyancy[:, 2 + stride])
        np.testing.assert_array_equal(velocity, expected.velocity[:, 2 + stride])
        np.testing.assert_array_equal(pressure, expected.pressure[:, 2 + stride])


# --- Files and Table 1 ------------------------------------------------------------------------

TURNS = np.array([1.0, 1.1, 0.9, 1.2, 1.0, 1.3])
LATENT = {"autoencoder": "c16-s0", "compression": 16.0}
PIXEL = {"autoencoder": "pixel-s0", "compression": 1.0}


def row(kind: str, seconds: float, **more: Any) -> dict[str, Any]:
    sizes = {"batch": 2, "states": 8}
    return {"kind": kind, **sizes, "flops": 1e9, "seconds": (seconds * TURNS).tolist()} | more


def rows(latent: float = 0.1, decode: float = 0.05, pixel: float = 1.0) -> list[dict[str, Any]]:
    diffusion = {"method": "diffusion", "sampler": "ab4"}
    solver = {"method": "solver", "sampler": "direct", "emulator": "pixel_solver-s0"}
    return [
        row("encode", 0.04, **LATENT),
        # Slow in the turns in which the rollout is fast.
        row("decode", decode, **LATENT) | {"seconds": (decode * TURNS[::-1]).tolist()},
        row("rollout", latent, **LATENT, **diffusion, emulator="diffusion-s0", flops=3e9),
        row("gradient", 2.0, **LATENT, method="solver", emulator="solver-s0", windows=10),
        row("rollout", pixel, **PIXEL, **diffusion, emulator="pixel_diffusion-s0"),
        row("rollout", 0.02, **PIXEL, **solver, memory=5e6),
        row("gradient", 4.0, **PIXEL, method="solver", emulator="pixel_solver-s0", windows=10),
        row("simulation", 3.0, batch=5, flops=None),
        row("matmul", 0.01),
    ]


def write(path: Path, dataset: str, found: list[dict[str, Any]]) -> Path:
    machine = {"device": "a known one", "threads": 2, "turns": len(TURNS)}
    write_timings(path, dataset, found, machine, provenance("timing", {}, {}))
    return path


def test_a_state_is_rolled_out_and_decoded_turn_by_turn(tmp_path):
    table = runs(read_timings([write(tmp_path / "timing.json", "flow", rows())]))
    latent = table[table["autoencoder"] == "c16-s0"].iloc[0]
    np.testing.assert_allclose(latent["timing_state"], 0.1 * TURNS + 0.05 * TURNS[::-1])
    np.testing.assert_allclose(latent["timing_rollout"], 0.1 * TURNS)
    np.testing.assert_allclose(latent["timing_encode"], 0.04 * TURNS)
    assert latent["timing_gflop"].tolist() == [4.0]
    # 3 GFLOP in 0.1 s where the device makes 1 in 0.01.
    np.testing.assert_allclose(latent["timing_share"], [0.3] * 6)
    pixel = table[table["emulator"] == "pixel_solver-s0"].iloc[0]
    np.testing.assert_allclose(pixel["timing_state"], 0.02 * TURNS)
    assert pixel["timing_decode"] is None
    assert pixel["timing_memory"].tolist() == [5.0]
    simulator = table[table["method"] == "simulator"].iloc[0]
    np.testing.assert_allclose(simulator["timing_state"], 3.0 * TURNS)
    assert simulator["timing_gflop"] is None


def test_table_1_has_the_papers_numbers_beside_those_of_its_data(tmp_path):
    files = [write(tmp_path / f"{name}.json", name, rows()) for name in ("gas", "flow")]
    tables = speed_tables(read_timings(files), {"gas": "euler_multi_quadrants"})
    gas, flow = tables
    assert [list(line.heads) for line in gas.rows] == [
        ["simulator", "-", "-", "-", "5"],
        ["diffusion", "1", "pixel-s0 pixel_diffusion-s0", "ab4", "2"],
        ["diffusion", "16", "c16-s0 diffusion-s0", "ab4", "2"],
        ["solver", "1", "pixel-s0 pixel_solver-s0", "direct", "2"],
    ]
    beside = [dict(line.cells[0].beside) for line in gas.rows]
    assert beside == [{"paper": value} for value in (10, 1, 0.084, 0.056)]
    assert all(not cell.beside for line in flow.rows for cell in line.cells if cell)
    assert "arXiv 2507.02608" in gas.note
    assert "2507.02608" not in flow.note
    assert "a known one, on 2 CPU threads: the median of 6 turns" in flow.note
    first = gas.rows[3].cells[gas.columns.index("seconds per state")]
    assert (first.value, first.low, first.high) == pytest.approx((0.021, 0.018, 0.026))
    assert first.name == "gas/pixel-s0/pixel_solver-s0/direct/timing_state"


def test_the_papers_seconds_are_packaged():
    found = read_published()
    assert len(found) == 5
    assert found["euler_multi_quadrants", "neural_solver", "latent"] == 0.013


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "nap"}, "rows of rollout"),
        ({"seconds": [1.0] * 5}, "6 positive seconds"),
        ({"seconds": [1.0] * 5 + [0.0]}, "6 positive seconds"),
        ({"seconds": "long"}, "6 positive seconds"),
    ],
)
def test_damaged_timings_are_refused(tmp_path, change, words):
    path = write(tmp_path / "timing.json", "flow", rows())
    value = read_json(path)
    value["rows"][2] |= change
    write_json(path, value)
    with pytest.raises(LilasError, match=words) as told:
        read_timings([path])
    assert len(str(told.value).splitlines()) == 1


# --- Claims 2 and 5 ---------------------------------------------------------------------------


def verdict(tmp_path: Path, number: int, found: list[dict[str, Any]]) -> Verdict:
    """The verdict on the miniature, with diffusion in pixel space, after such a timing."""
    entry = yaml.safe_load(test_claims.MINIATURE.read_text())["emulators"]["diffusion"]
    entry = entry | {"autoencoders": ["pixel"]}
    of = test_claims.study(tmp_path, emulators={"pixel_diffusion": entry})
    summary = [
        test_claims.run("solver-s0", value=0.4),
        test_claims.run("pixel_solver-s0", "pixel-s0", "direct", value=0.5),
    ]
    jobs = [
        *test_claims.trainings(faster=3),
        test_claims.cost("autoencoder", "seconds", 1234, "c16-s0"),
    ]
    costs = pd.DataFrame(jobs, columns=COSTS)
    timings = read_timings([write(tmp_path / "timing.json", "convection", found)])
    summary = pd.concat(summary, ignore_index=True)
    return CLAIMS[number](Results(summary, costs, test_claims.NO_LOSSES, of, timings))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({}, ("supported", "supported")),
        # As fast as pixel space without its decoding, but for what the turns differ by.
        ({"latent": 1.0, "decode": 0.05}, ("not supported", "supported")),
        # Faster in the median, 0.99, and not in every turn: up to 1.02.
        ({"latent": 0.9, "decode": 0.09}, ("not supported", "supported")),
        ({"latent": 3.0, "pixel": 20.0}, ("supported", "not supported")),
    ],
)
def test_latent_diffusion_is_fast_where_the_ratio_is_below_1(tmp_path, seconds, expected):
    found = verdict(tmp_path, 5, rows(**seconds))
    assert found.verdict == ("supported" if set(expected) == {"supported"} else "not supported")
    head = "convection, compression 16, c16-s0/diffusion-s0, ab4, against"
    for name, word in zip(("pixel space", "the simulator"), expected, strict=True):
        told = re.search(rf"({word}): [^.]*{head} {name}", found.reason, re.IGNORECASE)
        assert told is not None
    assert "whole jobs" not in found.reason
    if not seconds:
        # 0.15 s in all but for the turns, of 1 and of 3.
        assert "of pixel space 1.05 [0.9, 1.3], ratio 0.1" in found.evidence[0]
        assert "of the simulator 3.15 [2.7, 3.9], ratio 0.0" in found.evidence[1]
        cells = "convection/c16-s0/diffusion-s0/ab4/timing_state and convection/timing_state)"
        assert found.evidence[1].endswith(cells)


def test_each_emulator_is_held_against_each_in_pixel_space(tmp_path):
    """By names of its own, also where two have one compression and one sampler."""
    more = {"method": "diffusion", "sampler": "ab4"}
    found = [
        *rows(),
        row("rollout", 2.0, **LATENT, **more, emulator="wide-s0"),
        row("rollout", 0.01, **PIXEL, **more, emulator="pixel_small-s0"),
    ]
    told = verdict(tmp_path, 5, found)
    head = "convection, compression 16, c16-s0"
    pixel = [f"pixel space (pixel-s0/pixel_{name}-s0)" for name in ("diffusion", "small")]
    assert {part.name: part.verdict for part in told.parts} == {
        f"{head}/diffusion-s0, ab4, against {pixel[0]}": SUPPORTED,
        f"{head}/diffusion-s0, ab4, against {pixel[1]}": NOT_SUPPORTED,
        f"{head}/diffusion-s0, ab4, against the simulator": SUPPORTED,
        f"{head}/wide-s0, ab4, against {pixel[0]}": NOT_SUPPORTED,
        f"{head}/wide-s0, ab4, against {pixel[1]}": NOT_SUPPORTED,
        f"{head}/wide-s0, ab4, against the simulator": SUPPORTED,
    }
    assert len(told.parts) == 6


@pytest.mark.parametrize(
    ("number", "place", "sides", "cells"),
    [
        (
            5,
            0,
            ["latent diffusion", "pixel space"],
            [
                "convection/c16-s0/diffusion-s0/ab4/timing_state",
                "convection/pixel-s0/pixel_diffusion-s0/ab4/timing_state",
            ],
        ),
        (
            2,
            2,
            ["latent", "pixel space"],
            [
                "convection/timing.json: c16-s0/solver-s0",
                "convection/timing.json: pixel-s0/pixel_solver-s0",
            ],
        ),
    ],
)
def test_ratios_as_timed_are_computed_from_the_turns_of_their_rows(
    tmp_path, number, place, sides, cells
):
    found = rows()
    # The turns of one side alone, so that the ratio has an interval.
    found[3]["seconds"] = found[3]["seconds"][::-1]
    told = verdict(tmp_path, number, found)
    part = told.parts[place]
    assert set(part.rows["sample"]) == {"turn"}
    assert [list(dict.fromkeys(part.rows[name])) for name in ("side", "cell")] == [sides, cells]
    table = part.rows.pivot(index="number", columns="side", values="value")[sides]
    assert table.index.tolist() == list(range(6))
    assert f"ratio {median(table[sides[0]] / table[sides[1]])}" in part.evidence[0]
    write_claims(tmp_path / "claims.json", tmp_path / "claims.csv", [told], {})
    shown = evidence(tmp_path / "claims.json", tmp_path / "claims.csv")[0]["parts"][place]
    assert [side["middle"] for side in shown["sides"]] == [
        f"{value:.4g}" for value in table.median()
    ]


def test_without_diffusion_in_pixel_space_that_part_is_not_tested(tmp_path):
    kept = [one for one in rows() if one.get("emulator") != "pixel_diffusion-s0"]
    found = verdict(tmp_path, 5, kept)
    assert found.verdict == "not tested"
    assert "convection: pixel space not timed" in found.reason
    kept = [one for one in kept if one.get("method") != "diffusion"]
    found = verdict(tmp_path, 5, kept)
    assert (found.verdict, "latent diffusion not timed" in found.reason) == ("not tested", True)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, SUPPORTED), (2.5, NOT_SUPPORTED)])
def test_trainings_are_compared_as_timed(tmp_path, factor, expected):
    """Whole jobs say that the latent one took longer; they are not asked."""
    found = rows()
    found[3]["seconds"] = [factor * value for value in found[3]["seconds"]]
    told = verdict(tmp_path, 2, found)
    assert told.verdict == expected
    # Ten windows of 2.1 s, in the median.
    assert f"as timed, {21 * factor:.3g} [" in told.evidence[2]
    assert f"ratio {factor / 2:g} [{factor / 2:g}, {factor / 2:g}]" in told.evidence[2]
    assert "whole jobs" not in told.reason
    beside = "; the autoencoder, not counted, 1,234 (its whole job)"
    assert told.evidence[2].endswith(beside)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"timing": {"turns": 5}}, "timing.turns"),
        ({"timing": {"turn": 9}}, "timing.turn"),
        ({"timing": {}, "emulators": {}}, "timing: there are no emulators"),
    ],
)
def test_a_timing_that_cannot_be_is_refused(tmp_path, asked, words):
    values = yaml.safe_load(test_claims.MINIATURE.read_text()) | asked
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(LilasError, match=re.escape(words)) as told:
        read_study(tmp_path / "study.yaml")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(("timing", "stepper"), [(None, "a:b"), ({}, ""), ({}, "a:b")])
def test_a_simulator_that_is_to_be_timed_is_installed(tmp_path, monkeypatch, timing, stepper):
    """Where the data are there it is not needed for them."""
    values = yaml.safe_load(test_claims.MINIATURE.read_text()) | {"timing": timing}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    study, data = read_study(tmp_path / "study.yaml"), tmp_path / "data.hdf5"
    data.touch()
    files = {"convection": {"train": [str(data)]}}
    monkeypatch.setattr(RayleighBenard, "requires", {"nowhere_to_be_found": "make it"})
    monkeypatch.setattr(RayleighBenard, "stepper", stepper)
    if timing is None or not stepper:
        check_simulators(study, files)
        return
    with pytest.raises(LilasError, match="nowhere_to_be_found, which is not installed"):
        check_simulators(study, files)


# --- The pipeline -----------------------------------------------------------------------------


def test_a_study_that_asks_for_it_is_timed(miniature, tmp_path):
    """Nothing else is made again, but what is made of it; and the verdicts rest on it."""
    pipeline = miniature.copy(tmp_path / "copy")
    text = pipeline.study.read_text()
    pipeline.study.write_text(f"{text}\ntiming: {{turns: 6}}\n")
    made = {"timing": 1, "tables": 1, "claims": 1, "figures": 1, "report": 1}
    assert pipeline.planned() == made
    pipeline.run()
    assert pipeline.planned() == {}
    table = pd.read_csv(pipeline.results / "tables" / "table1_inference_time.csv")
    assert set(table["model"]) == {
        "-",
        *("c16-s0 diffusion-s0", "c16-s0 solver-s0", "pixel-s0 pixel_solver-s0"),
    }
    assert (table["value"] > 0).all()
    timed = read_json(pipeline.results / "convection" / "timing.json", ("rows", "provenance"))
    assert timed["provenance"]["config"]["stride"] == 1
    claims = json.loads((pipeline.results / "claims.json").read_text())["claims"]
    assert "pixel space not timed" in claims[4]["reason"]
    assert "of the simulator" in claims[4]["evidence"][1]
    assert any("losses and gradients as timed" in line for line in claims[1]["evidence"])
    assert "whole jobs" not in claims[1]["reason"] + claims[4]["reason"]
    page = (pipeline.results / "report.html").read_text(encoding="utf-8")
    assert "as in the paper's Table 1" in page or "as in the paper&#39;s Table 1" in page
