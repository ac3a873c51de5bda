"""`lilas trace` on a results folder of a few files, each made by the stages' own writers."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr

from lilas import cli
from lilas.errors import LilasError
from lilas.files import sha256, write_json
from lilas.inspect.trace import trace
from lilas.records import stores
from lilas.records.metrics import read_metrics, write_metrics
from lilas.records.provenance import provenance
from lilas.records.timings import read_timings, write_timings
from lilas.records.weights import write_weights
from lilas.report.published import paper_tables
from lilas.report.speed import speed_tables
from lilas.report.summary import by_horizon
from lilas.report.tables import valid_time_tables
from lilas.report.trajectories import by_trajectory, valid_times
from lilas.report.typeset import csv

ROOT = Path("results/demo")
FLOW = ROOT / "flow"
SPACE = FLOW / "c4-s0"
EMULATOR = SPACE / "diffusion-s0"
CELL = "flow/c4-s0/diffusion-s0"
FIELDS, LEADS, TRAJECTORIES = ("pressure", "velocity_y"), (1, 2, 3, 4), (5, 7)


def value(metric: int, trajectory: int, field: int, lead: int, offset: float) -> float:
    """A number that tells every part of a row's name."""
    return 1000 * metric + 100 * (trajectory + 1) + 10 * field + lead + offset


def scores(offset: float, relative: tuple[str, ...] = ("truth",)) -> pd.DataFrame:
    rows = [
        {
            "relative_to": reference,
            "trajectory": number,
            "field": name,
            "lead_time": lead,
            "metric": metric,
            "value": value(m, t, f, lead, offset) + 0.5 * (reference == "autoencoder"),
        }
        for m, metric in enumerate(("vrmse", "wasserstein"))
        for t, number in enumerate(TRAJECTORIES)
        for f, name in enumerate(FIELDS)
        for lead in LEADS
        for reference in relative
    ]
    curve = {"metric": "power_spectrum", "at": 0.1, "value": 1e9}
    return pd.concat([pd.DataFrame(rows).assign(at=np.nan), pd.DataFrame([rows[0] | curve])])


def write(path: Path, frame: pd.DataFrame, inputs: dict[str, Any], **names: Any) -> None:
    names = {
        "dataset": "flow",
        "autoencoder": "",
        "compression": 1.0,
        "sampler": "",
        "context": 1,
        "start": 0,
        "direction": "forward",
        "members": 1,
    } | names
    write_metrics(path, [frame], names, provenance("evaluate", {}, inputs))


def make_weights(path: Path, stage: str, seed: float, inputs: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, {"w": torch.full((2,), seed)}, provenance(stage, {}, inputs))


def make_rollouts(folder: Path, inputs: dict[str, Any], context: int) -> None:
    record = provenance("rollout", {"context": context}, inputs)
    sizes = {"trajectory": 2, "member": 3, "time": 4 + context, "channel": 1, "x": 2}
    stores.create(
        folder / "rollouts.zarr",
        variable="latent",
        sizes=sizes,
        chunk={},
        shard={},
        dataset=xr.Dataset(coords={"trajectory": list(TRAJECTORIES)}, attrs={"context": context}),
        record=record,
    )
    built = stores.partial(folder / "rollouts.zarr")
    zarr.open_array(built, path="latent", mode="r+")[:] = 1.0
    stores.finish(folder / "rollouts.zarr", folder / "rollouts.json", record)


def row(cell: str, number: float) -> dict[str, Any]:
    dataset, *run = cell.split("/")[:-2]
    sampler = run[2] if len(run) == 3 else ""
    return {
        "dataset": dataset,
        "autoencoder": run[0] if len(run) > 1 else "",
        "emulator": run[min(1, len(run) - 1)],
        "sampler": sampler,
        "method": "diffusion" if sampler else run[-1],
        "context": 2 if sampler == "ab2" else 1,
        "direction": "forward",
        "cell": cell,
        "value": number,
        "low": number - 1,
        "high": number + 1,
    }


