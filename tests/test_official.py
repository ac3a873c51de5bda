"""Official runs: parity, there and back, what is refused, and a pipeline that starts from them."""

import copy
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lilas import cli
from lilas.data.well import open_files
from lilas.errors import LilasError
from lilas.files import read_json, write_json
from lilas.models.build import make_autoencoder, make_emulator
from lilas.models.losses import LOSSES
from lilas.official import parity
from lilas.official.adopt import check_emulation, check_latents, check_pixels, check_states
from lilas.official.configs import official_emulator
from lilas.official.folders import OfficialRun, open_run, origin
from lilas.official.models import load_run_autoencoder, load_run_emulator, save_run
from lilas.plan.given import check_given
from lilas.records.provenance import provenance
from lilas.records.weights import load_weights, write_weights
from lilas.study.datasets import States
from lilas.study.emulators import GivenEmulator
from lilas.study.entries import autoencoder_settings, emulator_settings
from lilas.study.read import read_config, read_study

DATA = Path(__file__).parent / "data" / "lola_1.1.0"
RUNS = sorted(path.parent for path in DATA.rglob("state.pth"))
AE = DATA / "runs/ae/ae0_rayleigh_benard_dcae_f4c4_small"
DM = DATA / "runs/dm/dm0_rayleigh_benard_f4c4_vit_small"
SM = DATA / "runs/sm/sm0_rayleigh_benard_f4c4_vit_small"
PIXEL = DATA / "runs/sm/sm1_euler_all_pixel_vit_pixel"
ROWS = list(parity.check(DATA))


# --- Parity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.subject}-{row.quantity}")
def test_equals_the_official_code(row):
    assert row.passed, f"{row.error:.2e} > {row.allowed:g}"


GIVEN = {"x", "eps", "label", "u", "v", "length", "lmbda", "rho", "atleast", "patterns"}


def test_the_table_leaves_nothing_out():
    compared: dict[str, set[str]] = {}
    for row in ROWS:
        compared.setdefault(row.subject, set()).add(row.quantity)
    assert len(RUNS) == 11
    for path in sorted(DATA.rglob("*.npz")):
        if path.name == parity.EXPECTED:
            subject = path.parent.name
        else:
            subject = path.stem if "context" in path.stem else f"{path.parent.name}/{path.stem}"
        with np.load(path) as arrays:
            names = {n for n in arrays.files if n not in GIVEN and not n.startswith("init_")}
            names -= {n for n in names if np.isnan(arrays[n]).any()}
            if "v" in arrays and len(arrays["v"]) == 1:
                names.remove("spread")
        found = compared[subject]
        assert found - {"state, there and back", "probabilities"} == names - {"probability"}


def test_a_broken_factor_fails(monkeypatch):
    def vmse(y, x):
        error = (x - y).square().flatten(2).mean(2)
        return (error / (x.flatten(2).var(2) + 2e-2)).mean()

    monkeypatch.setitem(LOSSES, "vmse", vmse)
    failed = [row.quantity for row in parity.check_run(AE) if not row.passed]
    assert failed == ["loss_vmse"]


def test_a_broken_order_fails(monkeypatch):
    make = parity.make_sampler
    monkeypatch.setattr(
        parity, "make_sampler", lambda m, d, *, steps, order: make(m, d, steps=steps, order=2)
    )
    failed = [row.quantity for row in parity.check_run(DM) if not row.passed]
    assert {name.split("_")[1] for name in failed} == {"ab16", "eab16"}


def test_the_printed_table_names_what_fails():
    text = parity.table([parity.Row("run", "z", 1e-6, 1e-5), parity.Row("run", "y", 2e-3, 1e-5)])
    assert "2.0e-03    1e-05  FAILS" in text
    assert text.endswith("2 comparisons, 1 fail")


@pytest.fixture(scope="module")
def data(miniature):
    path = next((miniature.folder / "results" / "data").rglob("test/*.hdf5"))
    return open_files([path], ["buoyancy", "pressure", "velocity"])[0]


# --- There and back ---------------------------------------------------------------------------


