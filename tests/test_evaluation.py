"""Where rollouts lie in time, what the baselines score."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.transforms import Transform
from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.evaluation import score as evaluation
from lilas.evaluation.ensembles import Ensemble
from lilas.evaluation.physics import Flow
from lilas.models.autoencoder import make_identity
from lilas.models.latents import PixelLatents
from lilas.models.rollout import evaluated_trajectories
from lilas.models.rollout_store import write_rollouts
from lilas.records import metrics, stores
from lilas.study.entries import SamplerEntry
from lilas.study.leads import rollout_steps


@pytest.mark.parametrize(
    ("start", "context", "stride", "last", "steps"),
    [
        # Rayleigh-Bénard: the last context state lies at the start, whatever the context.
        (16, 1, 1, 3, [16, 17, 18, 19]),
        (16, 3, 1, 3, [14, 15, 16, 17, 18, 19]),
        # Euler: from step 0 with stride 4, lead time 0 is step (context - 1) * stride.
        (0, 1, 4, 12, [0, 4, 8, 12]),
        (0, 3, 4, 12, [0, 4, 8, 12, 16, 20]),
    ],
)
def test_rollouts_lie_where_the_official_code_puts_them(start, context, stride, last, steps):
    found = rollout_steps(start, context, stride, last)
    assert list(found) == steps


@given(
    start=st.integers(0, 20),
    context=st.integers(1, 4),
    stride=st.integers(1, 5),
    states=st.integers(1, 9),
)
def test_a_rollout_holds_its_context_and_every_lead_time(start, context, stride, states):
    steps = rollout_steps(start, context, stride, states * stride)
    assert len(steps) == context + states
    assert set(np.diff(steps)) == {stride}
    assert steps[context - 1] >= start


@pytest.mark.parametrize(
    ("start", "context", "stride", "last", "steps"),
    [
        (16, 1, 1, 3, [19, 18, 17, 16]),
        (16, 3, 1, 3, [21, 20, 19, 18, 17, 16]),
        (0, 2, 4, 13, [16, 12, 8, 4, 0]),
    ],
)
def test_backward_rollouts_go_over_the_steps_of_forward_ones(start, context, stride, last, steps):
    assert list(rollout_steps(start, context, stride, last, "backward")) == steps


def test_test_trajectories_are_drawn_once_and_for_all():
    draw = {"trajectories": 5, "seed": 3}
    chosen = evaluated_trajectories(draw, 20)
    assert chosen == evaluated_trajectories(draw, 20)
    assert len(set(chosen)) == 5
    assert chosen == sorted(chosen)
    assert evaluated_trajectories(draw | {"seed": 4}, 20) != chosen
    assert evaluated_trajectories({"trajectories": None}, 3) == [0, 1, 2]
    with pytest.raises(LilasError, match="at most 3"):
        evaluated_trajectories(draw, 3)


@pytest.fixture
def pixels(tmp_path):
    """One trajectory u(t) = 3 + (1 + t) s, s of mean 0 and unit variance: scores in closed form."""
    x = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    wave = np.sqrt(2) * np.sin(x)[:, None] * np.ones(8)
    states = 3 + (1 + np.arange(6))[:, None, None] * wave
    write_well(
        tmp_path / "wave.hdf5",
        dataset="wave",
        fields={"u": states[None].astype(np.float32)},
        time=np.arange(6.0),
        coordinates={"x": x, "y": np.arange(8.0)},
        parameters={"c": 1.0},
        boundaries={"x": "periodic", "y": "periodic"},
    )
    channel = {"transform": {"kind": "none"}, "mean": 3.0, "std": 2.0, "min": 0.0, "max": 9.0}
    statistics = {"channels": {"u": channel | {"count": 768}}}
    preprocessing = Preprocessing.from_statistics(statistics, "wave")
    return Pixels(open_files([tmp_path / "wave.hdf5"], ["u"]), preprocessing, {})


def test_baselines_in_closed_form(pixels):
    frames = evaluation.score_baselines(pixels, [0], {"": range(6)}, None, torch.device("cpu"))
    table = pd.concat(frames)
    vrmse = table[table["metric"] == "vrmse"].set_index(["emulator", "lead_time"])["value"]
    # The unbiased variance over 128 points makes sqrt(127/128) of 1.
    unbiased = np.sqrt(127 / 128)
    for lead in range(1, 6):
        assert vrmse["climatology", lead] == pytest.approx(unbiased, abs=1e-5)
        expected = lead / (1 + lead) * unbiased
        assert vrmse["persistence", lead] == pytest.approx(expected, abs=1e-5)
    assert set(table["field"]) == {"u"}


@pytest.mark.parametrize("unit", [1e-24, 1e-21, 4.5e-4, 1.0, 1e24])
def test_scores_in_any_unit(tmp_path, unit):
    """Without the paper's constant the training mean scores 1, whatever the unit of the field."""
    x = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    wave = np.sqrt(2) * np.sin(x)[:, None] * np.ones((6, 1, 8))
    write_well(
        tmp_path / "wave.hdf5",
        dataset="wave",
        fields={"u": (unit * (3 + wave))[None]},
        time=np.arange(6.0),
        coordinates={"x": x, "y": np.arange(8.0)},
        parameters={"c": 1.0},
        boundaries={"x": "periodic", "y": "periodic"},
    )
    channel = {"transform": {"kind": "none"}, "mean": 3 * unit, "std": unit}
    preprocessing = Preprocessing.from_statistics({"channels": {"u": channel}}, "wave")
    seen = Pixels(open_files([tmp_path / "wave.hdf5"], ["u"]), preprocessing, {})
    frames = evaluation.score_baselines(seen, [0], {"": range(6)}, None, torch.device("cpu"))
    table = pd.concat(frames)
    assert np.isfinite(table["value"]).all()
    found = table[table["lead_time"] == 5].set_index(["emulator", "metric"])["value"]
    assert found["climatology", "vrmse_scale_free"] == pytest.approx(np.sqrt(127 / 128), rel=1e-5)
    assert found["climatology", "rmse"] == pytest.approx(unit, rel=1e-5)
    expected = np.sqrt(unit**2 / (128 / 127 * unit**2 + 1e-6))
    assert found["climatology", "vrmse"] == pytest.approx(expected, rel=1e-5)
    assert found["truth", "constant_matters"] == (unit < 1e-2)
    assert found["truth", "uniform"] == 0


