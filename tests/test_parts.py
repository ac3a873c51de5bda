"""Rollouts and scores that are made in parts, by a job each: the same as those of a single job."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from lilas.data.preprocess import Preprocessing
from lilas.data.transforms import Transform
from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.evaluation.score import score_rollouts
from lilas.files import take_ownership
from lilas.inspect.trace import trace
from lilas.models.autoencoder import make_identity
from lilas.models.latents import PixelLatents
from lilas.models.observations import Guide, Observations
from lilas.models.rollout import part_of
from lilas.models.rollout_store import write_rollouts
from lilas.plan.cuts import Cuts, parts
from lilas.records import stores
from lilas.records.metrics import (
    join_metrics,
    keep_metrics,
    metrics_seconds,
    metrics_units,
    write_metrics,
)
from lilas.records.provenance import provenance
from lilas.study.entries import SamplerEntry
from lilas.study.leads import rollout_steps

CPU = torch.device("cpu")
# Five trajectories of two members, two of them at once: batches of 4, 4 and 2.
ROWS, SETTINGS = 5, {"members": 2, "batch_size": 4}
GUIDANCE = {"kind": "mmps", "operator": {"kind": "subsample", "factor": 2}, "noise": 0.1}


# --- Which are whose ---------------------------------------------------------------------------


@given(st.integers(0, 200), st.integers(1, 30), st.integers(1, 20))
def test_each_trajectory_is_in_one_part_and_each_batch_whole(count, number, together):
    found = [part_of(count, (i, number), together) for i in range(1, number + 1)]
    assert [place for own in found for place in own] == list(range(count))
    batches = {tuple(range(count)[i : i + together]) for i in range(0, count, together)}
    assert batches == {
        tuple(own[i : i + together]) for own in found for i in range(0, len(own), together)
    }
    # As many batches in each, but for one.
    sizes = [math.ceil(len(own) / together) for own in found]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("part", [(0, 4), (5, 4), (1, 0)])
def test_a_part_that_there_is_not_is_refused(part):
    with pytest.raises(LilasError, match=f"part {part[0]} of {part[1]}"):
        part_of(8, part)


@pytest.mark.parametrize(
    ("trajectories", "most", "sizes", "expected"),
    [
        # The paper's: 64 trajectories of 16 members, four at once; a solver's, all at once.
        (64, 256, {"members": 16, "batch": 64}, 4),
        (64, 256, {"members": 1, "batch": 64}, 1),
        (64, 16, {"members": 16, "batch": 64}, 16),
        (64, 16, {"members": 16, "batch": 16}, 64),
        # Members beyond a batch are one batch all the same.
        (3, 1, {"members": 16, "batch": 4}, 3),
        (6, 256, {"members": 8, "batch": 64}, 1),
        # Not known to a trajectory before the data are there.
        (174.6, 100, {}, 2),
        (0.2, 256, {}, 1),
    ],
)
def test_parts_are_no_smaller_than_a_batch_nor_larger_than_asked(
    trajectories, most, sizes, expected
):
    assert parts(trajectories, most, **sizes) == expected


def test_what_is_finished_keeps_its_parts(tmp_path):
    (tmp_path / "study.yaml").write_text("")
    sizes = {"members": 1, "batch": 1}

    def left(*names: str) -> set[str]:
        return {path.name for path in tmp_path.glob(".*")} ^ set(names)

    def planned(most: int, file: str, trajectories: int = 64, planning: bool = True) -> int:
        cuts = Cuts(tmp_path, most, planning=planning)
        count = cuts.parts(file, trajectories, **sizes)
        if planning:
            take_ownership(tmp_path, tmp_path / "study.yaml", cuts=cuts.known)
            cuts.forget()
        return count

    assert planned(32, "a.json") == 2
    # Of the run of before that was killed there is no part to keep, but all that is not one.
    others = [".a.created", ".a.1of4", ".a.json.9-of2.part", ".ab.1of2"]
    for name in (".a.1of2", *others):
        (tmp_path / name).touch()
    assert planned(16, "a.json") == 4
    assert left(*others) == set()
    assert planned(64, "a.json") == 1
    assert left(*others[2:]) == set()
    assert planned(16, "a.json") == 4
    (tmp_path / "a.json").touch()
    assert planned(8, "a.json") == 4
    assert planned(8, "b.json") == 8
    # A job goes by what was planned, though what it makes is gone by then.
    (tmp_path / "a.json").unlink()
    assert planned(1, "a.json", planning=False) == 4
    (tmp_path / "a.json").touch()
    # What will be made again, since the study asks for more, is cut as before.
    assert planned(8, "a.json", trajectories=128) == 8
    # What was finished before there were parts has none.
    (tmp_path / "c.json").touch()
    assert planned(1, "c.json") == 1


# --- What they make ----------------------------------------------------------------------------


class Noticing:
    """An emulator whose states tell label, noise, what comes before and what is observed."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def stepper(self, label, sampler, draws):
        self.batches.append(len(label))

        def step(window):
            new = draws.normal(window.known) + window.known.mean((1, 2), keepdim=True)
            new = new + label.mean(1).view(-1, *[1] * (new.ndim - 1))
            if window.observed is not None:
                new = new + window.observed.values.mean(1).view(-1, *[1] * (new.ndim - 1))
            given = window.mask.view(*window.mask.shape[:1], 1, -1, 1, 1)
            return torch.where(given, window.known, new)

        return step

    def requires_grad_(self, _: bool) -> None: ...


