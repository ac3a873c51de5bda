"""Temperatures chosen on the validation split: known Gaussians, scoringrules, and the miniature."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scoringrules
import torch
import xarray as xr
from torch import nn

from lilas.errors import LilasError
from lilas.evaluation.tuning import score_temperatures, validation_span
from lilas.inspect.kinds import inspect
from lilas.models.rollout import ensemble
from lilas.plan.room import Job, Sizes
from lilas.plan.work import Works
from lilas.records.provenance import provenance
from lilas.records.temperatures import (
    choose,
    read_temperature,
    read_temperatures,
    tuned,
    write_temperature,
)
from lilas.report.calibration import calibration_tables
from lilas.study.datasets import Evaluation
from lilas.study.entries import SamplerEntry
from lilas.study.leads import reached
from lilas.study.read import read_study
from test_inspect import stage

MINIATURE = Path(__file__).with_name("data") / "miniature.yaml"
# The system: every state is DECAY times the one before and noise of deviation NOISE; of the second
# channel all is SCALE times as much.
DECAY, NOISE, SCALE = 0.9, 0.5, torch.tensor([1.0, 1000.0])
# The emulator's noise, which is too small by a known factor.
LACKING = 1.25
CANDIDATES = [0.8, 1.0, LACKING, 1.5]


class Latents:
    """Trajectories of the system, from its stationary law."""

    def __init__(self, trajectories=24, steps=9, points=32):
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(steps, trajectories, 2, points))
        states = [noise[0] * NOISE / math.sqrt(1 - DECAY**2)]
        for one in noise[1:]:
            states.append(DECAY * states[-1] + NOISE * one)
        self.states = np.stack(states, 1) * SCALE.numpy()[:, None]
        self.states = self.states.astype(np.float32)
        self.trajectories, self.steps = trajectories, np.full(trajectories, steps)
        self.shape, self.labels = (2, points), np.zeros((trajectories, 1), np.float32)

    def read(self, row, steps=slice(None)):
        return self.states[row, steps]


class Emulator(nn.Module):
    """The system, a state at a time, with noise that is too small; beyond a warmth it diverges."""

    def __init__(self, diverges=math.inf):
        super().__init__()
        self.diverges = diverges

    def stepper(self, label, sampler, draws):
        def step(window):
            found = window.known.clone()
            noise = draws.normal(found) * NOISE / LACKING * SCALE.view(-1, 1, 1)
            for i in range(int(window.mask[0].sum()), found.shape[2]):
                found[:, :, i] = DECAY * found[:, :, i - 1] + noise[:, :, i]
            return found * (math.nan if sampler.temperature > self.diverges else 1)

        return step


def sampler(**options):
    default = {"algorithm": "ddim", "members": 8, "batch_size": 64, "tune_temperature": CANDIDATES}
    return SamplerEntry(**default | options)


SETTINGS = SimpleNamespace(window=3, context_noise=0)
OPTIONS = {"settings": SETTINGS, "stride": 2, "device": torch.device("cpu")}


def scored(emulator, source, entry, steps=range(9)):
    how = {"rows": list(range(source.trajectories)), "steps": steps, "sampler": entry}
    return score_temperatures(emulator, source, **how, **OPTIONS)


def test_noise_that_is_too_small_by_a_known_factor_is_mended():
    """Its ensembles are Gaussians about the true mean: CRPS, error and spread are closed forms."""
    source = Latents()
    rows, diverged = scored(Emulator(), source, sampler())
    assert diverged == []
    assert choose(rows) == LACKING
    table = pd.DataFrame(rows)
    assert table["lead_time"].unique().tolist() == [2 * i for i in range(1, 9)]
    unit = source.states[:, 1:].std((0, 1, 3)).mean() / SCALE.mean().item()
    for row in rows:
        # States of so many steps of noise; the emulator's have another deviation.
        steps = row["lead_time"] // 2
        true = NOISE * math.sqrt(sum(DECAY ** (2 * k) for k in range(steps))) / unit
        own = row["temperature"] / LACKING * true
        crps = math.hypot(true, own) * math.sqrt(2 / math.pi) - own / math.sqrt(math.pi)
        assert row["crps"] == pytest.approx(crps, rel=0.06)
        assert row["rmse"] == pytest.approx(math.sqrt(true**2 + own**2 / 8), rel=0.06)
        # The spread is that of an honest ensemble of eight: its error has the mean's own part.
        assert row["spread"] == pytest.approx(own * math.sqrt(9 / 8), rel=0.06)
    best = table[table["temperature"] == LACKING]
    assert (best["spread"] / best["rmse"]).mean() == pytest.approx(1, abs=0.05)


def test_the_score_is_that_of_scoringrules():
    """Fair CRPS of each channel in units of its deviation over the states that are forecast."""
    source, entry = Latents(trajectories=5, points=7), sampler(members=3, batch_size=6)
    rows, _ = scored(Emulator(), source, entry, steps=range(1, 6))
    truth = torch.from_numpy(source.states[:, 2:6])
    unit = truth.double().numpy().std((0, 1, 3), keepdims=True)
    found = {(row["temperature"], row["lead_time"]): row["crps"] for row in rows}
    assert len(found) == 4 * len(CANDIDATES)
    for temperature in CANDIDATES:
        members = ensemble(
            Emulator(),
            torch.from_numpy(source.states[:, 1:2]),
            torch.zeros(5, 1),
            range(5),
            states=5,
            settings=SETTINGS,
            sampler=entry.model_copy(update={"temperature": temperature}),
        )[:, :, 1:]
        crps = scoringrules.crps_ensemble(
            truth.numpy() / unit, members.double().numpy() / unit[:, None], 1, estimator="fair"
        ).mean((0, 2, 3))
        own = [found[temperature, 2 * lead] for lead in range(1, 5)]
        np.testing.assert_allclose(own, crps, rtol=1e-5)


def test_what_diverges_is_not_chosen_and_a_channel_that_never_changes_counts_as_it_is():
    source = Latents()
    source.states[:, :, 0] = 3.0
    rows, diverged = scored(Emulator(diverges=1.1), source, sampler())
    assert diverged == [LACKING, 1.5]
    assert {row["temperature"] for row in rows} == {0.8, 1.0}
    assert all(math.isfinite(row["crps"]) for row in rows)
    rows, diverged = scored(Emulator(diverges=0.1), source, sampler())
    assert diverged == CANDIDATES
    with pytest.raises(LilasError, match="tune_temperature: rollouts diverged at every candidate"):
        choose(rows)


def test_of_equal_scores_the_one_next_to_one_is_chosen():
    rows = [{"temperature": t, "lead_time": 1, "crps": 0.5} for t in (0.5, 1.5, 1.9)]
    assert choose(rows) == 1.5
    rows += [{"temperature": 1.9, "lead_time": 2, "crps": 0.4}]
    assert choose(rows) == 1.9


@pytest.mark.parametrize(
    ("start", "context", "stride", "last", "direction", "steps", "expected"),
    [
        (0, 1, 1, 8, "forward", 12, 8),
        (0, 1, 1, 8, "forward", 6, 5),
        (3, 1, 2, 8, "forward", 8, 4),
        # The context lies before its last state, or where there is no room begins the trajectory.
        (3, 3, 2, 8, "forward", 8, 2),
        (0, 2, 1, 8, "backward", 10, 8),
        (0, 2, 1, 8, "backward", 9, 7),
        (8, 1, 1, 4, "forward", 9, 0),
    ],
)
def test_lead_times_reach_as_far_as_trajectories(
    start, context, stride, last, direction, steps, expected
):
    assert reached(start, context, stride, last, direction, steps) == expected


def test_as_many_trajectories_are_tried_as_are_evaluated_and_are_long_enough():
    source, manifest = Latents(trajectories=4), Path("valid.json")
    evaluation = Evaluation(start=1, horizons=[(1, 20)], trajectories=3)
    rows, steps = validation_span(manifest, source, evaluation, 1, sampler())
    assert len(set(rows)) == 3
    assert steps == range(1, 9)
    many = evaluation.model_copy(update={"trajectories": 50, "start": 8})
    with pytest.raises(LilasError, match=r"valid\.json: expected validation trajectories .* 9 st"):
        validation_span(manifest, source, many, 1, sampler())
    many = many.model_copy(update={"start": 7})
    assert validation_span(manifest, source, many, 1, sampler()) == ([0, 1, 2, 3], range(7, 9))


# --- Files, tables, plans -----------------------------------------------------------------------

NAMES = {"dataset": "d", "autoencoder": "a-s0", "emulator": "e-s0", "sampler": "ab"}
RECORD = {"stage": "tune", "version": 1, "config": {}, "inputs": {}, "implementations": []}
RECORD |= {"code": "", "versions": {}}


def scores(*temperatures):
    """Rows whose CRPS is the temperature's distance from 1.1, at lead times 1 to 3."""
    return [
        {"temperature": t, "lead_time": i, "crps": abs(t - 1.1) + i, "rmse": 2.0, "spread": t * i}
        for t in temperatures
        for i in (1, 2, 3)
    ]


