"""Data of every kind that a split may hold at once, through all stages to the viewer.

One space axis; two joined datasets whose files share a name and are links named by hash, one of
them periodic; times and steps of their own; parameters that have the names of variables of ours.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.inspect.kinds import inspect
from lilas.records.metrics import read_metrics
from lilas.report.looks import looks
from lilas.report.viewer import embed
from test_inspect import AUTOENCODER, EMULATOR, stage, training

STATES = {"fields": ["u"]}
EVALUATION = {"start": 0, "horizons": [[1, 2], [3, 5]]}
PARAMETERS = ("time", "trajectory", "X", "label", "member", "step", "Re")
STEPS = {"open": 6, "closed": 8}


def write_split(split: str, trajectories: int) -> list[Path]:
    """Writes a file to each dataset, all links into one folder of blobs."""
    files = []
    for number, (dataset, steps) in enumerate(STEPS.items()):
        blob = Path("blobs", f"{number}{split}")
        rng = np.random.default_rng(number)
        x, t = np.arange(32) / 32, np.arange(steps)[:, None]
        wave = np.sin(2 * np.pi * (x - 0.05 * t)) + 0.1 * rng.normal(size=(trajectories, steps, 32))
        write_well(
            blob.with_suffix(".hdf5"),
            dataset=dataset,
            fields={"u": wave},
            time=np.arange(steps) * (1 + number),
            coordinates={"x": x},
            parameters={name: 1.0 + number for name in PARAMETERS},
            boundaries={"x": "periodic" if number else "open"},
        )
        shutil.move(blob.with_suffix(".hdf5"), blob)
        files.append(Path("data", dataset, "data", split, "a.hdf5"))
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        files[-1].symlink_to(os.path.relpath(blob, files[-1].parent))
    return files


def rolled_out(folder: Path, to: Path, evaluation: dict[str, Any]) -> None:
    """Rolls the emulator of an autoencoder's folder out."""
    stage(
        "rollout",
        "finish",
        config={"stride": 1, "evaluation": evaluation, "sampler": {"algorithm": "direct"}},
        autoencoder=folder / "weights.safetensors",
        emulator=folder / "solver-s0" / "weights.safetensors",
        latents=folder / "latents" / "test.json",
        store=to / "rollouts.zarr",
        output=to / "rollouts.json",
        device="cpu",
    )


def evaluated(folder: Path, data: dict[str, Any], name: str) -> Path:
    """Trains, rolls out and scores an emulator on latents; returns the manifest of its frames."""
    weights, run, latents = folder / "weights.safetensors", folder / "solver-s0", folder / "latents"
    stage(
        "emulator",
        config={"stride": 1, "augment": AUGMENT, "emulator": EMULATOR, "seed": 0},
        autoencoder=weights,
        train=latents / "train.json",
        valid=latents / "valid.json",
        **training(run),
    )
    rolled_out(folder, run, EVALUATION)
    names = {"dataset": "flow", "autoencoder": name, "emulator": "solver-s0", "sampler": "direct"}
    stage(
        "evaluate",
        "rollouts",
        config={"states": STATES, "stride": 1, "evaluation": EVALUATION}
        | {"names": names | {"method": "solver"}, "figures": {"trajectories": 4}},
        **data,
        autoencoder=weights,
        rollouts=run / "rollouts.json",
        output=run / "metrics.parquet",
        frames=run / "frames.json",
    )
    return run


AUGMENT = {"flip": ["x"], "roll": ["x"], "copies": 2}