def ours(run: OfficialRun, path: Path) -> Path:
    """Writes a run's model as our weights, as the stage does."""
    kind = "autoencoder" if run.kind == "autoencoder" else "emulator"
    entry, model = (load_run_autoencoder if kind == "autoencoder" else load_run_emulator)(run)
    plain = {kind: entry.model_dump(mode="json", exclude_defaults=True)}
    record = provenance("given", plain, {})
    record["official"] = origin(run)
    write_weights(path, model.state_dict(), record)
    return path


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_weights_come_back_bit_by_bit(folder, tmp_path):
    weights = ours(open_run(folder), tmp_path / "weights.safetensors")
    save_run(weights, tmp_path / "none.json", tmp_path / "saved")
    before, after = (torch.load(f / "state.pth") for f in (folder, tmp_path / "saved"))
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert value.dtype == after[key].dtype
        assert torch.equal(value, after[key]), key
    configs = [
        yaml.safe_load((f / "config.yaml").read_text()) for f in (folder, tmp_path / "saved")
    ]
    assert configs[0] == configs[1]


def test_a_zip_is_its_folder(tmp_path):
    path = zipped(AE, tmp_path / "run.zip")
    run, folder = open_run(path), open_run(AE)
    assert (run.kind, run.config, run.name) == (folder.kind, folder.config, "run")
    assert all(torch.equal(run.state[key], value) for key, value in folder.state.items())
    assert [row.passed for row in parity.check(path)] == [True]


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.yaml", "state.pth"):
            archive.write(folder / name, f"{folder.name}/{name}")
    return path


TRANSFORMER = {"channels": 16, "blocks": 2, "heads": 2, "embedding": 8, "patch_size": [2, 1]}
UNET = {"architecture": "unet", "channels": [8, 16], "blocks": [1, 2], "embedding": 8}
UNET |= {"attention_heads": {1: 2}, "periodic": True, "stride": [1, 2, 2]}
SCHEDULE = {"schedule": "log_logit", "sigma_max": 100.0, "prior": "beta"}
MODELS: list[dict[str, Any]] = [
    {"architecture": "dcae", "latent_channels": 3, "channels": [8, 16], "blocks": [2, 1]}
    | {"pixel_shuffle": False, "attention_heads": {1: 2}, "saturation": "none"},
    {"architecture": "dcae", "latent_channels": 3, "channels": [8, 16], "blocks": [2, 1]}
    | {"norm": "group", "periodic": ["x", "y"], "ffn_factor": 2, "kernel_size": 5}
    | {"loss": "mae", "similarity_weight": 0.5},
    {"method": "diffusion", "network": TRANSFORMER, "diffusion": SCHEDULE},
    {"method": "solver", "network": TRANSFORMER | {"rope": False}},
    {"method": "diffusion", "network": UNET},
    {"method": "solver", "network": UNET | {"norm": "group", "periodic": False}},
]


LABEL = {"Rayleigh": "log", "Prandtl": "log"}


def written(values: dict[str, Any], folder: Path, **task: Any) -> tuple[Path, Any, Any]:
    """Writes a model of ours where the pipeline would; returns its weights, entry and model."""
    torch.manual_seed(0)
    entry: Any
    if "method" in values:
        kind, path = "emulator", folder / "flow" / "c4-s0" / "solver-s0"
        entry = emulator_settings(values)
        model = make_emulator(entry, 4, 6, 2).eval()
    else:
        kind, path = "autoencoder", folder / "flow" / "c4-s0"
        entry = autoencoder_settings(values)
        model = make_autoencoder(entry, 4, ("x", "y")).eval()
    plain = {kind: entry.model_dump(mode="json", exclude_defaults=True)} | task
    weights = path / "weights.safetensors"
    write_weights(weights, model.state_dict(), provenance("given", plain, {}))
    channel = {"transform": {"kind": "log", "offset": 1.0}, "mean": 0.5, "std": 2.0}
    names = ["buoyancy", "pressure", "velocity_x", "velocity_y"]
    write_json(folder / "statistics.json", {"channels": dict.fromkeys(names, channel)})
    return weights, entry, model