@pytest.fixture(params=[None, GUIDANCE], ids=["forecast", "guided"])
def sampling(tmp_path, request):
    """What rolls ensembles out of a file of five trajectories into a store of a name."""
    rng = np.random.default_rng(0)
    write_well(
        tmp_path / "a.hdf5",
        dataset="noise",
        fields={"u": rng.normal(size=(ROWS, 8, 4, 6)).astype(np.float32)},
        time=np.arange(8.0),
        coordinates={"x": np.arange(4.0), "y": np.arange(6.0)},
        parameters={"c": rng.normal(size=ROWS)},
        boundaries={"x": "periodic", "y": "periodic"},
    )
    preprocessing = Preprocessing(("u",), (Transform(),), (0.0,), (1.0,))
    latents = PixelLatents(open_files([tmp_path / "a.hdf5"]), preprocessing, {})
    sampler = SamplerEntry(algorithm="ab", guidance=request.param, **SETTINGS)
    record = provenance("rollout", {}, {"test": [tmp_path / "a.hdf5"]})
    guide = Guide(Observations(sampler, latents), make_identity(1, 2)) if request.param else None

    def roll_out(name: str, *part: int) -> list[int]:
        """Rolls out a part; returns the windows of each batch."""
        emulator = Noticing()
        write_rollouts(
            *(tmp_path / f"{name}.zarr", latents, emulator),
            rows=list(range(ROWS)),
            steps=rollout_steps(0, 1, 1, 6),
            settings=SimpleNamespace(window=3, context_noise=0),
            stride=1,
            sampler=sampler,
            record=record,
            device=CPU,
            guide=guide,
            **({"part": part} if part else {}),
        )
        return emulator.batches

    def finished(name: str) -> xr.Dataset:
        manifest = tmp_path / f"{name}.json"
        stores.finish(tmp_path / f"{name}.zarr", manifest, record)
        return stores.open_store(manifest, "latent")

    return roll_out, finished, latents


def shards(store: Path) -> dict[str, bytes]:
    """The bytes of every file of an array of latents."""
    folder = store / "latent"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("number", [2, 3, 5])