def test_a_table_has_each_candidate_by_horizon_and_marks_the_one_chosen(tmp_path):
    path = tmp_path / "temperature.json"
    write_temperature(path, NAMES, scores(0.9, 1.1), [2.0], {"trajectories": 4}, RECORD)
    tried = read_temperatures([path])
    (table,) = calibration_tables(tried, {"d": [(1, 2), (3, 9), (10, 20)]})
    assert list(table.columns) == [
        *("CRPS 1-3", "CRPS 1-2", "CRPS 3-9"),
        *("spread/skill 1-3", "spread/skill 1-2", "spread/skill 3-9"),
    ]
    assert [row.heads[-1] for row in table.rows] == ["0.9", "1.1"]
    first, second = ([cell.value for cell in row.cells] for row in table.rows)
    np.testing.assert_allclose(first[:3], [2.2, 1.7, 3.2])
    roots = [math.sqrt(14 / 3), math.sqrt(5 / 2), 3]
    np.testing.assert_allclose(second[3:], [1.1 * root / 2 for root in roots])
    marked = [[cell.best for cell in row.cells] for row in table.rows]
    assert marked == [[False] * 6, [True] + [False] * 5]


def test_a_sampler_has_the_temperature_of_its_file(tmp_path):
    path, entry = tmp_path / "temperature.json", sampler(tune_temperature=[0.9, 1.1])
    weights, other = tmp_path / "weights.safetensors", tmp_path / "other.safetensors"
    weights.write_bytes(b"weights")
    other.write_bytes(b"others")
    record = provenance("tune", {}, {"emulator": weights})
    write_temperature(path, NAMES, scores(0.9, 1.1), [], {}, record)
    assert tuned(entry, [path], weights).temperature == 1.1
    with pytest.raises(LilasError, match=r"temperature of \S+other\.safetensors, SHA-256 .* again"):
        tuned(entry, [path], other)
    plain = SamplerEntry(algorithm="ddim", temperature=0.7)
    assert tuned(plain, [], weights) == plain
    with pytest.raises(LilasError, match="0 files; the sampler has tune_temperature"):
        tuned(entry, [], weights)
    with pytest.raises(LilasError, match="1 files; the sampler has no tune_temperature"):
        tuned(plain, [path], weights)
    with pytest.raises(LilasError, match=r"expected one of 0\.5, 0\.7, found 1\.1"):
        tuned(sampler(tune_temperature=[0.5, 0.7]), [path], weights)
    value = json.loads(path.read_text())
    for key, wrong in (("temperature", 7.0), ("rows", [{"temperature": 1.1}])):
        path.write_text(json.dumps(value | {key: wrong}))
        with pytest.raises(LilasError, match=r"temperature\.json: expected .* Delete it"):
            read_temperature(path)