@pytest.mark.parametrize("values", MODELS)
def test_models_of_ours_go_there_and_come_back(values, tmp_path, data):
    written(MODELS[0], tmp_path)
    weights, entry, model = written(values, tmp_path, label=LABEL, stride=3)
    save_run(weights, tmp_path / "statistics.json", tmp_path / "saved")
    run = open_run(tmp_path / "saved")
    if run.kind == "autoencoder":
        found, back = load_run_autoencoder(run)
    else:
        found, back = load_run_emulator(run)
        check_emulation(run, data, LABEL, 3, entry)
        assert run.config["ae_run"] == "c4-s0"
    assert found == entry
    assert all(torch.equal(back.state_dict()[k], v) for k, v in model.state_dict().items())


def test_a_pixel_space_emulator_of_ours_is_known_as_one(tmp_path):
    network = TRANSFORMER | {"patch_size": [4, 4]}
    written({"architecture": "identity"}, tmp_path)
    solver = {"method": "solver", "network": network}
    weights, *_ = written(solver, tmp_path, stride=1)
    save_run(weights, tmp_path / "statistics.json", tmp_path / "saved")
    check_pixels(open_run(tmp_path / "saved"))
    written(MODELS[0], tmp_path)
    save_run(weights, tmp_path / "statistics.json", tmp_path / "latent")
    with pytest.raises(LilasError, match="architecture identity is pixel space"):
        check_pixels(open_run(tmp_path / "latent"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"periodic": ["x"]}, "pads all axes periodically or none, here x of x, y"),
        ({"architecture": "vit", "transformer": TRANSFORMER}, "no autoencoder of .* 'vit'"),
        ({"architecture": "identity"}, "no autoencoder of .* 'identity'"),
    ],
)
def test_what_the_official_code_lacks_is_not_saved(values, message, tmp_path):
    values = values if values.get("architecture") == "identity" else MODELS[0] | values
    if values["architecture"] == "vit":
        values = {k: values[k] for k in ("architecture", "latent_channels", "transformer")}
        values["transformer"] = {
            k: v for k, v in TRANSFORMER.items() if k not in ("patch_size", "embedding")
        }
        values["patch_size"] = 4
    weights, *_ = written(values, tmp_path)
    with pytest.raises(LilasError, match=message):
        save_run(weights, tmp_path / "statistics.json", tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "flow"}, "no method 'flow'"),
        ({"method": "ensemble"}, "no method 'ensemble'"),
        ({"method": "solver", "context_noise": 0.1}, "no noise on known states"),
    ],
)
def test_emulators_that_the_official_code_lacks_have_no_configuration(values, message):
    entry = emulator_settings({"network": {"channels": 8, "blocks": 1, "heads": 2}} | values)
    sizes = {"channels": 4, "features": 6, "described": {"dimensions": ["x", "y"]}, "stride": 1}
    with pytest.raises(LilasError, match=message):
        official_emulator(entry, **sizes, autoencoder="latent", name="emulator")


# Release 1.0.0 differs in values only: the loss, a noise that was never applied, stride and masks.
EARLIER = {
    AE: {"ae": {"latent_noise": 0.01, "loss": {"losses": ["vrmse"], "weights": [1.0]}}},
    DM: {"trajectory": {"stride": 4, "context": {"lmbda": 1.0, "rho": 0.66, "atleast": 1}}},
}


@pytest.mark.parametrize("folder", EARLIER, ids=lambda folder: folder.name)
def test_a_run_of_release_1_0_computes_the_same(folder, tmp_path):
    earlier = damaged(folder, tmp_path / "run", config=EARLIER[folder])
    shutil.copy(folder / parity.EXPECTED, earlier)
    rows = list(parity.check_run(earlier))
    assert len(rows) > 5
    assert all(row.passed for row in rows)


# --- Bad input --------------------------------------------------------------------------------