def test_rollouts_in_parts_are_those_of_one_job_to_the_bit(sampling, tmp_path, number):
    roll_out, finished, _ = sampling
    assert roll_out("whole") == [4, 4, 2]
    # The last first: jobs come as they come. Of five, two have no batch of the three.
    batches = [roll_out("parts", i, number) for i in range(number, 0, -1)]
    assert [size for its in batches[::-1] for size in its] == [4, 4, 2]
    whole, joined = finished("whole"), finished("parts")
    xr.testing.assert_identical(whole.load(), joined.load())
    assert len(np.unique(whole["latent"])) > whole["latent"].size / 2
    assert shards(tmp_path / "whole.zarr") == shards(tmp_path / "parts.zarr")
    assert json.loads((tmp_path / "whole.json").read_text()) | {"store": ""} == json.loads(
        (tmp_path / "parts.json").read_text()
    ) | {"store": ""}


def test_a_part_that_was_killed_goes_on(sampling, tmp_path, monkeypatch):
    roll_out, finished, _ = sampling
    roll_out("whole")
    fill, done = stores.fill, []

    def killed(array, index, values):
        if done:
            raise KeyboardInterrupt
        done.append(index)
        fill(array, index, values)

    monkeypatch.setattr(stores, "fill", killed)
    with pytest.raises(KeyboardInterrupt):
        roll_out("parts", 2, 2)
    monkeypatch.undo()
    assert done == [(slice(2, 4),)]
    assert roll_out("parts", 1, 2) == [4]
    # Of its two batches the first was there.
    assert roll_out("parts", 2, 2) == [2]
    assert roll_out("parts") == []
    xr.testing.assert_identical(finished("whole").load(), finished("parts").load())


def test_of_finished_rollouts_what_is_damaged_is_made_again(sampling, tmp_path):
    roll_out, finished, _ = sampling
    roll_out("whole")
    before, store = finished("whole").load(), tmp_path / "whole.zarr"
    record = stores.store_record(before)
    shard = next(path for path in (store / "latent/c/3").rglob("*") if path.is_file())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(LilasError, match=r"Delete .*whole\.json and run again: what is whole is"):
        stores.read(stores.open_store(tmp_path / "whole.json", "latent"), "latent")
    assert not stores.is_named(store, record, mend=True)
    # The batch of the fourth trajectory, which has the third too.
    assert roll_out("whole") == [4]
    xr.testing.assert_identical(finished("whole").load(), before)


