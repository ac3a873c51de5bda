"""Files as others find them: whole, with modes by the umask, UTF-8, where a user names them."""

import ast
import os
import platform
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import nn

from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.files import atomic, called_before, check_owner, read_json, take_ownership, write_json
from lilas.records import stores
from lilas.records.weights import write_weights
from lilas.report.table_files import _csv
from lilas.stages import execute
from lilas.study.autoencoders import GivenAutoencoder
from lilas.study.datasets import Folder
from lilas.study.read import read_config, read_study
from lilas.systems.base import Trajectories
from lilas.training.state import Training

ROOT = Path(__file__).parents[1]
MINIATURE = ROOT / "tests" / "data" / "miniature.yaml"


@pytest.fixture(params=[0o022, 0o007, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def check_modes(folder: Path, umask: int, at_least: int) -> None:
    """Checks that whatever lies below a folder is as plain programs would have made it."""
    found = sorted(folder.rglob("*"))
    assert len(found) >= at_least
    for path in found:
        mode = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.lstat().st_mode) == mode & ~umask, path


def test_what_is_written_has_the_mode_of_a_new_file(tmp_path, umask):
    folder = tmp_path / "results" / "made"
    write_json(folder / "a.json", {"a": 1})
    write_weights(folder / "weights.safetensors", {"w": torch.zeros(3)}, {})
    _csv(folder / "a.csv", pd.DataFrame({"a": [1]}))
    settings = {"optimizer": "adam", "learning_rate": 1.0, "betas": None, "weight_decay": 0.0}
    training = Training(nn.Linear(2, 2), settings | {"ema": 0.9}, folder / "checkpoint", "it")
    training.save()
    trajectories = Trajectories(
        {"heat": np.zeros((1, 2, 4), np.float32)},
        np.arange(2.0),
        {"x": np.arange(4.0)},
        {},
        {"x": "periodic"},
    )
    write_well(path=folder / "data" / "a.hdf5", dataset="a", **vars(trajectories))
    stores.create(
        folder / "a.zarr",
        variable="latent",
        sizes={"time": 2},
        chunk={},
        shard={},
        dataset=xr.Dataset({"label": ("label", [1.0])}),
        record={},
    )
    check_modes(tmp_path / "results", umask, at_least=12)


def test_a_file_keeps_no_mode_of_an_older_one_or_of_its_writer(tmp_path, umask):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o600)
    left = tmp_path / f".a.99999999-{platform.node()}.part"
    left.write_bytes(b"left by a run that was killed")
    left.chmod(0o400)
    with atomic(path) as part:
        part.write_bytes(b"new")
        part.chmod(0o600)
    check_modes(tmp_path, umask, at_least=1)
    assert path.read_bytes() == b"new"


def test_two_processes_that_write_a_file_do_not_mix(tmp_path, monkeypatch):
    """A job that goes on after its run was killed, and that of the next run: either is whole."""
    path = tmp_path / "a"
    with atomic(path) as orphan:
        orphan.write_bytes(b"half of one")
        monkeypatch.setattr(os, "getpid", os.getppid)
        with atomic(path) as part:
            part.write_bytes(b"the other")
            assert orphan.read_bytes() == b"half of one"
        assert path.read_bytes() == b"the other"
        orphan.write_bytes(b"all of one")
    assert path.read_bytes() == b"all of one"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_whole_run_leaves_no_private_file(miniature):
    umask = os.umask(0o022)
    os.umask(umask)
    check_modes(miniature.folder / "results", umask, at_least=100)


def test_text_is_read_and_written_with_an_encoding():
    """By every call that has one; what a locale would choose is nobody's wish."""
    paths = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = {keyword.arg for keyword in node.keywords}
            opened = name == "open" and isinstance(node.func, ast.Name)
            binary = any(
                isinstance(arg, ast.Constant) and "b" in str(arg.value) for arg in node.args[1:2]
            )
            if name in ("read_text", "write_text") or (opened and not binary):
                found.append(path)
                assert "encoding" in given, f"{path}:{node.lineno}"
    assert len(found) > 10