def damaged(folder: Path, to: Path, *, config: dict[str, Any] | None = None, **state: Any) -> Path:
    """Copies a run with keys of its state, and of its configuration's sections, replaced."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("cache", "expected.npz"))
    if state:
        tensors = torch.load(to / "state.pth")
        for key, value in state.items():
            name = key.replace("__", ".")
            tensors.pop(name, None)
            if value is not None:
                tensors[name] = value
        torch.save(tensors, to / "state.pth")
    described = yaml.safe_load((to / "config.yaml").read_text())
    for section, values in (config or {}).items():
        described[section] |= values
    (to / "config.yaml").write_text(yaml.safe_dump(described))
    return to


FIRST = "encoder__descent__0__0__weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({FIRST: None}, r"state\.pth: expected encoder\.descent\.0\.0\.weight, found no such key"),
        ({"extra__weight": torch.ones(1)}, r"found extra\.weight too \(1 unknown\)"),
        ({FIRST: torch.ones(8, 5, 3, 3)}, r"of shape \(8, 4, 3, 3\), found \(8, 5, 3, 3\)"),
        ({FIRST: torch.full((8, 4, 3, 3), torch.nan)}, r"descent\.0\.0\.weight is not finite"),
        ({"encoder__descent__0__1__norm__eps": torch.tensor(1e-3)}, "the constant .*norm.eps"),
        ({"config": {"ae": {"stem": "deep"}}}, r"unknown key ae\.stem: 'deep'"),
        ({"config": {"ae": {"arch": "vit"}}}, r"ae\.arch one of dcae, found 'vit'"),
        ({"config": {"ae": {"saturation": "clip"}}}, "saturation: .*found 'clip'"),
        ({"config": {"ae": {"loss": {"losses": ["vmse"], "weights": [2.0]}}}}, "loss one of one"),
        ({"config": {"ae": {"pix_channels": 5}}}, r"expected ae\.pix_channels 4, found 5"),
        ({"config": {"ae": {"spatial": "two"}}}, r"ae\.spatial: .* found 'two'"),
        ({"config": {"ae": {"lat_channels": [4]}}}, r"latent_channels: .*found \[4\]"),
        ({"config": {"ae": {"loss": {"losses": ["vmse"]}}}}, r"ae\.loss\.weights: .*no such key"),
        ({"config": {"dataset": {"stats": {"mean": [0], "std": [1]}}}}, "for each of 4 fields"),
        ({"config": {"dataset": {"fields": "buoyancy"}}}, r"dataset\.fields: .*found 'buoyancy'"),
        ({"config": {"ae": {"hid_blocks": [1, 1, 1]}}}, "unknown|no such key"),
        ({"config": {"dataset": {"transform": {0: "sqrt"}}}}, "found 'sqrt' for buoyancy"),
        ({"config": {"dataset": {"stats": {"mean": [0] * 4, "std": [0] * 4}}}}, "positive std"),
    ],
)
def test_a_broken_autoencoder_is_refused(changes, message, tmp_path):
    folder = damaged(AE, tmp_path / "run", **changes)
    with pytest.raises(LilasError, match=message):
        load_run_autoencoder(open_run(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_embedding__0__weight": torch.ones(24, 5)}, r"\(24, 6\), found \(24, 5\)"),
        ({"config": {"surrogate": {"arch": "mlp"}}}, "arch one of vit, unet"),
        ({"config": {"surrogate": {"patch_size": [2, 1, 1]}}}, "1 in time"),
        ({"config": {"surrogate": {"attention_heads": 3}}}, "3 even heads"),
        ({"config": {"surrogate": {"depth": 3}}}, r"unknown key surrogate\.depth"),
        ({"config": {"surrogate": {"label_features": 0}}}, r"surrogate\.label_features: .*found 0"),
        ({"config": {"trajectory": {"length": "long"}}}, r"trajectory\.length: .*found 'long'"),
    ],
)
def test_a_broken_emulator_is_refused(changes, message, tmp_path):
    folder = damaged(SM, tmp_path / "run", **changes)
    with pytest.raises(LilasError, match=message):
        load_run_emulator(open_run(folder))


NEEDED = {
    AE: [("ae", key) for key in ("norm", "saturation", "pixel_shuffle", "hid_blocks", "dropout")]
    + [("dataset", key) for key in ("stats", "fields", "dimensions", "name")],
    DM: [("denoiser", key) for key in ("qk_norm", "rope", "window_size", "schedule", "masked")]
    + [("denoiser", "schedule", key) for key in ("name", "sigma_min", "scale")]
    + [("trajectory", "stride")],
    DATA / "runs/sm/sm2_rayleigh_benard_f4c4_unet": [
        ("surrogate", key) for key in ("stride", "periodic", "norm", "channels", "label_features")
    ],
}


@pytest.mark.parametrize(
    ("folder", "keys"), [(folder, keys) for folder, several in NEEDED.items() for keys in several]
)
def test_a_missing_key_never_becomes_a_default(folder, keys, tmp_path):
    run = damaged(folder, tmp_path / "run")
    described = yaml.safe_load((run / "config.yaml").read_text())
    section = described
    for key in keys[:-1]:
        section = section[key]
    del section[keys[-1]]
    (run / "config.yaml").write_text(yaml.safe_dump(described))
    load = load_run_autoencoder if folder is AE else load_run_emulator
    with pytest.raises(LilasError, match=rf"config\.yaml: expected .*{keys[-1]}"):
        load(open_run(run))


def test_one_kind_is_not_another():
    with pytest.raises(LilasError, match="expected an autoencoder's run, found a run of a solver"):
        load_run_autoencoder(open_run(SM))
    with pytest.raises(LilasError, match="expected an emulator's run, found a run of an auto"):
        load_run_emulator(open_run(AE))


def test_broken_files_are_refused(tmp_path):
    folder = damaged(AE, tmp_path / "run")
    whole = (folder / "state.pth").read_bytes()
    (folder / "state.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LilasError, match=r"state\.pth: expected a PyTorch state, found a damaged"):
        open_run(folder)
    for content in (b"", b"hello"):
        (folder / "state.pth").write_bytes(content)
        with pytest.raises(LilasError, match=r"state\.pth: .*found a damaged or foreign file"):
            open_run(folder)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    (folder / "state.pth").write_bytes(flipped)
    with pytest.raises(LilasError, match=r"state\.pth: .*found a damaged .* has another sum"):
        open_run(folder)
    (folder / "state.pth").unlink()
    with pytest.raises(LilasError, match=r"state\.pth: expected a file, found nothing"):
        open_run(folder)
    with pytest.raises(LilasError, match="expected a zip of an official run, found nothing"):
        open_run(tmp_path / "none.zip")
    path = zipped(AE, tmp_path / "run.zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(LilasError, match=r"run\.zip: expected a whole zip, found a damaged one"):
        open_run(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LilasError, match=r"run\.zip: expected a whole zip"):
        open_run(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(AE / "config.yaml", "a/config.yaml")
        archive.write(AE / "state.pth", "b/state.pth")
    with pytest.raises(LilasError, match=r"one run's folder inside, found a/config\.yaml and b"):
        open_run(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("run/state.pth")
        archive.write(AE / "config.yaml", "run/config.yaml")
    with pytest.raises(LilasError, match=r"one state\.pth inside, found 0"):
        open_run(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with pytest.raises(LilasError, match=r"one config\.yaml inside, found 0"):
        open_run(path)
    with pytest.raises(LilasError, match="expected official runs or reference outputs, found none"):
        list(parity.check(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ae: [\n  1,\n", r"expected YAML, found a damaged file \(while parsing .*Fetch it again"),
        ("{}", r"expected a section dataset and one of .*, found nothing\. Use"),
        ("1: 2", r"expected a section dataset and one of .*, found 1\. Use"),
    ],
)
def test_a_damaged_configuration_is_told_in_one_line(tmp_path, text, words):
    folder = damaged(AE, tmp_path / "run")
    (folder / "config.yaml").write_text(text)
    with pytest.raises(LilasError, match=rf"config\.yaml: {words}") as error:
        open_run(folder)
    assert "\n" not in str(error.value)


def test_a_pickled_program_is_not_run(tmp_path):
    folder = damaged(AE, tmp_path / "run")
    torch.save({"a": Path("x")}, folder / "state.pth")
    with pytest.raises(LilasError, match="damaged or foreign"):
        open_run(folder)


# --- A pipeline that starts from them ---------------------------------------------------------

STUDY = """
autoencoders:
  f4c4: {{model: {autoencoder}}}
