"""`lilas inspect` and `lilas show` on small artifacts that the stages made from known numbers."""

import hashlib
import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import zarr
from safetensors import safe_open

from conftest import mounted
from lilas import cli
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.inspect.data import inspect_data_file
from lilas.inspect.kinds import inspect
from lilas.inspect.text import Ranges, array_ranges
from lilas.models.latents import open_latents
from lilas.records.weights import read_record, read_weights, write_weights
from test_training import flip

TRAIN = {
    "steps": 4,
    "batch_size": 2,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "validate_every": 2,
    "validation_batches": 1,
    "threads": 1,
}
STATES = {"fields": ["buoyancy", "velocity"]}
AUTOENCODER = {
    "architecture": "dcae",
    "latent_channels": 2,
    "channels": [4, 4],
    "blocks": [1, 1],
    "periodic": ["x"],
    "train": TRAIN,
}
EMULATOR = {
    "method": "solver",
    "network": {"channels": 8, "blocks": 1, "heads": 2, "embedding": 8},
    "window": 3,
    "train": TRAIN,
}
EVALUATION = {"start": 0, "horizons": [[1, 2], [3, 5]]}
LABEL = {"Rayleigh": "log", "Prandtl": "none"}
ROOT = Path("results/tiny")
FLOW = ROOT / "flow"
DATA = {split: Path(f"data/{split}/flow.hdf5") for split in ("train", "valid", "test")}
STEPS, SHAPE = 6, (16, 8)


def write_data(path: Path, trajectories: int) -> None:
    """Writes a flow with buoyancy from -0.5 to 2.5, velocity_x sin(2 pi x) of mean 0."""
    x, y = (np.arange(SHAPE[0]) / SHAPE[0]), np.arange(SHAPE[1]) / SHAPE[1]
    states = (trajectories, STEPS, *SHAPE)
    wave = np.broadcast_to(np.sin(2 * np.pi * x)[:, None], states)
    noise = np.random.default_rng(trajectories).normal(size=states)
    write_well(
        path,
        dataset="flow",
        fields={
            "buoyancy": np.linspace(-0.5, 2.5, np.prod(states)).reshape(states),
            "velocity": np.stack([wave, noise], axis=-1),
        },
        time=10 + 0.5 * np.arange(STEPS),
        coordinates={"x": x, "y": y},
        parameters={"Rayleigh": 1e5, "Prandtl": np.linspace(1, 2, trajectories)},
        boundaries={"x": "periodic", "y": "wall"},
        attributes={"time_units": "free-fall time", "simulation": "known"},
    )


def stage(name: str, *arguments: Any, config: dict[str, Any], **paths: Any) -> None:
    """Runs a stage in this process."""
    line = [name, *map(str, arguments), "--config", json.dumps(config)]
    for key, value in paths.items():
        line += [f"--{key}", *map(str, value if isinstance(value, list) else [value])]
    before, sys.argv = sys.argv, line
    try:
        importlib.import_module(f"lilas.stages.{name}").main()
    finally:
        sys.argv = before


def make_latents(folder: Path, copies: int) -> None:
    """Encodes the splits with the weights in `folder`."""
    config = {
        "states": STATES,
        "label": LABEL,
        "augment": {"flip": ["x"], "roll": ["x"], "copies": copies},
        "names": {"dataset": "flow"},
    }
    stage(
        "latents",
        "finish",
        config=config,
        **{split: [file] for split, file in DATA.items()},
        statistics=FLOW / "statistics.json",
        weights=folder / "weights.safetensors",
        folder=folder / "latents",
        device="cpu",
    )


def training(folder: Path) -> dict[str, Path]:
    return {
        "weights": folder / "weights.safetensors",
        "best": folder / "weights_best.safetensors",
        "history": folder / "history.jsonl",
        "checkpoint": folder / "checkpoint",
        "device": Path("cpu"),
    }