# Means over trajectories (0, 1), fields (0, 1) and lead times: 150 + 5 + the mean lead time, plus
# 1000 for wasserstein, plus the run's offset.
CELLS = {
    f"{CELL}/ab/vrmse/1-2": 156.5,
    f"{CELL}/ab/wasserstein:velocity_y/3-4": 1163.5,
    f"{CELL}/ab/vrmse@autoencoder/1-4": 158.0,
    f"{CELL}/ab2/vrmse/1-2": 156.8,
    f"{CELL}/ab+ab2/vrmse/1-2": 156.65,
    "flow/c4-s0/reconstruction/vrmse/1-2": 156.6,
    "flow/persistence/vrmse/1-2": 156.9,
}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with a table, metrics and what they were made from, as the current one."""
    monkeypatch.chdir(tmp_path)
    data = [Path("data/a.hdf5"), Path("data/b.hdf5")]
    Path("data").mkdir()
    for path in data:
        path.write_bytes(b"data")
    statistics = FLOW / "statistics.json"
    write_json(statistics, {"provenance": provenance("statistics", {}, {"train": data})})
    autoencoder, emulator = SPACE / "weights.safetensors", EMULATOR / "weights.safetensors"
    made = {"statistics": statistics, "train": data}
    make_weights(autoencoder, "autoencoder", 1.0, made)
    latents = SPACE / "latents" / "test.json"
    record = provenance("latents", {}, {"autoencoder": autoencoder, "files": data[:1]})
    write_json(latents, {"kind": "zarr", "store": "test.zarr", "provenance": record})
    make_weights(emulator, "emulator", 2.0, {"autoencoder": autoencoder, "train": latents})
    inputs = {"autoencoder": autoencoder, "statistics": statistics, "test": data[:1]}
    for sampler, offset, context in (("ab", 0.0, 1), ("ab2", 0.3, 2)):
        folder = EMULATOR / sampler
        sources = {"autoencoder": autoencoder, "emulator": emulator, "latents": latents}
        make_rollouts(folder, sources, context)
        run = {"autoencoder": "c4-s0", "emulator": "diffusion-s0", "method": "diffusion"}
        write(
            folder / "metrics.parquet",
            scores(offset, ("truth", "autoencoder")),
            inputs | {"rollouts": folder / "rollouts.json"},
            **run | {"sampler": sampler, "members": 3, "context": context},
        )
    bound = {"autoencoder": "c4-s0", "emulator": "reconstruction", "method": "reconstruction"}
    write(SPACE / "reconstruction.parquet", scores(0.1), inputs, **bound)
    kept = scores(0.4).assign(emulator="persistence", method="persistence")
    mean = scores(7.0).assign(emulator="climatology", method="climatology")
    both = pd.concat([kept, mean])
    write(FLOW / "baselines.parquet", both, {"statistics": statistics, "test": data[:1]})
    (ROOT / "tables").mkdir()
    pd.DataFrame([row(*item) for item in CELLS.items()]).to_csv(
        ROOT / "tables" / "horizons.csv", index=False
    )
    return ROOT


@pytest.mark.parametrize("cell", CELLS)
def test_every_kind_of_cell_is_computed_again(results, cell):
    found = trace(cell, results)
    assert found.problems == []
    text = "\n".join(found.lines)
    assert f"Value  {CELLS[cell]:g}, as the table has it" in text
    assert trace(f"results/demo/{cell}", Path("elsewhere")).lines == found.lines
    # 2 metrics x 2 trajectories x 2 fields x 4 lead times, of two references or two baselines.
    total = 32 if "reconstruction" in cell else 64
    count = {"1-2": 8, "3-4": 4, "1-4": 16}[cell.split("/")[-1]]
    assert f"{count} of {total}: dataset = flow" in text


def test_the_chain_goes_through_what_a_training_started_from(results):
    parent, emulator = SPACE / "solver-s1" / "weights.safetensors", EMULATOR / "weights.safetensors"
    make_weights(parent, "emulator", 3.0, {"train": [Path("data/b.hdf5")]})
    make_weights(emulator, "emulator", 2.0, {"start": parent})
    lines = [line.strip() for line in trace(f"{CELL}/ab/vrmse/1-2", results).lines]
    at = lines.index(f"start: {parent}  SHA-256 {sha256(parent)}, unchanged")
    assert lines[at + 1].startswith("stage emulator version")
    assert lines[at + 2].startswith("train: data files (1) in data")


def test_the_chain_goes_down_to_the_data(results):
    text = "\n".join(trace(f"{CELL}/ab/vrmse/1-2", results).lines)
    for path in (
        SPACE / "weights.safetensors",
        EMULATOR / "weights.safetensors",
        EMULATOR / "ab" / "rollouts.json",
        SPACE / "latents" / "test.json",
        FLOW / "statistics.json",
    ):
        assert f"{path}  SHA-256 {sha256(path)}, unchanged" in text
    assert "rollouts.zarr: trajectories 5, 7; 3 members, 5 states, 1 of them context" in text
    assert "train: data files (2) in data, 8 bytes, unchanged" in text
    assert "test: data files (1) in data, 4 bytes, unchanged" in text
    libraries = [line for line in text.splitlines() if f"torch {torch.__version__}" in line]
    assert len(libraries) == 1
    assert "evaluate, autoencoder, statistics, rollout, emulator, latents: azula" in libraries[0]
    pooled = "\n".join(trace(f"{CELL}/ab+ab2/vrmse/1-2", results).lines)
    assert all(str(EMULATOR / name / "metrics.parquet") in pooled for name in ("ab", "ab2"))


def test_another_seeds_weights_are_reported(results):
    path = EMULATOR / "weights.safetensors"
    before = sha256(path)
    make_weights(path, "emulator", 3.0, {"autoencoder": SPACE / "weights.safetensors"})
    found = trace(f"{CELL}/ab/vrmse/1-2", results)
    assert found.problems == [
        f"{path}: emulator has changed since: SHA-256 {sha256(path)}, recorded {before}"
    ]
    assert trace("flow/c4-s0/reconstruction/vrmse/1-2", results).problems == []


def test_a_flipped_bit_is_reported(results):
    path = SPACE / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    problems = trace(f"{CELL}/ab/vrmse/1-2", results).problems
    assert len(problems) == 1
    assert "autoencoder has changed since" in problems[0]


def test_damaged_and_missing_files_are_reported(results):
    (SPACE / "weights.safetensors").write_bytes(b"no weights")
    (FLOW / "statistics.json").unlink()
    Path("data/b.hdf5").write_bytes(b"other data")
    found = trace("flow/c4-s0/reconstruction/vrmse/1-2", results)
    assert "a damaged file" in "\n".join(found.problems)
    assert re.search("statistics.json .*, the file is not here and cannot", "\n".join(found.lines))
    assert "statistics" not in "\n".join(found.problems)
    Path("data/a.hdf5").unlink()
    found = trace(f"{CELL}/ab/vrmse/1-2", results)
    assert "data files (1) in data, 4 bytes, 1 not here" in "\n".join(found.lines)
    assert "a.hdf5" not in "\n".join(found.problems)


@pytest.mark.parametrize("place", ["copy/results/demo", "results/renamed", "other/place"])
def test_results_that_were_moved_are_checked_where_they_are(results, tmp_path, monkeypatch, place):
    """Elsewhere is not changed: inputs that were not copied are said to be not here."""
    moved = tmp_path / "machine" / place
    shutil.copytree(results, moved)
    shutil.rmtree("data")
    shutil.rmtree("results")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found = trace(f"{CELL}/ab/vrmse/1-2", moved)
    assert found.problems == []
    text = "\n".join(found.lines)
    assert f"{moved}/flow/c4-s0/weights.safetensors  SHA-256" in text
    assert "8 bytes, 2 not here, which cannot be checked\n" in text
    # What has changed is still told.
    weights = moved / "flow/c4-s0/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert "autoencoder has changed" in "\n".join(trace(f"{CELL}/ab/vrmse/1-2", moved).problems)


def test_changed_data_are_reported(results):
    path = Path("data/b.hdf5")
    os.utime(path, ns=(0, 0))
    assert trace(f"{CELL}/ab/vrmse/1-2", results).problems == []
    path.write_bytes(b"Data")
    found = trace(f"{CELL}/ab/vrmse/1-2", results)
    assert found.problems == ["data/b.hdf5 has another size or content now"]
    assert "train: data files (2) in data, 8 bytes, 1 CHANGED" in "\n".join(found.lines)


def test_a_lost_store_is_reported(results):
    (EMULATOR / "ab" / "rollouts.zarr").rename(EMULATOR / "ab" / "moved.zarr")
    problems = trace(f"{CELL}/ab/vrmse/1-2", results).problems
    assert len(problems) == 1
    assert "rollouts.zarr: expected a Zarr store" in problems[0]


@pytest.mark.parametrize(("number", "stale"), [(156.5009, False), (156.503, True), (-156.5, True)])
def test_a_stale_table_is_reported(results, number, stale):
    path = results / "tables" / "horizons.csv"
    cell = f"{CELL}/ab/vrmse/1-2"
    pd.DataFrame([row(cell, number)]).to_csv(path, index=False)
    problems = trace(cell, results).problems
    assert bool(problems) == stale
    if stale:
        assert f"has {number}, the rows of metrics give 156.5: the table is stale" in problems[0]


def test_unknown_cells_and_missing_files_are_errors(results):
    with pytest.raises(LilasError, match=f"Did you mean.* {CELL}/ab/vrmse/1-2"):
        trace(f"{CELL}/ab/vrmse/1-20", results)
    fields = f"Did you mean {CELL}/ab/wasserstein:velocity_y/3-4[?]"
    with pytest.raises(LilasError, match=fields):
        trace(f"{CELL}/ab/wasserstein/3-4", results)
    with pytest.raises(LilasError, match=r"no cell 'x'. One is"):
        trace("x", results)
    with pytest.raises(LilasError, match="elsewhere/tables: expected tables with cells"):
        trace(f"{CELL}/ab/vrmse/1-2", Path("elsewhere"))
    cell = f"{CELL}/ab/vrmse/5-6"
    path = results / "tables" / "horizons.csv"
    one = pd.DataFrame([row(cell, 1.0)])
    one.to_csv(path, index=False)
    with pytest.raises(LilasError, match=r"rows with .*metric = vrmse.*, found none"):
        trace(cell, results)
    pd.concat([one, one]).to_csv(path, index=False)
    with pytest.raises(LilasError, match=f"expected one cell {cell}, found 2"):
        trace(cell, results)
    pooled = f"{CELL}/ab+ab2/vrmse/1-2"
    pd.DataFrame([row(pooled, 1.0)]).to_csv(results / "tables" / "table6.csv", index=False)
    one[["cell", "value", "low", "high"]].to_csv(path, index=False)
    with pytest.raises(LilasError, match=r"horizons\.csv: expected a table with columns dataset,"):
        trace(pooled, results)
    other = row("flow/c4-s0/other-s0/ab/vrmse/5-6", 1.0)
    pd.DataFrame([other]).to_csv(path, index=False)
    with pytest.raises(
        LilasError, match=r"expected runs of c4-s0/diffusion-s0/ab\+ab2, found none"
    ):
        trace(pooled, results)
    one[["cell", "value"]].to_csv(path, index=False)
    with pytest.raises(LilasError, match="expected columns with low, high"):
        trace(cell, results)
    one.to_csv(path, index=False)
    (EMULATOR / "ab" / "metrics.parquet").unlink()
    with pytest.raises(LilasError, match=r"metrics\.parquet: expected a metrics file"):
        trace(cell, results)


# A dataset of the paper, of which every table is made.
PAPER = {"flow": "rayleigh_benard"}


def test_every_cell_that_the_tables_have(results):
    frames = [read_metrics(path) for path in sorted(ROOT.rglob("*.parquet"))]
    summary = by_trajectory(frames, {"flow": [(1, 2), (3, 4)]})
    written = {"horizons": by_horizon(summary)}
    written["valid_time"] = csv(valid_time_tables(valid_times(frames)), "criterion")
    for name, (_, tables) in paper_tables(summary, {"flow": "made up"}, PAPER).items():
        written[name] = csv(tables, "horizon")
    turns = [0.1 * turn for turn in (3, 1, 2, 6, 5, 4)]
    costs = {"batch": 1, "states": 4, "flops": 1e9, "memory": 10**6, "seconds": turns}
    space = {"autoencoder": "c4-s0", "compression": 4.0}
    ran = {"emulator": "diffusion-s0", "sampler": "ab", "method": "diffusion"}
    rows = [space | costs | {"kind": kind} for kind in ("encode", "decode")]
    rows += [space | ran | costs | {"kind": "rollout"}]
    rows += [costs | {"kind": kind} for kind in ("simulation", "matmul")]
    made = provenance("timing", {}, {"emulator": EMULATOR / "weights.safetensors"})
    machine = {"device": "this", "threads": 1, "turns": 6}
    write_timings(FLOW / "timing.json", "flow", rows, machine, made)
    timed = speed_tables(read_timings([FLOW / "timing.json"]), PAPER)
    written["table1_inference_time"] = csv(timed, "quantity")
    for name, table in written.items():
        table.to_csv(results / "tables" / f"{name}.csv", index=False, float_format="%.6g")
    cells = {cell for table in written.values() for cell in table["cell"]} - {""}
    assert f"{CELL}/ab2/valid_time_vrmse" in cells
    assert f"{CELL}/ab+ab2/vrmse/3-4" in cells
    assert f"{CELL}/ab/vrmse@autoencoder/1-2" in cells
    assert f"{CELL}/ab+ab2/wasserstein:velocity_y/3-4" in cells
    assert "flow/climatology/vrmse/1-2" in cells
    assert {f"{CELL}/ab/timing_state", f"{CELL}/ab/timing_memory", "flow/timing_state"} < cells
    for cell in cells:
        found = trace(cell, results)
        assert found.problems == [], cell
    # Twice the median of the turns: rolled out, and decoded as fast.
    text = "\n".join(trace(f"{CELL}/ab/timing_state", results).lines)
    assert "Value  0.7, as the table has it" in text
    assert f"emulator: {EMULATOR / 'weights.safetensors'}" in text


def test_pooled_cells_are_of_the_first_samplers_alone(results):
    """A sampler that stands for one emulator was tried with another, and does not count there."""
    for emulator, sampler, offset in (("diffusion", "later", 900.0), ("other", "later", 0.7)):
        run = {"autoencoder": "c4-s0", "emulator": f"{emulator}-s0", "method": "diffusion"}
        run |= {"sampler": sampler, "compression": 4.0, "members": 3}
        folder = SPACE / f"{emulator}-s0" / sampler
        write(folder / "metrics.parquet", scores(offset), {}, **run)
    runs = ("diffusion-s0/ab", "diffusion-s0/ab2", "diffusion-s0/later", "other-s0/later")
    frames = [read_metrics(SPACE / run / "metrics.parquet") for run in runs]
    frames = [frame.assign(compression=4.0) for frame in frames]
    summary = by_trajectory(frames, {"flow": [(1, 2)]})
    by_horizon(summary).to_csv(results / "tables" / "horizons.csv", index=False)
    _, (table,) = paper_tables(summary, {"flow": ""}, {})["table7_vrmse_by_context"]
    csv([table], "horizon").to_csv(results / "tables" / "table7.csv", index=False)
    cell = "flow/c4-s0/diffusion-s0+other-s0/ab+later/vrmse/1-2"
    found = trace(cell, results)
    assert found.problems == []
    assert "Value  156.85, as the table has it" in "\n".join(found.lines)


def test_command(results, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lilas", "trace", f"{CELL}/ab/vrmse/1-2"])
    cli.main()
    assert "Value  156.5, as the table has it" in capsys.readouterr().out
    (EMULATOR / "weights.safetensors").unlink()
    Path("data/a.hdf5").write_bytes(b"other")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert str(ended.value).startswith("error: ")
    assert "data/a.hdf5 has another size or content now" in str(ended.value)
    assert "the file is not here" in capsys.readouterr().out