emulators:
  diffusion:
    model: {diffusion}
    method: diffusion
    autoencoders: [f4c4]
    samplers: [ab16]
  solver:
    model: {solver}
    method: solver
    autoencoders: [f4c4]
    samplers: [direct]
samplers:
  ab16: {{algorithm: ab, order: 3, steps: 16, members: 2}}
  direct: {{algorithm: direct}}
"""


@pytest.fixture(scope="module")
def official_pipeline(miniature, tmp_path_factory):
    """The miniature's data and workflow with a study that takes every model from official runs."""
    pipeline = miniature.copy(tmp_path_factory.mktemp("official") / "pipeline")
    zipped(DM, pipeline.folder / "diffusion.zip")
    study = yaml.safe_load(pipeline.study.read_text())
    runs = {"autoencoder": AE, "diffusion": "diffusion.zip", "solver": SM}
    made = yaml.safe_load(STUDY.format(**runs))
    pipeline.study = pipeline.folder / "official.yaml"
    pipeline.results = pipeline.folder / "results" / "official"
    pipeline.study.write_text(yaml.safe_dump({"datasets": study["datasets"]} | made))
    return pipeline


@pytest.fixture(scope="module")
def finished(official_pipeline):
    official_pipeline.run()
    return official_pipeline


def test_nothing_is_trained(official_pipeline):
    jobs = official_pipeline.planned("--forceall")
    trained = {"autoencoder", "emulator", "statistics", "fetch"}
    assert not trained & set(jobs)
    assert (jobs["given_autoencoder"], jobs["given_emulator"]) == (1, 2)
    assert jobs["latents_test"] == 1