def make_artifacts() -> None:
    """Makes one artifact of each kind in the current folder, through the stages."""
    for split, count in (("train", 2), ("valid", 1), ("test", 1)):
        write_data(DATA[split], count)
    statistics = FLOW / "statistics.json"
    stage("statistics", config={"states": STATES}, train=[DATA["train"]], output=statistics)
    splits = {"train": [DATA["train"]], "valid": [DATA["valid"]]}
    for name, entry in (("c6-s0", AUTOENCODER), ("pixel-s0", {"architecture": "identity"})):
        config = {"states": STATES, "augment": {}, "autoencoder": entry, "seed": 0}
        folder = FLOW / name
        stage("autoencoder", config=config, statistics=statistics, **splits, **training(folder))
        make_latents(folder, copies=2)
    folder = FLOW / "c6-s0"
    weights, latents = folder / "weights.safetensors", folder / "latents"
    config = {"stride": 1, "augment": {}, "emulator": EMULATOR, "seed": 0}
    stage(
        "emulator",
        config=config,
        autoencoder=weights,
        train=latents / "train.json",
        valid=latents / "valid.json",
        **training(folder / "solver-s0"),
    )
    rollouts = folder / "solver-s0" / "direct"
    stage(
        "rollout",
        "finish",
        config={"stride": 1, "evaluation": EVALUATION, "sampler": {"algorithm": "direct"}},
        autoencoder=weights,
        emulator=folder / "solver-s0" / "weights.safetensors",
        latents=latents / "test.json",
        store=rollouts / "rollouts.zarr",
        output=rollouts / "rollouts.json",
        device="cpu",
    )
    names = {"dataset": "flow"}
    common = {"states": STATES, "stride": 1, "evaluation": EVALUATION}
    data = {"statistics": statistics, "test": [DATA["test"]], "device": "cpu"}
    stage(
        "evaluate",
        "baselines",
        config=common | {"names": names},
        **data,
        output=FLOW / "baselines.parquet",
    )
    names |= {"autoencoder": "c6-s0", "emulator": "solver-s0", "sampler": "direct"}
    names["method"] = "solver"
    stage(
        "evaluate",
        "rollouts",
        config=common | {"names": names, "figures": {"trajectories": 1}},
        **data,
        autoencoder=weights,
        rollouts=rollouts / "rollouts.json",
        output=rollouts / "metrics.parquet",
        frames=rollouts / "frames.json",
    )
    runs = {"c6-s0/solver-s0": {"direct": {"algorithm": "direct"}}}
    stage(
        "timing",
        config={"states": STATES, "timing": {"turns": 6}, "names": {"dataset": "flow"}}
        | {"runs": runs},
        autoencoders=weights,
        latents=latents / "test.json",
        emulators=folder / "solver-s0" / "weights.safetensors",
        test=DATA["test"],
        output=FLOW / "timing.json",
        device="cpu",
    )
    metrics = [FLOW / "baselines.parquet", rollouts / "metrics.parquet"]
    config = {"horizons": {"flow": EVALUATION["horizons"]}, "sources": {"flow": "known"}}
    made = {"metrics": metrics, "timings": FLOW / "timing.json", "output": ROOT / "tables"}
    stage("tables", config=config, **made)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artifacts; tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_artifacts()
    return folder