@pytest.mark.slow
def test_a_split_of_every_kind_goes_through_all_stages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    splits = {split: write_split(split, 2) for split in ("train", "valid", "test")}
    statistics = Path("results/statistics.json")
    stage("statistics", config={"states": STATES}, train=splits["train"], output=statistics)
    data = {"statistics": statistics, "test": splits["test"], "device": "cpu"}
    runs = []
    for name, entry in (("c-s0", AUTOENCODER), ("pixel-s0", {"architecture": "identity"})):
        config = {"states": STATES, "augment": AUGMENT, "autoencoder": entry, "seed": 0}
        folder = Path("results", name)
        known = {"train": splits["train"], "valid": splits["valid"], "statistics": statistics}
        stage("autoencoder", config=config, **known, **training(folder))
        stage(
            "latents",
            "finish",
            config={"states": STATES, "label": {}, "augment": AUGMENT, "names": {}},
            **splits,
            statistics=statistics,
            weights=folder / "weights.safetensors",
            folder=folder / "latents",
            device="cpu",
        )
        runs.append(evaluated(folder, data, name))

    # Latents: ours and theirs apart, each trajectory its own times, nothing beyond its own steps.
    store = xr.open_zarr("results/c-s0/latents/train.zarr")
    for name in [f"parameter_{name}" for name in PARAMETERS[:-1]] + ["Re"]:
        assert store[name].values.tolist() == [1, 1, 2, 2]
    assert "time" not in store.coords
    assert store["steps"].values.tolist() == [6, 6, 8, 8]
    np.testing.assert_array_equal(store["trajectory_time"][3], 2.0 * np.arange(8))
    np.testing.assert_array_equal(store["trajectory_time"][0, :6], np.arange(6.0))
    for copy, row in np.ndindex(2, 4):
        known = np.isfinite(store["latent"][copy, row].values).all(axis=(1, 2))
        assert known.tolist() == [step < (6 if row < 2 else 8) for step in range(8)]
    # Only what is periodic was rolled: open trajectories have no copy that is.
    assert (store["roll"][:, :2] == 0).all()
    assert store["file"].values.tolist()[1:3] == [
        "open/data/train/a.hdf5",
        "closed/data/train/a.hdf5",
    ]

    # Rollouts count steps; pixels and latents are of the same files, and were scored.
    for run in runs:
        rollouts = xr.open_zarr(run / "rollouts.zarr")
        assert rollouts["lead_time"].values.tolist() == list(range(6))
        assert "time" not in rollouts.coords
        np.testing.assert_array_equal(rollouts["trajectory_time"][2], 2.0 * np.arange(6))
        scores = read_metrics(run / "metrics.parquet")
        assert set(scores["trajectory"]) == {0, 1, 2, 3}
        assert np.isfinite(scores["value"]).all()

    # A trajectory that is too short for a rollout is named, whatever comes first.
    late = {"states": STATES, "stride": 1, "evaluation": EVALUATION | {"horizons": [[1, 7]]}}
    short = "reach step 7; trajectory 0 of open/data/test/a.hdf5 has 6 steps"
    with pytest.raises(LilasError, match=short):
        stage("evaluate", "baselines", config=late | {"names": {}}, **data, output="late.parquet")
    with pytest.raises(LilasError, match=short):
        rolled_out(Path("results/c-s0"), tmp_path / "late", late["evaluation"])

    # Frames, pictures, videos and the viewer of states with one axis.
    frames = [run / "frames.json" for run in runs]
    dataset = xr.open_zarr(runs[0] / "frames.zarr")
    assert dataset["member"].dims == ("trajectory", "member", "time", "channel", "x")
    metrics = [run / "metrics.parquet" for run in runs]
    config = {"horizons": {"flow": EVALUATION["horizons"]}, "sources": {"flow": "known"}}
    stage("tables", config=config, metrics=metrics, output=Path("results/tables"))
    stage(
        "figures",
        config={"figures": {"trajectories": 2, "dpi": 20}},
        metrics=metrics,
        table=Path("results/tables/horizons.csv"),
        frames=frames,
        output=Path("results/figures"),
    )
    found = {path.name for path in Path("results/figures").iterdir()}
    assert {"rollout_flow_0_u.png", "video_flow_0.gif", "spectra_flow.png"} <= found
    assert Image.open("results/figures/video_flow_0.gif").n_frames == 6
    viewer = embed(frames, 10**9, looks(pd.concat(map(read_metrics, metrics))))
    first = viewer.runs[0]
    assert (first["flat"], first["axes"]) == (True, ["lead time", "x"])
    assert first["x"][3] == list(range(6))
    assert len(first["y"][3]) == 32

    for path in (
        *(splits["train"][0], Path("results/c-s0/latents/train.zarr"), runs[0] / "rollouts.zarr"),
        *(runs[0] / "frames.zarr", Path("results/pixel-s0/latents/train.json")),
    ):
        inspect(path).draw()
    text = "\n".join(inspect(Path("results/c-s0/latents/train.zarr")).lines)
    assert "differs between trajectories: 0 to 5; 0 to 14" in text
    assert "6 in 2 trajectories, 8 in 2 trajectories" in text