@pytest.mark.slow
def test_a_study_of_official_runs_goes_from_encoding_to_the_report(finished):
    folder = finished.results / "convection" / "f4c4-s0"
    metrics = pd.concat(
        [
            pd.read_parquet(folder / "diffusion-s0" / "ab16" / "metrics.parquet"),
            pd.read_parquet(folder / "solver-s0" / "direct" / "metrics.parquet"),
            pd.read_parquet(folder / "reconstruction.parquet"),
        ]
    )
    assert np.isfinite(metrics["value"]).all()
    assert set(metrics["emulator"]) == {"diffusion-s0", "solver-s0", "reconstruction"}
    assert (metrics["compression"] == 16).all()
    assert (finished.results / "report.html").is_file()
    for name, folder_of_run in (("diffusion-s0", DM), ("solver-s0", SM)):
        state = load_file(folder / name / "weights.safetensors")
        theirs = torch.load(folder_of_run / "state.pth")
        key = next(k for k in theirs if k.endswith("blocks.1.ffn.0.weight"))
        assert torch.equal(state["backbone.network.blocks.1.ffn.0.weight"], theirs[key])
    # States enter the model as it was trained, not as this dataset would have it.
    stats = yaml.safe_load((AE / "config.yaml").read_text())["dataset"]["stats"]
    channels = read_json(folder / "statistics.json")["channels"]
    assert [c["mean"] for c in channels.values()] == stats["mean"]
    assert [c["std"] for c in channels.values()] == stats["std"]
    made = read_json(folder / "latents" / "test.json")["provenance"]["inputs"]["statistics"]
    assert made["path"].endswith("f4c4-s0/statistics.json")


@pytest.mark.slow
def test_the_record_names_the_run_and_its_hash(finished):
    folder = finished.results / "convection" / "f4c4-s0"
    entry, model = load_run_emulator(open_run(DM))
    record = load_weights(folder / "diffusion-s0" / "weights.safetensors", model)
    assert record["official"]["run"] == "diffusion"
    assert set(record["inputs"]) == {"diffusion.zip", "test", "autoencoder"}
    assert len(record["inputs"]["diffusion.zip"]["sha256"]) == 64
    assert emulator_settings(record["config"]["emulator"]) == entry