@pytest.fixture
def here(artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the artifacts, as the current folder."""
    shutil.copytree(artifacts, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def lilas(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["lilas", *map(str, arguments)])
    cli.main()


@pytest.fixture
def inspected(here, monkeypatch, capsys):
    """Inspects a path and returns what is printed, unwrapped and with runs of spaces as one."""

    def run(path: Any, *options: Any) -> str:
        lilas(monkeypatch, "inspect", path, *(options or ["--no-picture"]))
        return re.sub(" +", " ", re.sub(r"\n {18}", " ", capsys.readouterr().out))

    return run


def line(text: str, start: str) -> str:
    """The one line that starts so."""
    found = [row.strip() for row in text.splitlines() if row.strip().startswith(start)]
    assert len(found) == 1, f"{start!r} is in {len(found)} lines of\n{text}"
    return found[0]


# --- Numbers ----------------------------------------------------------------------------------


def test_ranges_of_blocks_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(size=(7, 3, 4, 5)) * 1e3
    ranges = Ranges(3)
    for block in np.split(values, [1, 4]):
        ranges.add(block, axis=1)
    for i in range(3):
        assert ranges.low[i] == values[:, i].min()
        assert ranges.high[i] == values[:, i].max()
        assert ranges.sum[i] / ranges.count[i] == pytest.approx(values[:, i].mean(), rel=1e-12)


@pytest.mark.parametrize("chunks", [(3, 2, 4), (2, 3, 4), (5, 4, 3)])
def test_ranges_of_a_store_hold_however_it_is_chunked(tmp_path, chunks):
    values = np.random.default_rng(0).normal(size=(5, 4, 6))
    array = zarr.create_array(tmp_path / "a.zarr", data=values, chunks=chunks)
    ranges = array_ranges(array, ("time", "channel", "x"))
    np.testing.assert_array_equal(ranges.low, values.min((0, 2)))
    np.testing.assert_array_equal(ranges.high, values.max((0, 2)))
    np.testing.assert_allclose(ranges.sum / ranges.count, values.mean((0, 2)), rtol=1e-12)


def test_ranges_count_what_is_not_finite_and_leave_it_out():
    values = np.array([[1.0, np.nan], [2.0, -4.0], [np.inf, 6.0]])
    ranges = Ranges(2)
    ranges.add(values, axis=1)
    table = ranges.lines(["a", "b"])
    assert table[1].split() == ["a", "1", "1.5", "2", "1", "not", "finite"]
    assert table[2].split() == ["b", "-4", "1", "6", "1", "not", "finite"]


def test_a_data_file_shows_its_known_numbers(inspected):
    text = inspected(DATA["train"])
    assert line(text, "buoyancy") == "buoyancy -0.5 1 2.5"
    # sin(2 pi x) at 16 points: from -1 to 1, of mean 0 to the rounding of float32.
    _, low, mean, high = line(text, "velocity_x").split()
    assert (low, high) == ("-1", "1")
    assert abs(float(mean)) < 1e-7
    assert "float32 (trajectory 2, time 6, channel 3, x 16, y 8)" in line(text, "states")
    assert line(text, "time") == "time 10 to 12.5, unit: free-fall time"
    assert line(text, "boundaries") == "boundaries x periodic, y wall"
    assert line(text, "Rayleigh") == "Rayleigh 100000"
    assert line(text, "Prandtl") == "Prandtl 1, 2"


def test_statistics_show_closed_forms(inspected):
    text = inspected(FLOW / "statistics.json")
    count = 2 * STEPS * SHAPE[0] * SHAPE[1]
    # n points evenly from -1/2 to 5/2: mean 1, variance 9/12 (n + 1) / (n - 1).
    std = np.sqrt(0.75 * (count + 1) / (count - 1))
    assert line(text, "buoyancy") == f"buoyancy -0.5 1 2.5 {std:.6g} {count} none"
    # A sine over whole periods: variance 1/2.
    assert f"{np.sqrt(0.5):.6g}" in line(text, "velocity_x")
    assert line(text, "stage") == "stage statistics"


def test_weights_show_their_parameters_and_hash(inspected):
    path = FLOW / "c6-s0/weights.safetensors"
    text = inspected(path)
    with safe_open(path, "pt") as file:
        sizes = {key: file.get_tensor(key).numel() for key in file.keys()}  # noqa: SIM118
    assert line(text, "parameters") == f"parameters {sum(sizes.values()):,} float32"
    assert line(text, "SHA-256") == f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    decoder = sum(size for key, size in sizes.items() if key.startswith("decoder."))
    shown = [row.split() for row in text.splitlines() if row.strip().startswith("decoder.")]
    assert sum(int(row[2].replace(",", "")) for row in shown) == decoder > 0
    assert "latent_channels 2" in line(text, "autoencoder")


def test_weights_of_known_values_show_their_range(inspected):
    record = json.loads(safe_open(FLOW / "c6-s0/weights.safetensors", "pt").metadata()["lilas"])
    state = {
        "net.a.0.weight": torch.tensor([[-3.0, 1.5]]),
        "net.a.0.bias": torch.tensor([2.0]),
        "net.b": torch.tensor([7.25]),
    }
    write_weights("known.safetensors", state, record)
    text = inspected("known.safetensors")
    assert line(text, "net.a.0") == "net.a.0 2 3 -3 2"
    assert line(text, "net.b") == "net.b 1 1 7.25 7.25"
    assert line(text, "parameters") == "parameters 4 float32"


def test_a_history_shows_its_best_validation(inspected, here):
    entries = [
        {"step": 1, "loss": 4.0, "learning_rate": 0.1, "gradient_norm": 2.0, "skipped": 0},
        {"step": 2, "loss": 2.0, "learning_rate": 0.1, "gradient_norm": 1.0, "skipped": 1},
        {"step": 3, "loss": 1.0, "learning_rate": 0.0, "gradient_norm": 1.0, "skipped": 1},
    ]
    entries[1]["valid_loss"], entries[2]["valid_loss"] = 0.25, 0.5
    entries[2]["seconds"] = 12.34
    Path("history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    text = inspected("history.jsonl")
    assert line(text, "steps") == "steps 3"
    assert "valid_loss 0.25 best, at step 2; 0.5 last" in text
    assert line(text, "skipped").startswith("skipped 1 steps")
    assert line(text, "seconds") == "seconds 12.3"
    assert "No weights lie beside it" in text
    assert "stage autoencoder" in inspected(FLOW / "c6-s0/history.jsonl")


def test_a_checkpoint_shows_its_step(inspected):
    path = FLOW / "c6-s0/checkpoint/checkpoint.pt"
    text = inspected(path)
    best = torch.load(path, weights_only=True)["best_loss"]
    assert line(text, "step") == "step 4"
    assert line(text, "best loss") == f"best loss {best:.6g}, in validation"


@pytest.mark.parametrize("name", ["train.zarr", "train.json"])
def test_latents_show_shape_compression_and_autoencoder(inspected, name):
    text = inspected(FLOW / "c6-s0/latents" / name)
    shape = "(augmentation 2, trajectory 2, time 6, channel 2, x 8, y 4)"
    assert f"float32 {shape}, unit 1" in text
    # 3 channels and 2 x 2 pixels in 2 latent channels.
    assert line(text, "compression") == "compression 6"
    digest = hashlib.sha256((FLOW / "c6-s0/weights.safetensors").read_bytes()).hexdigest()
    assert f"SHA-256 {digest[:12]}" in text
    assert "Rayleigh, Prandtl, boundary_x_first" in line(text, "features")
    assert "Current" in text.splitlines()


def test_latents_show_the_range_of_what_is_stored(inspected):
    path = FLOW / "c6-s0/latents/train.zarr"
    array = zarr.open_array(path, path="latent", mode="r+")
    array[...] = np.arange(array.size, dtype=np.float32).reshape(array.shape) / 8
    values = np.moveaxis(array[...], 3, 0).reshape(2, -1)
    text = inspected(path)
    for i in range(2):
        low, mean, high = (float(n) for n in line(text, f"latent {i}").split()[2:])
        assert (low, high) == (values[i].min(), values[i].max())
        assert mean == pytest.approx(values[i].mean(dtype=np.float64), rel=1e-5)


def test_pixel_latents_are_standardised_data(inspected):
    text = inspected(FLOW / "pixel-s0/latents/train.json")
    assert "(trajectory 2, time 6, channel 3, x 16, y 8)" in text
    _, low, mean, high = line(text, "buoyancy").split()
    count = 2 * STEPS * SHAPE[0] * SHAPE[1]
    top = 1.5 / np.sqrt(0.75 * (count + 1) / (count - 1))
    assert float(high) == pytest.approx(top, rel=1e-4)
    assert float(low) == pytest.approx(-top, rel=1e-4)
    assert abs(float(mean)) < 1e-5


@pytest.mark.parametrize("name", ["rollouts.zarr", "rollouts.json"])
def test_rollouts_show_members_and_lead_times(inspected, name):
    text = inspected(FLOW / "c6-s0/solver-s0/direct" / name)
    assert "(trajectory 1, member 1, time 6, channel 2, x 8, y 4)" in text
    assert line(text, "lead time") == "lead time 0 to 5 solver steps, every 1"
    assert line(text, "context") == "context 1 true state"
    assert line(text, "stage") == "stage rollout"


def test_metrics_show_means_by_horizon(inspected):
    path = FLOW / "baselines.parquet"
    rows = pd.read_parquet(path)
    rows = rows[(rows["metric"] == "vrmse") & (rows["emulator"] == "persistence")]
    near = rows[rows["lead_time"] <= 2]["value"].mean()
    far = rows[rows["lead_time"] >= 3]["value"].mean()
    text = inspected(path)
    part = text.split("persistence, relative to the truth")[1].split("climatology, rel")[0]
    assert line(part, "vrmse lower").split()[-2:] == [f"{near:.4g}", f"{far:.4g}"]
    assert line(text, "fields") == "fields buoyancy, velocity_x, velocity_y"


# --- Origin -----------------------------------------------------------------------------------


def test_a_timing_shows_what_a_state_costs(inspected):
    text = inspected(FLOW / "timing.json")
    assert "turns 6" in text
    # Of 16 x 8 points: a linear layer of three numbers each, say, is among them.
    assert line(text, "rollout c6-s0/solver-s0/direct 64 ")
    assert line(text, "matmul 1 ").endswith(" 17.18")
    assert line(text, "gradient c6-s0/solver-s0 2 ")


def test_changed_weights_make_latents_stale(inspected):
    store = (FLOW / "c6-s0/latents/train.zarr").resolve()
    weights = FLOW / "c6-s0/weights.safetensors"
    state = {}
    with safe_open(weights, "pt") as file:
        record = json.loads(file.metadata()["lilas"])
        state = {key: file.get_tensor(key) + 1 for key in file.keys()}  # noqa: SIM118
    write_weights(weights, state, record)
    text = inspected(store)
    assert "Stale" in text
    assert line(text, "autoencoder:") == f"autoencoder: {weights} has changed since"
    assert "they cannot be decoded" in text


def test_a_data_file_of_another_size_makes_statistics_stale(inspected):
    assert "Current" in inspected(FLOW / "statistics.json").splitlines()
    write_data(DATA["train"], 3)
    text = inspected(FLOW / "statistics.json")
    assert line(text, "train:") == f"train: {DATA['train']} has another size or content now"


def test_inputs_that_are_gone_are_named(inspected):
    shutil.rmtree("data")
    text = inspected(FLOW / "statistics.json")
    assert line(text, "train:") == f"train: {DATA['train']} is not here and cannot be checked"
    assert "Not known to be current" in text
    assert "Stale" not in text
    assert "inspect from there" in text


def test_other_code_is_reported_but_leaves_an_artifact_current(inspected):
    path = FLOW / "statistics.json"
    value = json.loads(path.read_text())
    value["provenance"]["code"] = "0" * 64
    path.write_text(json.dumps(value))
    text = inspected(path)
    assert "Current" in text.splitlines()
    assert "reported only" in line(text, "code:")


# --- Pictures ---------------------------------------------------------------------------------

# By artifact, the least part of its picture that is in colour: panels of states, or lines.
DRAWN = {
    DATA["train"]: 0.2,
    FLOW / "c6-s0/weights.safetensors": 0.002,
    FLOW / "c6-s0/history.jsonl": 0.002,
    FLOW / "c6-s0/checkpoint/checkpoint.pt": 0.002,
    FLOW / "c6-s0/latents/train.zarr": 0.2,
    FLOW / "pixel-s0/latents/train.json": 0.2,
    FLOW / "c6-s0/solver-s0/direct/rollouts.json": 0.2,
    FLOW / "baselines.parquet": 0.002,
}


@pytest.mark.parametrize(("path", "least"), DRAWN.items(), ids=map(str, DRAWN))
def test_a_picture_is_drawn(inspected, path, least):
    text = inspected(path, "--picture", "picture.png")
    assert line(text, "Picture:") == "Picture: picture.png"
    image = matplotlib.image.imread("picture.png")[..., :3]
    assert min(image.shape[:2]) > 200
    assert (np.ptp(image, axis=-1) > 0.15).mean() > least


def test_the_picture_of_latents_has_rows_of_decoded_fields(inspected, here):
    path = FLOW / "c6-s0/latents/train.zarr"
    inspected(path, "--picture", "with.png")
    (FLOW / "c6-s0/weights.safetensors").unlink()
    text = inspected(path, "--picture", "without.png")
    assert "they cannot be decoded" in text
    tall, low = (matplotlib.image.imread(f"{name}.png").shape[0] for name in ("with", "without"))
    # Three decoded fields and two latent channels, against the latent channels alone.
    assert tall > 1.8 * low


def test_the_picture_goes_to_the_current_folder_by_default(here, monkeypatch, capsys):
    lilas(monkeypatch, "inspect", DATA["test"])
    assert "Picture: flow.inspect.png" in capsys.readouterr().out
    assert Path("flow.inspect.png").stat().st_size > 5000


def test_a_place_without_permission_has_no_picture(here, tmp_path, monkeypatch, capsys):
    """Where results of another are looked at, in their place: the text is there all the same."""
    file = Path(DATA["test"]).absolute()
    with mounted(tmp_path / "theirs", "ro") as folder, monkeypatch.context() as inside:
        inside.chdir(folder)
        lilas(monkeypatch, "inspect", file)
    told = capsys.readouterr().out.splitlines()[-1]
    assert (
        told == f"Picture: none; {folder} cannot be written to. Name another place: --picture FILE"
    )


def test_no_picture_where_none_is_wanted_or_possible(inspected):
    inspected(DATA["test"])
    text = inspected(FLOW / "statistics.json", "--picture", "none.png")
    assert "Picture: none" in text
    assert not list(Path().glob("*.png"))


# --- Errors, help, show -----------------------------------------------------------------------


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> str:
    """The one line with which a command ends."""
    with pytest.raises(SystemExit) as error:
        lilas(monkeypatch, *arguments)
    # A message as the exit's code is printed and gives status 1.
    assert isinstance(error.value.code, str)
    assert "\n" not in error.value.code
    return error.value.code


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("notes.txt", "hello", "one ending in '.txt'"),
        ("other.json", '{"a": 1}', "one ending in '.json'"),
        ("broken.json", "{", "text that breaks"),
        ("foreign.zarr", None, "expected a Zarr store"),
        ("foreign.pt", "no", "expected a checkpoint"),
        ("foreign.jsonl", "[1]", "in line 1"),
        ("foreign.parquet", "no", "expected a metrics file"),
        ("foreign.hdf5", "no", "something else than HDF5"),
        ("foreign.safetensors", "no", "expected safetensors"),
        ("missing", "", "found nothing"),
    ],
)
def test_what_lilas_did_not_write_is_refused(tmp_path, monkeypatch, name, content, found):
    path = tmp_path / name
    if content is None:
        path.mkdir()
    elif content:
        path.write_text(content)
    message = refused(monkeypatch, "inspect", path)
    assert message.startswith(f"error: {path}")
    assert found in message


def test_a_damaged_store_is_told_by_its_own_name(here, monkeypatch):
    store = (FLOW / "c6-s0/latents/train.zarr").resolve()
    shard = next(path for path in (store / "latent/c").rglob("*") if path.is_file())
    whole = bytearray(shard.read_bytes())
    whole[len(whole) // 3] ^= 1
    shard.write_bytes(whole)
    message = refused(monkeypatch, "inspect", store.with_suffix(".json"), "--no-picture")
    assert message.startswith(f"error: {store}: expected the array latent as it was written")
    assert f"Delete {store.with_suffix('.json')} and run again" in message


@pytest.mark.parametrize("left", [100, -100])
def test_a_truncated_checkpoint_is_damaged_and_not_foreign(tmp_path, monkeypatch, left):
    path = tmp_path / "checkpoint.pt"
    torch.save({"step": torch.arange(1000)}, path)
    path.write_bytes(path.read_bytes()[:left])
    message = refused(monkeypatch, "inspect", path)
    assert "found a damaged file (its end is missing)" in message
    assert "goes on from a checkpoint that is whole" in message
    assert len(message) < 300


def test_a_checkpoint_with_a_flipped_bit_is_damaged(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    torch.save({"step": torch.arange(1000)}, path)
    flip(path)
    message = refused(monkeypatch, "inspect", path)
    assert "found a damaged file (checkpoint/data/0 has another sum)" in message
    assert "goes on from a checkpoint that is whole" in message


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"step": Harm()}, tmp_path / "checkpoint.pt")
    message = refused(monkeypatch, "inspect", tmp_path / "checkpoint.pt")
    assert "expected a checkpoint" in message
    assert "found another file" in message
    assert not (tmp_path / "harm").exists()


def test_the_command_alone_says_what_there_is(monkeypatch, capsys):
    lilas(monkeypatch)
    assert "    check     what a folder of data holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["inspect", "show", "snakemake"]),
        (["inspect", "--help"], ["--picture", "--no-picture", "examples", "rollouts.zarr"]),
        (["show", "--help"], ["FOLDER", "results/demo"]),
    ],
)
def test_help_names_what_there_is(monkeypatch, capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        lilas(monkeypatch, *arguments)
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []
    assert max(map(len, text.splitlines())) <= 100


def test_show_prints_the_main_table_and_the_report(here, monkeypatch, capsys):
    assert "results of a study" in refused(monkeypatch, "show", ROOT)
    (ROOT / "report.html").write_text("report")
    lilas(monkeypatch, "show", ROOT)
    text = capsys.readouterr().out
    assert f"Report: {(ROOT / 'report.html').resolve()}" in text
    assert len(text.splitlines()) < 24
    first = (ROOT / "tables/horizons.md").read_text().split("### ")[1]
    numbers = re.findall(r"\d+\.\d{3}", first)
    assert len(numbers) == 3 * 2
    assert re.findall(r"\d+\.\d{3}", text) == numbers
    assert first.splitlines()[0] in text
    # One best per horizon, marked as in the Markdown.
    assert text.count("*") - 1 == first.count("**") // 2 == 2


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ({"heat": "K"}, ["own units\n", "\n  heat in K ", "\n  wind_x ", "\n  wind_y "]),
        ({}, ["own units (the file names none)", "\n  heat "]),
    ],
    ids=["named", "none"],
)
def test_units_of_fields_are_shown_where_a_file_names_them(tmp_path, units, words):
    write_well(
        tmp_path / "flow.hdf5",
        dataset="flow",
        fields={"heat": np.ones((1, 2, 3, 4)), "wind": np.ones((1, 2, 3, 4, 2))},
        time=np.arange(2.0),
        coordinates={"x": np.arange(3.0), "y": np.arange(4.0)},
        parameters={},
        boundaries={"x": "open", "y": "open"},
        units=units,
    )
    text = "\n".join(inspect_data_file(tmp_path / "flow.hdf5").lines)
    for word in words:
        assert word in text


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda record: record.pop(key)


DAMAGE = {key: without(key) for key in ("stage", "inputs", "config", "code", "versions")} | {
    "implementations": lambda record: record.update(implementations="none"),
    "inputs.files": lambda record: record["inputs"].update(files=[{"path": "a.hdf5"}]),
    "inputs.weights": lambda record: record["inputs"].update(weights={"sha256": 7}),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_record_of_making_is_told_in_one_line(here, what):
    folder = FLOW / "c6-s0"
    texts = [FLOW / "statistics.json", FLOW / "pixel-s0" / "latents" / "train.json"]
    for path in texts:
        value = json.loads(path.read_text())
        DAMAGE[what](value["provenance"])
        path.write_text(json.dumps(value))
    weights = folder / "weights.safetensors"
    record = read_record(weights)
    DAMAGE[what](record)
    write_weights(weights, dict(read_weights(weights)), record)
    store = folder / "latents" / "train.zarr"
    group = zarr.open_group(store, mode="r+")
    record = json.loads(group.attrs["provenance"])
    DAMAGE[what](record)
    group.attrs["provenance"] = json.dumps(record)
    metrics = folder / "solver-s0" / "direct" / "metrics.parquet"
    table = pq.read_table(metrics)
    record = json.loads(table.schema.metadata[b"lilas"])
    DAMAGE[what](record)
    metadata = table.schema.metadata | {b"lilas": json.dumps(record).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), metrics)
    for path in [*texts, weights, store, metrics]:
        expected = rf"^{path}: expected the record of its making \(provenance\) with {what}, found"
        with pytest.raises(LilasError, match=expected) as error:
            inspect(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300
    with pytest.raises(LilasError, match=f"with {what}, found"):
        open_latents(texts[1], weights)


def test_settings_that_a_record_lacks_are_told(here):
    path = FLOW / "pixel-s0" / "latents" / "train.json"
    value = json.loads(path.read_text())
    del value["provenance"]["config"]["states"]
    path.write_text(json.dumps(value))
    with pytest.raises(LilasError, match=r"with config\.states, found none"):
        inspect(path)
    for damaged in (None, [], "record", {}):
        statistics = FLOW / "statistics.json"
        value = json.loads(statistics.read_text()) | {"provenance": damaged}
        statistics.write_text(json.dumps(value))
        with pytest.raises(LilasError, match="with stage, version, config, inputs, "):
            inspect(statistics)


def test_states_that_repeat_are_told(tmp_path):
    heat = np.random.default_rng(0).normal(size=(2, 5, 3, 4))
    heat[1, 3] = heat[1, 2]
    write_well(
        tmp_path / "flow.hdf5",
        dataset="flow",
        fields={"heat": heat},
        time=np.arange(5.0),
        coordinates={"x": np.arange(3.0), "y": np.arange(4.0)},
        parameters={},
        boundaries={"x": "open", "y": "open"},
    )
    (line,) = [x for x in inspect_data_file(tmp_path / "flow.hdf5").lines if "repeats" in x]
    assert line == "  Doubtful: trajectory 1 repeats 1 state, the first at step 3"