def test_a_rollout_that_diverged_is_refused(pixels):
    truth, wave = torch.from_numpy(pixels.truth(0)), Flow.of(*pixels.places[0])
    with pytest.raises(LilasError, match="the rollout diverged"):
        evaluation.score(truth, Ensemble(truth[None] * torch.nan, 2), range(6), wave)


def test_metrics_files_round_trip_and_refuse_others(tmp_path, pixels):
    steps, device = {"": range(6)}, torch.device("cpu")
    frames = list(evaluation.score_baselines(pixels, [0], steps, None, device))
    names = {"dataset": "wave", "autoencoder": "", "compression": 1.0, "sampler": ""}
    curve = frames[0][:3].assign(metric="power_spectrum", at=[0.1, 0.2, 0.3])
    path = tmp_path / "metrics.parquet"
    metrics.write_metrics(path, [*frames, curve], names, {"stage": "evaluate"})
    table = metrics.read_metrics(path)
    assert len(table) == sum(len(frame) for frame in frames)
    assert table["value"].sum() == pytest.approx(sum(f["value"].sum() for f in frames))
    assert metrics.read_curves(path)["at"].tolist() == [0.1, 0.2, 0.3]
    assert metrics.metrics_record(path)["stage"] == "evaluate"
    table.rename(columns={"value": "score"}).to_parquet(path)
    with pytest.raises(LilasError, match="value"):
        metrics.read_metrics(path)


@pytest.fixture
def split(tmp_path):
    """Two files of two and one trajectories, each state its trajectory's number in every point."""
    for name, numbers in (("a", [0.0, 1.0]), ("b", [2.0])):
        values = np.array(numbers)[:, None, None, None] * np.ones((1, 3, 4, 4))
        write_well(
            tmp_path / f"{name}.hdf5",
            dataset="numbers",
            fields={"u": values.astype(np.float32)},
            time=np.arange(3.0),
            coordinates={"x": np.arange(4.0), "y": np.arange(4.0)},
            parameters={"c": 1.0},
            boundaries={"x": "periodic", "y": "periodic"},
        )
    return tmp_path


def opened(folder, order):
    channel = {"transform": {"kind": "none"}, "mean": 0.0, "std": 1.0, "min": 0.0, "max": 2.0}
    statistics = {"channels": {"u": channel | {"count": 144}}}
    files = open_files([folder / f"{name}.hdf5" for name in order], ["u"])
    return Pixels(files, Preprocessing.from_statistics(statistics, "numbers"), {})