def test_a_plan_counts_a_rollout_of_the_validation_split_for_each_candidate():
    study = read_study(MINIATURE)
    names = {"dataset": "convection", "autoencoder": "c16-s0", "emulator": "diffusion-s0"}
    files = {"convection": {split: ["a", "b"] for split in ("train", "valid", "test")}}
    works = Works(Sizes(study, files, {}))
    run = names | {"sampler": "back"}
    tune, rollout = (works.of(Job(rule, run, [])) for rule in ("tune", "rollout"))
    # As many validation trajectories as test trajectories, and two candidates.
    assert tune.flops == pytest.approx(2 * rollout.flops)
    assert rollout.flops > 0


# --- In the pipeline ----------------------------------------------------------------------------


def test_rollouts_of_a_tuned_sampler_have_its_temperature(miniature):
    """The file, the store and the table agree; the record has the candidates and the file."""
    folder = miniature.results / "convection/c16-s0/diffusion-s0/back"
    value = read_temperature(folder / "temperature.json")
    means = pd.DataFrame(value["rows"]).groupby("temperature")["crps"].mean()
    assert value["temperature"] == means.idxmin()
    assert means.index.tolist() == [0.8, 1.25]
    assert value["trajectories"] == 4
    inputs = value["provenance"]["inputs"]
    assert Path(inputs["latents"]["path"]).name == "valid.json"
    assert not any("test" in str(entry) for entry in inputs.values())
    store = xr.open_zarr(folder / "rollouts.zarr")
    assert store.attrs["temperature"] == value["temperature"]
    manifest = json.loads((folder / "rollouts.json").read_text())
    made = manifest["provenance"]
    assert Path(made["inputs"]["temperature"]["path"]).name == "temperature.json"
    assert made["config"]["sampler"]["tune_temperature"] == [0.8, 1.25]
    text = (miniature.results / "tables/calibration.md").read_text()
    assert re.search(rf"back \| {value['temperature']:g} \| \*\*", text)
    text = "\n".join(inspect(folder / "temperature.json").lines)
    assert re.search(rf"chosen +{value['temperature']:g}\n", text)
    assert "CRPS up to lead time 8" in text


def test_the_test_split_decides_no_temperature(miniature, tmp_path):
    config = read_temperature(
        miniature.results / "convection/c16-s0/diffusion-s0/back/temperature.json"
    )["provenance"]["config"]
    folder = miniature.results / "convection/c16-s0"
    with pytest.raises(LilasError, match=r"expected latents of the validation split, found the t"):
        stage(
            "tune",
            config=config,
            autoencoder=folder / "weights.safetensors",
            emulator=folder / "diffusion-s0/weights.safetensors",
            latents=folder / "latents/test.json",
            output=tmp_path / "temperature.json",
            device="cpu",
        )