def test_scores_in_parts_are_those_of_one_job_to_the_bit(sampling, tmp_path):
    roll_out, finished, latents = sampling
    roll_out("store")
    dataset, identity = finished("store"), make_identity(1, 2)
    record = provenance("evaluate", {}, {"rollouts": tmp_path / "store.json"})
    names = dict.fromkeys(("dataset", "autoencoder", "emulator", "method", "sampler"), "a")
    names |= {"compression": 1.0}

    def score(name: str, *part: int) -> Path:
        chosen = {"part": part} if part else {}
        tables = score_rollouts(dataset, latents, identity, None, CPU, None, **chosen)
        write_metrics(tmp_path / name, tables, names, record, **chosen, units={"u": ("u", "K")})
        return tmp_path / name

    whole = score("whole.parquet")
    three = [score(f".metrics.{i}of3", i, 3) for i in (1, 2, 3)]
    joined = tmp_path / "metrics.parquet"
    join_metrics(joined, three, record)
    one, other = pq.read_table(whole), pq.read_table(joined)
    assert one.equals(other)
    assert set(one["trajectory"].to_pylist()) == set(range(ROWS))
    assert one.schema.equals(other.schema)
    # What decoding and scoring took is what all parts took.
    took = sum(map(metrics_seconds, three))
    assert metrics_seconds(joined) == pytest.approx(took, abs=1e-3)
    assert metrics_units(joined) == {"u": ["u", "K"]}
    assert keep_metrics(joined, record)
    # Where the whole is current, as when frames alone are made again, no part is scored again.
    assert keep_metrics(tmp_path / ".again", record, joined)
    assert (tmp_path / ".again").read_bytes() == b""
    assert not keep_metrics(tmp_path / ".other", record | {"config": {"a": 1}}, joined)
    assert not (tmp_path / ".other").exists()

    before = joined.read_bytes()
    four = [score(f".metrics.{i}of4", i, 4) for i in (1, 2, 3, 4)]
    for wrong, name in (
        (three[::-1], three[2].name),
        (three[:2], three[0].name),
        ([*three[:2], four[3]], four[3].name),
        ([whole], whole.name),
    ):
        with pytest.raises(LilasError, match=f"{name}: expected part .* Delete it and run again"):
            join_metrics(joined, wrong, record)
    with pytest.raises(LilasError, match="expected part 1 of 3"):
        join_metrics(joined, three, record | {"config": {"a": 1}})
    data = bytearray(three[1].read_bytes())
    data[len(data) // 3] ^= 1
    three[1].write_bytes(data)
    with pytest.raises(LilasError, match=f"{three[1].name}: expected a metrics file"):
        join_metrics(joined, three, record)
    # Nothing of a failure is left, and what was there stays.
    assert joined.read_bytes() == before
    assert list(tmp_path.glob("*.part")) == []


# --- The workflow ------------------------------------------------------------------------------

RUN = "convection/c16-s0/diffusion-s0/ab4"
MADE = (f"{RUN}/rollouts.json", f"{RUN}/frames.json", "convection/baselines.parquet")


def test_a_study_in_parts_makes_the_same_and_reruns_nothing(miniature, tmp_path, monkeypatch):
    """Two rollouts a job: of 4 trajectories one with 2 members, of which batches hold 2."""
    twin = miniature.copy(tmp_path / "twin")
    config = twin.folder / "config.yaml"
    twin.edit("job_rollouts: 256", "job_rollouts: 2", config)
    assert twin.planned() == {}
    for name in (*MADE, f"{RUN}/metrics.parquet", "convection/c16-s0/reconstruction.parquet"):
        (twin.results / name).unlink()
    for name in ("rollouts", "frames"):
        shutil.rmtree(twin.results / RUN / f"{name}.zarr")
    planned = twin.planned()
    cut = {"rollout": 2, "evaluate": 2, "baselines": 2, "reconstruction": 2}
    assert {rule: planned[f"{rule}_write"] for rule in cut} == cut
    assert {rule: planned[rule] for rule in cut} == dict.fromkeys(cut, 1)
    assert planned["rollout_create"] == 1
    assert "emulator" not in planned
    twin.run(*(f"results/miniature/{name}" for name in MADE))
    one, other = (
        [xr.open_zarr(p.results / RUN / f"{name}.zarr").load() for name in ("rollouts", "frames")]
        for p in (miniature, twin)
    )
    for before, after in zip(one, other, strict=True):
        xr.testing.assert_identical(before, after)
    manifest = f"{RUN}/rollouts.json"
    assert (twin.results / manifest).read_bytes() == (miniature.results / manifest).read_bytes()
    for name in (f"{RUN}/metrics.parquet", "convection/baselines.parquet"):
        before, after = (pq.read_table(p.results / name) for p in (miniature, twin))
        assert before.equals(after)
    # No part is left, nor what says that it is done.
    assert {path.name for path in (twin.results / RUN).iterdir()} == {
        path.name for path in (miniature.results / RUN).iterdir()
    }
    # A table's number is followed through them.
    monkeypatch.chdir(twin.folder)
    cells = pd.read_csv(twin.results / "tables/horizons.csv")["cell"]
    (cell,) = cells[cells.str.endswith("c16-s0/diffusion-s0/ab4/vrmse/4-8")]
    assert trace(cell, Path("results/miniature")).problems == []
    # Whatever the size of parts is now, what is finished stays.
    twin.edit("job_rollouts: 2", "job_rollouts: 256", config)
    assert twin.planned(*(f"results/miniature/{name}" for name in MADE)) == {}