@pytest.mark.parametrize(
    ("entry", "official", "message"),
    [
        (
            "diffusion",
            "/none/run",
            r"emulators\.diffusion\.model: /none/run: expected the folder",
        ),
        ("diffusion", "ny04m1tx", "ny04m1tl"),
        ("diffusion", str(DATA), r"lola_1\.1\.0/config\.yaml: expected a file of an official run"),
        ("diffusion", "1e3z5x2c", "f32c64_large is of kind autoencoder; expected diffusion"),
        ("diffusion", "2k83f6km", "is of kind neural_solver; expected diffusion"),
    ],
)
def test_wrong_runs_are_refused_before_anything_runs(
    official_pipeline, entry, official, message, tmp_path
):
    study = yaml.safe_load(official_pipeline.study.read_text())
    study["emulators"][entry]["model"] = official
    (tmp_path / "official.yaml").write_text(yaml.safe_dump(study))
    read = read_study(tmp_path / "official.yaml")
    with pytest.raises(LilasError, match=message):
        check_given(read, read_config({}), {})


def test_a_released_run_is_fetched_once_into_the_data_folder(official_pipeline):
    study = official_pipeline.study.read_text()
    name = "ny04m1tl_rayleigh_benard_f32c64_vit_large"
    try:
        official_pipeline.edit("diffusion.zip", "ny04m1tl")
        planned = official_pipeline.run("--dry-run").stdout
    finally:
        official_pipeline.study.write_text(study)
    assert planned.count("fetch the released run") == planned.count(name) == 1


# --- What does not fit ------------------------------------------------------------------------


STATES = States(fields=["buoyancy", "pressure", "velocity"])


def changed(run: OfficialRun, section: str, **values: Any) -> OfficialRun:
    described = copy.deepcopy(run.config)
    described[section] |= values
    return OfficialRun(run.path, run.kind, described, run.state)


def asked(method: str, window: int = 5) -> GivenEmulator:
    return GivenEmulator(model="any", method=method, window=window)


def test_what_fits_passes(data):
    check_states(open_run(AE), data, STATES)
    check_emulation(open_run(DM), data, LABEL, 1, asked("diffusion"))
    check_pixels(open_run(PIXEL))


def test_states_that_differ_are_refused(data):
    run = open_run(AE)
    fields = ["pressure", "buoyancy", "velocity_x", "velocity_y"]
    with pytest.raises(LilasError, match=r"channels as trained: pressure, buoyancy, .*found buoy"):
        check_states(changed(run, "dataset", fields=fields), data, STATES)
    with pytest.raises(LilasError, match="axes as trained: x, y, z, found x, y"):
        check_states(changed(run, "dataset", dimensions=["x", "y", "z"]), data, STATES)
    with pytest.raises(LilasError, match=r"of pressure as trained: log\(x \+ 1e-06\), found none"):
        check_states(changed(run, "dataset", transform={1: "log_eps"}), data, STATES)


def test_labels_and_strides_that_differ_are_refused(data):
    run = open_run(DM)
    with pytest.raises(LilasError, match="features as trained: 5, found 6: "):
        check_emulation(
            changed(run, "denoiser", label_features=5), data, LABEL, 1, asked("diffusion")
        )
    with pytest.raises(LilasError, match=r"transforms as trained: .*found \{'Rayleigh': 'log'\}"):
        check_emulation(run, data, {"Rayleigh": "log"}, 1, asked("diffusion"))
    with pytest.raises(LilasError, match="stride as trained: 1, found 4"):
        check_emulation(run, data, LABEL, 4, asked("diffusion"))


def test_methods_and_windows_that_differ_are_refused(data):
    with pytest.raises(LilasError, match="method as trained: diffusion, found solver"):
        check_emulation(open_run(DM), data, LABEL, 1, asked("solver"))
    with pytest.raises(LilasError, match=r"window as trained: 5, found 9\. Set window to 5"):
        check_emulation(open_run(SM), data, LABEL, 1, asked("solver", window=9))


