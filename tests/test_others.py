"""What lilas inspect says of files to look at, of folders, and of what is none of ours."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from lilas.errors import LilasError
from lilas.inspect.kinds import inspect
from lilas.records.carried import with_record
from lilas.records.provenance import provenance

TABLE = "cell,value,low\na/persistence/vrmse/1-9,1,2\nb,3,\n"
CLAIM = {"number": 1, "verdict": "supported", "claim": "It is so."}
FILES = {
    "tables/horizons.csv": (TABLE, ["a table", "cell, value, low", "2", "lilas trace a/pers"]),
    "benchmarks/rollout.tsv": ("s\tmax_rss\n7.5\t120\n", ["7.5 s", "120 MB"]),
    "tables/horizons.md": ("| a |\n", ["to be read", "1"]),
    "tables/table6.tex": ("x\n", ["LaTeX"]),
    "claims.json": (json.dumps({"claims": [CLAIM]}), ["1. supported: It is so."]),
    "study.json": ('{"study": "demo.yaml", "format": 2}', ["whose results", "demo.yaml"]),
    "logs/rollout.log": ("a\nerror: no room\nend\n", ["last line", "end", "no room"]),
    "report.html": ("<html>\n", ["for a browser"]),
    "figures/vrmse.pdf": ("%PDF", ["a figure"]),
    "figures/video.mp4": ("...", ["a figure"]),
    "lock": ("", ["held by a run"]),
    "demo.yaml": ("datasets:\n", ["settings", "snakemake -n"]),
}
FILES |= {
    "tensorboard/ab/events.out.tfevents.1.host": ("x", ["tensorboard --logdir "]),
    "wandb/offline-run-1/run-ab.wandb": ("x", ["wandb sync "]),
}
UNKNOWN = {
    "released.zip": "a zip",
    "data.npy": "'.npy'",
    "notes": "without an ending",
    "other.json": "'.json'",
    "claims.json": "'.json'",
    "broken.csv": "a table whose rows",
    "empty.csv": "a table whose rows",
    "broken.png": "a picture",
}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", FILES)
def test_files_to_look_at_are_told_in_a_few_lines(tmp_path, name):
    text, words = FILES[name]
    found = inspect(write(tmp_path / name, text)).lines
    assert found[0].startswith(f"{tmp_path / name}: ")
    assert len(found) <= 8
    assert all(word in "\n".join(found) for word in words)


def test_a_released_run_tells_what_it_holds(tmp_path):
    with ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr("config.yaml", "a: 1")
    found = "\n".join(inspect(tmp_path / "run.zip").lines)
    assert "holds           config.yaml\n" in found
    assert "lilas official check" in found


def test_what_has_a_record_beside_it_tells_whether_it_is_current(tmp_path):
    """Of a page the record is inside."""
    data = write(tmp_path / "metrics.parquet", "a")
    record = provenance("tables", {}, {"metrics": [data]})
    write(tmp_path / "tables/record.json", json.dumps({"provenance": record}))
    write(tmp_path / "report.html", with_record("<head><style></style></head>", record))
    made = [write(tmp_path / "tables" / name, "a,b\n") for name in ("a.csv", "a.md")]
    made += [write(tmp_path / "tables/a.pdf", "%PDF"), tmp_path / "report.html"]
    for state in ("current         yes", "stale           metrics: ", "current         not known"):
        for path in made:
            assert state in "\n".join(inspect(path).lines)
        if state.startswith("stale"):
            data.unlink()
        else:
            data.write_text("b")


def test_pictures_tell_their_size(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 20, 30), np.uint8)
    pictures = [Image.fromarray(each) for each in pixels]
    pictures[0].save(tmp_path / "a.png")
    assert "30 x 20" in "\n".join(inspect(tmp_path / "a.png").lines)
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    assert "4, a lead time each" in "\n".join(inspect(tmp_path / "a.gif").lines)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_none_of_ours_is_told_in_one_short_line(tmp_path, name):
    texts = {"claims.json": '{"claims": [1]}', "other.json": "{}", "broken.csv": "a,b\n1\n"}
    path = write(tmp_path / name, texts.get(name, "" if name == "empty.csv" else "some text"))
    with pytest.raises(LilasError, match=UNKNOWN[name]) as told:
        inspect(path)
    message = str(told.value).replace(str(tmp_path), "")
    assert len(message.splitlines()) == 1
    assert len(message) <= 200


def test_folders_are_told_by_what_they_hold(tmp_path):
    run = tmp_path / "demo" / "flow" / "c32-s0"
    for name in ("weights.safetensors", "latents/train.zarr/zarr.json", "solver-s0/checkpoint/a"):
        write(run / name, "")
    write(run / "solver-s0/direct/metrics.parquet", "")
    write(run.parent / "statistics.json", "{}")
    write(tmp_path / "demo/study.json", '{"study": "../demo.yaml"}')
    write(tmp_path / "data/data/train/0.hdf5", "")
    write(tmp_path / "data/data/test/0.hdf5", "")
    for folder, words in (
        ("demo", ["results of a study", "../demo.yaml", "not made yet", "flow/c32-s0\n"]),
        ("demo", ["scored          1 rollouts", "lilas status demo"]),
        ("demo/flow", ["results on a dataset", "statistics.json", "flow/c32-s0"]),
        ("demo/flow/c32-s0", ["a training\n", "expected safetensors, found a damaged file"]),
        ("demo/flow/c32-s0/latents", ["stores", "train.zarr/"]),
        ("demo/flow/c32-s0/solver-s0", ["a training, not finished"]),
        ("demo/flow/c32-s0/solver-s0/direct", ["rollouts and their metrics"]),
        ("demo/flow/c32-s0/solver-s0/checkpoint", ["what a training resumes from"]),
        ("data", ["data files", ".hdf5 files", "2", "lilas check"]),
        ("data/data/test", ["data files", "0.hdf5"]),
        ("data/data", ["a folder", "test/, train/"]),
    ):
        found = inspect(tmp_path / folder).lines
        assert len(found) <= 9
        assert all(word in "\n".join(found) for word in words), found
    (tmp_path / "empty").mkdir()
    assert "nothing" in "\n".join(inspect(tmp_path / "empty").lines)