# A locale of ASCII alone, and none of Python's ways around it.
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_plan_and_stages_run_where_the_locale_is_ascii(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    (twin.results / "report.html").unlink()
    study = twin.study.read_text(encoding="utf-8")
    twin.study.write_text(f"# Wärme: 10⁵ ≤ Ra\n{study}", encoding="utf-8")
    environment = twin.environment | ASCII
    seen = subprocess.run(
        [sys.executable, "-c", "import locale; print(locale.getpreferredencoding())"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout.strip() == "ANSI_X3.4-1968"
    for line in (twin.command(), ["lilas", "show", "results/miniature"]):
        done = subprocess.run(
            line, cwd=twin.folder, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Wärme" in (twin.results / "report.html").read_text(encoding="utf-8")


def test_modules_in_the_working_folder_are_not_imported(pipeline):
    for name in ("random", "queue", "platform", "pydantic", "numpy", "lilas", "the_well"):
        (pipeline.folder / f"{name}.py").write_text(f"raise SystemExit('{name} is the user\\'s')")
    for line in (pipeline.command("all_statistics"), ["lilas", "--version"]):
        done = subprocess.run(
            line, cwd=pipeline.folder, env=pipeline.environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (pipeline.results / "convection" / "statistics.json").is_file()


def test_a_run_in_another_folder_needs_a_study_alone(pipeline, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pipeline.study.rename(elsewhere / pipeline.study.name)
    snakefile, study = str(pipeline.folder / "Snakefile"), f"study={pipeline.study.name}"
    line = ["-s", snakefile, "-d", str(elsewhere), "--cores", "1", "all_data", "--config", study]
    done = pipeline.snakemake(*line)
    assert done.returncode == 0, done.stderr
    assert len(list((elsewhere / "results" / "data").rglob("*.hdf5"))) == 6
    assert not (pipeline.folder / "results").exists()
    # One of its own is used where there is one.
    (elsewhere / "config.yaml").write_text("device: gpu\n")
    done = pipeline.snakemake(*line)
    assert done.returncode != 0
    assert "device" in done.stderr


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("$SCRATCH/lilas", "/scratch/me/lilas"),
        ("${SCRATCH}/lilas", "/scratch/me/lilas"),
        ("/a/${SCRATCH}b", "/a//scratch/meb"),
        ("~/results", "/home/me/results"),
        ("~", "/home/me"),
        ("a/~/5%", "a/~/5%"),
        ("$HERE/lilas", "/home/me/scratch/lilas"),
    ],
)
def test_paths_are_as_a_shell_has_them(monkeypatch, written, found):
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("HOME", "/home/me")
    # As of `export HERE="~/scratch"`, of which a shell makes nothing.
    monkeypatch.setenv("HERE", "~/scratch")
    config = read_config({"results": written, "data": written, "study": written})
    assert (config.results, config.data, config.study) == (found, found, found)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("$NOWHERE/lilas", "the variable NOWHERE is not set"),
        ("a/${NOWHERE}", "the variable NOWHERE is not set"),
        ("$EMPTY/lilas", "the variable EMPTY is not set"),
        ("~nobody_of_that_name/lilas", "no user 'nobody_of_that_name'"),
        ("$NESTED", r"a \$ that names no variable, it is '\$OTHER/lilas'"),
        ("$$HOME", r"a \$ that names no variable"),
        ("$(pwd)/lilas", r"a \$ that names no variable; allowed: \$NAME"),
        ("a/${HOME", r"a \$ that names no variable"),
        ("a/$", r"a \$ that names no variable"),
        ("s3://bucket/lilas", "no path of a file system"),
        ("a\0b", "no path of a file system"),
        ("a{b}", "braces"),
        ("", "empty"),
    ],
)
def test_paths_that_name_nothing_are_refused_in_one_line(monkeypatch, written, words):
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("NESTED", "$OTHER/lilas")
    for key in ("data", "results"):
        with pytest.raises(LilasError, match=words) as caught:
            read_config({key: written})
        assert f"config.yaml: {key}: " in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_path_that_is_empty_on_the_command_line_is_refused():
    """A shell makes `results=` of `results=$UNSET`: the results would go to the default place."""
    for key, words in (("results", "empty"), ("data", "empty"), ("device", "unknown ''")):
        with pytest.raises(LilasError, match=f"config.yaml: {key}: {words}"):
            read_config({"results": "elsewhere"}, [f"{key}="])
    assert read_config({"results": "a"}, ["results='b'"]).results == "a"


def test_paths_of_a_study_are_expanded_too(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    text = MINIATURE.read_text(encoding="utf-8")
    start, end = text.index("      kind: simulate"), text.index("    states:")
    folder = "      kind: path\n      path: ${SCRATCH}/flow\n"
    text = text[:start] + folder + text[end:]
    study = tmp_path / "study.yaml"
    study.write_text(text, encoding="utf-8")
    assert read_study(study).datasets["convection"].source.path == "/scratch/me/flow"
    joined = Folder(kind="path", path=["$SCRATCH/a", "b"])
    assert joined.paths == ("/scratch/me/a", "b")
    run = GivenAutoencoder(model="${SCRATCH}/run.zip")
    assert run.model == "/scratch/me/run.zip"
    monkeypatch.delenv("SCRATCH")
    with pytest.raises(LilasError, match=r"source\.path: .* SCRATCH is not set"):
        read_study(study)


def test_a_study_that_is_not_utf_8_is_refused_in_one_line(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_bytes("# Wärme\n".encode("latin-1") + MINIATURE.read_bytes())
    with pytest.raises(LilasError, match=r"study\.yaml: is not UTF-8") as caught:
        read_study(study)
    assert "\n" not in str(caught.value)


def test_an_interrupted_stage_ends_with_one_line():
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match=r"^stopped; the same command goes on from here$"):
        execute(interrupted)


def test_a_path_that_the_locale_cannot_write_is_refused_in_one_line():
    code = "from lilas.study.read import read_config; "
    code += r"read_config({'results': 'd\u00e9j\u00e0'})"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | ASCII, capture_output=True, check=False
    )
    assert rb"results: 'd\xe9j\xe0': letters that the locale has not" in done.stderr
    assert b"PYTHONUTF8=1" in done.stderr


def test_what_a_terminal_cannot_show_is_escaped():
    code = r"from lilas.stages import execute; execute(lambda: print('2 \u00d7 \u00e9'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | ASCII, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, rb"2 \xd7 \xe9" + b"\n")


def test_a_study_may_move_or_be_edited_and_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    study, root = tmp_path / "a" / "demo.yaml", tmp_path / "results" / "demo"
    study.write_text("seed: 1\n")
    check_owner(root, study)
    take_ownership(root, study, job_bytes=1.0)
    check_owner(root, study)
    study.write_text("seed: 2\n")
    check_owner(root, study)
    take_ownership(root, study)
    # The results are moved and renamed, then the study is, then it is edited there.
    root = (tmp_path / "results").rename(tmp_path / "kept") / "demo"
    check_owner(root, study)
    root, study = root.rename(tmp_path / "kept" / "new"), study.rename(tmp_path / "new.yaml")
    check_owner(root, study)
    take_ownership(root, study)
    study.write_text("seed: 3\n")
    check_owner(root, study)
    # One that was renamed alone is told where its results are; where its file is, there they are.
    study = study.rename(tmp_path / "newer.yaml")
    take_ownership(root, tmp_path / "newer.yaml")
    study = study.rename(tmp_path / "newest.yaml")
    assert called_before(root.with_name("newest"), study) == root
    assert called_before(root, study) is None
    (tmp_path / "newer.yaml").write_text(study.read_text())
    assert called_before(root.with_name("newest"), study) is None
    (tmp_path / "newer.yaml").unlink()
    study.write_text("seed: 4\n")
    assert called_before(root.with_name("newest"), study) is None
    study.rename(tmp_path / "new.yaml")
    take_ownership(root, tmp_path / "new.yaml")
    # Another study of one name, in another file.
    other = tmp_path / "a" / "new.yaml"
    other.write_text("seed: 5\n")
    adopt = re.escape(f"lilas adopt {root} {other}")
    with pytest.raises(LilasError, match=f"results of two studies never mix.*{adopt}$"):
        check_owner(root, other)
    called = [f"{tmp_path}/{name}" for name in ("results/demo", "kept/new")]
    assert read_json(root / "study.json")["called"] == called