def perfect_rollouts(folder, **replaced):
    """A store of rollouts of the trajectories of a, then b, that are their truth."""
    coordinates = {
        "trajectory": np.arange(3),
        "member": np.arange(1),
        "time": np.arange(3.0),
        "step": ("time", np.arange(3)),
        "lead_time": ("time", np.arange(3)),
        "file": ("trajectory", stores.text(["a.hdf5", "a.hdf5", "b.hdf5"])),
        "index_in_file": ("trajectory", np.array([0, 1, 0])),
    }
    record = {"stage": "rollout", "version": 0, "config": {}, "inputs": {}}
    built = stores.create(
        folder / "rollouts.zarr",
        variable="latent",
        sizes={"trajectory": 3, "member": 1, "time": 3, "channel": 1, "x": 4, "y": 4},
        chunk={"trajectory": 1},
        shard={"trajectory": 1},
        dataset=xr.Dataset(coords=coordinates | replaced, attrs={"context": 1, "stride": 1}),
        record=record,
    )
    values = np.arange(3.0)[:, None, None, None, None, None] * np.ones((1, 1, 3, 1, 4, 4))
    zarr.open_group(built, mode="r+")["latent"][:] = values
    stores.finish(folder / "rollouts.zarr", folder / "rollouts.json", record)
    return stores.open_store(folder / "rollouts.json", "latent")


def test_rollouts_are_scored_against_their_own_trajectories(split):
    dataset, identity = perfect_rollouts(split), make_identity(1, 2)
    pixels = opened(split, "ab")
    frames = evaluation.score_rollouts(dataset, pixels, identity, None, torch.device("cpu"))
    table = pd.concat(frames)
    rmse = table[table["metric"] == "rmse"]
    for reference in ("truth", "autoencoder"):
        rows = rmse[rmse["relative_to"] == reference]
        assert rows["trajectory"].tolist() == [0, 0, 1, 1, 2, 2]
        assert rows["value"].tolist() == [0.0] * 6


def write_counting(path):
    """Writes a trajectory of u = step + sin x, of 20 steps."""
    x = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    states = np.arange(20.0)[:, None, None] + np.sin(x)[:, None] * np.ones(8)
    write_well(
        path,
        dataset="numbers",
        fields={"u": states[None].astype(np.float32)},
        time=np.arange(20.0),
        coordinates={"x": x, "y": np.arange(8.0)},
        parameters={"c": 1.0},
        boundaries={"x": "periodic", "y": "periodic"},
    )
    return states


@pytest.mark.parametrize("together", [1, 3, 100], ids=lambda n: f"blocks of {n}")
def test_lead_times_are_of_their_own_steps(tmp_path, monkeypatch, together):
    """u = step + sin x: what is off by so many steps has so large an error, at every lead time."""
    states = write_counting(tmp_path / "a.hdf5")
    pixels, identity, device = opened(tmp_path, "a"), make_identity(1, 2), torch.device("cpu")
    # Two states of context and a stride of 3: lead time 0 is step 4, the last, 12, is step 16.
    steps = np.array(rollout_steps(4, 2, 3, 14))
    leads = steps - 4
    error = leads / 10
    members = np.stack([states[steps] + (error + sign)[:, None, None] for sign in (1, -1)])
    dataset = xr.Dataset(
        {
            "latent": (
                ("trajectory", "member", "time", "channel", "x", "y"),
                members[None, :, :, None].astype(np.float32),
            )
        },
        coords={
            "trajectory": [0],
            "step": ("time", steps),
            "lead_time": ("time", leads),
            "file": ("trajectory", ["a.hdf5"]),
            "index_in_file": ("trajectory", [0]),
        },
        attrs={"context": 2, "stride": 3},
    )
    dataset.encoding["source"] = "rollouts.zarr"
    monkeypatch.setattr(evaluation, "DECODED", 2 * 64 * together)
    whole = rollout_steps(4, 1, 3, 14)

    def rmse(frames):
        table = pd.concat(frames)
        table = table[table["metric"] == "rmse"]
        return {
            name: dict(zip(g["lead_time"], g["value"], strict=True))
            for name, g in table.groupby("emulator" if "emulator" in table else "relative_to")
        }

    found = rmse(evaluation.score_rollouts(dataset, pixels, identity, None, device))
    found |= rmse(evaluation.score_reconstruction(pixels, [0], whole, identity, None, device))
    found |= rmse(evaluation.score_baselines(pixels, [0], {"": whole}, None, device))
    of_lead = {3: 3.0, 6: 6.0, 9: 9.0, 12: 12.0}
    assert found["truth"] == pytest.approx({lead: lead / 10 for lead in of_lead}, abs=1e-5)
    assert found["autoencoder"] == pytest.approx(found["truth"], abs=1e-5)
    assert found["reconstruction"] == pytest.approx(dict.fromkeys(of_lead, 0.0), abs=1e-5)
    assert found["persistence"] == pytest.approx(of_lead, abs=1e-5)
    # The training mean is 0.
    off = {lead: ((4 + lead) ** 2 + 0.5) ** 0.5 for lead in of_lead}
    assert found["climatology"] == pytest.approx(off, abs=1e-4)