def test_an_emulator_of_another_latent_space_is_refused(tmp_path):
    weights = ours(open_run(AE), tmp_path / "weights.safetensors")
    check_latents(open_run(DM), weights)
    other = open_run(DATA / "runs/dm/dm1_euler_all_f4c6_vit_patch")
    with pytest.raises(LilasError, match="latent channels as trained: 6, found 4"):
        check_latents(other, weights)
    renamed = changed(open_run(DM), "dataset", name="euler_all")
    with pytest.raises(LilasError, match=r"dataset\.name as trained: euler_all, found rayleigh_b"):
        check_latents(renamed, weights)
    stats = {"mean": [0.0] * 4, "std": [1.0] * 4}
    with pytest.raises(LilasError, match=r"dataset\.stats as trained: .*found .*0\.38"):
        check_latents(changed(open_run(DM), "dataset", stats=stats), weights)
    with pytest.raises(LilasError, match="space as trained: pixels, found latents"):
        check_latents(open_run(PIXEL), weights)
    trained, *_ = written(MODELS[0], tmp_path)
    with pytest.raises(LilasError, match="an official one, found one that was trained here"):
        check_latents(open_run(DM), trained)


def test_pixel_space_is_that_of_a_pixel_space_run(tmp_path):
    run = open_run(PIXEL)
    latent = OfficialRun(run.path, run.kind, run.config | {"ae_run": "some_run"}, run.state)
    narrow = changed(run, "surrogate", channels=4)
    for other in (open_run(AE), open_run(DM), open_run(SM), latent, narrow):
        with pytest.raises(LilasError, match="architecture identity is pixel space"):
            check_pixels(other)


# --- The command line -------------------------------------------------------------------------


def lilas(monkeypatch, *arguments: Any) -> None:
    monkeypatch.setattr("sys.argv", ["lilas", *map(str, arguments)])
    cli.main()


def test_check_prints_the_table_and_fails_with_it(monkeypatch, capsys, tmp_path):
    lilas(monkeypatch, "official", "check", AE)
    assert "all pass" in capsys.readouterr().out
    broken = tmp_path / AE.name
    shutil.copytree(AE, broken)
    with np.load(AE / parity.EXPECTED) as arrays:
        np.savez(
            broken / parity.EXPECTED, **dict(arrays) | {"loss_mae": 1.001 * arrays["loss_mae"]}
        )
    with pytest.raises(SystemExit) as ended:
        lilas(monkeypatch, "official", "check", broken)
    assert ended.value.code == 1
    assert "1 fail" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="expected official runs or reference outputs"):
        lilas(monkeypatch, "official", "check", tmp_path / "nothing")


@pytest.mark.slow
def test_what_the_pipeline_trained_goes_to_the_official_formats(miniature, monkeypatch, tmp_path):
    folder = miniature.results / "convection"
    monkeypatch.chdir(miniature.folder)
    solver = folder / "c16-s0" / "solver-s0" / "weights.safetensors"
    lilas(monkeypatch, "official", "save", solver, tmp_path / "solver")
    described = open_run(tmp_path / "solver").config["dataset"]
    statistics = read_json(folder / "statistics.json")["channels"]
    assert described["fields"] == list(statistics)
    assert described["stats"]["mean"] == [c["mean"] for c in statistics.values()]
    # This one pads x alone periodically.
    weights = folder / "c16-s0" / "weights.safetensors"
    with pytest.raises(SystemExit, match="pads all axes periodically or none"):
        lilas(monkeypatch, "official", "save", weights, tmp_path / "autoencoder")
    manifest = folder / "c16-s0" / "latents" / "train.json"
    lilas(monkeypatch, "official", "latents-out", manifest, weights, tmp_path / "run")
    caches = sorted((tmp_path / "run").rglob("*.hdf5"))
    again = tmp_path / "train.json"
    lilas(monkeypatch, "official", "latents-in", weights, again, *caches)
    assert again.read_bytes() == manifest.read_bytes()
