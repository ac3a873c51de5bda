"""The released models: what there is, what belongs together, what is told of a wrong name."""

import subprocess
import sys
from collections import Counter

import pytest

from lilas.errors import LilasError
from lilas.official.released import autoencoder_of, find_released, released
from lilas.plan.given import official_files
from lilas.study.read import Config

# Table 3 of the paper: latent channels by dataset, and what they compress by.
COMPRESSIONS = {
    "rayleigh_benard": {64: 64, 16: 256, 4: 1024},
    "euler_multi_quadrants": {64: 80, 16: 320, 4: 1280},
    "turbulence_gravity_cooling": {64: 48, 16: 192, 4: 768},
}


def channels(run: str) -> int:
    """The latent channels in a run's name, such as 16 in `f32c16`."""
    (part,) = (p for p in run.split("_") if p[0] == "f" and "c" in p and p[1].isdigit())
    return int(part.partition("c")[2])


def test_there_are_the_29_models_of_the_paper():
    """An autoencoder, a diffusion model and a solver by compression, and two pixel solvers."""
    models = released()
    assert len(models) == 29
    assert Counter(model.kind for model in models.values()) == {
        "autoencoder": 9,
        "diffusion": 9,
        "neural_solver": 11,
    }
    assert len({model.id for model in models.values()}) == 29
    assert {len(model.id) for model in models.values()} == {8}
    folders = {"autoencoder": "ae", "diffusion": "dm", "neural_solver": "sm"}
    for run, model in models.items():
        assert model.url.endswith(f"/lola/{folders[model.kind]}/{run}.zip")
        if model.compression is not None:
            assert model.compression == COMPRESSIONS[model.dataset][channels(run)]


def test_an_emulator_finds_its_autoencoder():
    """It is the one whose name says the same dataset and latent."""
    users = Counter()
    for run, model in released().items():
        found = autoencoder_of(run)
        if model.compression is None:
            assert found is None
            continue
        users[found.run] += 1
        assert (found.kind, channels(found.run)) == ("autoencoder", channels(run))
        assert found.run.split("_")[1] == run.split("_")[1]
    assert len(users) == 9
    assert set(users.values()) == {3}
    assert autoencoder_of("e0sdjqy9").id == "jiof10wl"
    assert autoencoder_of("43iu4768") is None


def test_a_model_is_found_by_its_run_or_its_id():
    run = "6hsjhmvw_rayleigh_benard_f32c4_vit_large"
    assert find_released(run) is find_released("6hsjhmvw") is released()[run]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("6hsjhmvv", "did you mean 6hsjhmvw_rayleigh_benard_f32c4_vit_large"),
        ("6hsjhmvw_rayleigh_benard_f32c4_vit", "did you mean 6hsjhmvw_rayleigh_benard_f32c4_vit_"),
        ("", "allowed: 1y8qrgee_euler_all_pixel_vit_pixel, .*, …$"),
    ],
)
def test_a_name_that_is_none_is_told_the_nearest(name, words):
    with pytest.raises(LilasError, match=words):
        find_released(name)


@pytest.mark.parametrize("path", ["./run", "runs/run", "run.zip"])
def test_a_path_that_is_none_is_told_as_a_path(path):
    with pytest.raises(LilasError, match="expected the folder or zip of an official run"):
        official_files(Config(), path)


def test_names_are_asked_for_without_torch():
    code = "import sys; from lilas.official.released import released; released()"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "6hsjhmvv"], "error: run: no released model is named '6hsjhmvv'"),
        (["--run", "6hsjhmvw"], "it has 6hsjhmvw_rayleigh_benard_f32c4_vit_large.zip"),
        (["--dataset", "rayleigh_benard"], "--dataset and --split go together"),
        (["--run", "6hsjhmvw", "--split", "train"], "--dataset and --split go together"),
        (["--dataset", "rayleigh_benard", "--split", "test"], "it has rayleigh_benard_Rayleigh_1e"),
        ([], "one of the arguments --dataset --run is required"),
    ],
)
def test_the_stage_refuses_before_it_asks_a_server(tmp_path, monkeypatch, capsys, arguments, words):
    from lilas.stages import download, execute

    output = tmp_path / "model.zip"
    monkeypatch.setattr(sys, "argv", ["download", *arguments, "--output", str(output)])
    with pytest.raises(SystemExit) as stop:
        execute(download.main)
    assert words in f"{stop.value.code}{capsys.readouterr().err}"
    assert not any(tmp_path.iterdir())