class Counting:
    """An emulator that knows how u = step + sin x goes on: by a stride a state, either way."""

    def stepper(self, label, sampler, draws):
        def step(window):
            given = window.mask[0].nonzero()[0]
            place = torch.arange(window.mask.shape[1])
            steps = 3.0 * (place - given).view(1, 1, -1, 1, 1)
            return window.known[:, :, given] + steps / 2

        return step


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_rollouts_either_way_in_time_from_latents_to_scores(tmp_path, direction):
    """The statistics are mean 0 and standard deviation 2, so that u is 2 of what it is in latents.

    Persistence is off by as many steps as the lead time; the emulator that knows is not.
    """
    write_counting(tmp_path / "a.hdf5")
    preprocessing = Preprocessing(("u",), (Transform(),), (0.0,), (2.0,))
    latents = PixelLatents(open_files([tmp_path / "a.hdf5"]), preprocessing, {})
    sampler = SamplerEntry(algorithm="direct", context=2, overlap=2, direction=direction)
    steps, store = rollout_steps(4, 2, 3, 12, direction), tmp_path / "rollouts.zarr"
    record = {"stage": "rollout", "version": 1, "config": {}, "inputs": {}}
    settings = SimpleNamespace(window=4, context_noise=0)
    sizes = {"rows": [0], "settings": settings, "stride": 3}
    write_rollouts(
        *(store, latents, Counting()),
        **sizes,
        steps=steps,
        sampler=sampler,
        record=record,
        device=torch.device("cpu"),
    )
    stores.finish(store, tmp_path / "rollouts.json", record)
    dataset = stores.open_store(tmp_path / "rollouts.json", "latent")
    assert dataset["step"].values.tolist() == list(steps)
    assert dataset["lead_time"].values.tolist() == [-3, 0, 3, 6, 9, 12]
    assert dataset["time"].values.tolist() == list(steps)
    begin = {"forward": 4, "backward": 16}[direction]
    scored = evaluation.score_rollouts(dataset, latents, make_identity(1, 2), None, "cpu")
    still = evaluation.score_baselines(latents, [0], {"named": steps[1:]}, None, "cpu")
    for tables, errors, named in (
        (scored, [0.0] * 4, {"context": 2}),
        (still, [3.0, 6.0, 9.0, 12.0], {"context": 1, "sampler": "named"}),
    ):
        table = pd.concat(tables)
        table = table[(table["metric"] == "rmse") & (table["relative_to"] == "truth")]
        if "method" in table:
            table = table[table["method"] == "persistence"]
        assert table["value"].tolist() == pytest.approx(errors, abs=1e-5)
        assert table["lead_time"].tolist() == [3, 6, 9, 12]
        for column, value in (named | {"start": begin, "direction": direction}).items():
            assert set(table[column]) == {value}


@pytest.mark.parametrize(
    ("order", "replaced", "words"),
    [
        ("ba", {}, ["trajectory 0 is trajectory 0 of b.hdf5", "trajectory 0 of a.hdf5. Give"]),
        ("b", {}, ["trajectory 0 of b.hdf5", "trajectory 0 of a.hdf5"]),
        ("a", {}, ["trajectory 2 is none .they hold 2", "trajectory 0 of b.hdf5"]),
        (
            "ab",
            {"index_in_file": ("trajectory", np.array([1, 0, 0]))},
            ["trajectory 0 of a.hdf5", "trajectory 1 of a.hdf5"],
        ),
    ],
    ids=["swapped", "other", "fewer", "index"],
)
def test_rollouts_of_other_trajectories_are_refused(split, order, replaced, words):
    dataset, pixels = perfect_rollouts(split, **replaced), opened(split, order)
    identity = make_identity(1, 2)
    frames = evaluation.score_rollouts(dataset, pixels, identity, None, torch.device("cpu"))
    with pytest.raises(LilasError, match="rollouts.zarr.*" + ".*".join(words)):
        next(frames)


def test_a_store_that_lacks_a_variable_is_refused(split):
    perfect_rollouts(split)
    with pytest.raises(LilasError, match="expected the variables latent, depth and provenance"):
        stores.open_store(split / "rollouts.json", "latent", "depth")
