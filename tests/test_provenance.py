"""Fingerprints of code and records of inputs: what counts as a change, and what does not."""

import os
from pathlib import Path

import pytest

from lilas.records import provenance


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("# A comment\n{source}", True),
        ("{source}\n\n\n", True),
        ('"""Another docstring."""\n{body}', True),
        ("from lilas.files import sha256\n{body}", True),
        ("import numpy as np\n{body}", False),
        ("{source}\nextra = 1\n", False),
        ("{twice}", False),
    ],
)
def test_the_fingerprint_sees_code_alone(change, same):
    source = '"""A docstring."""\n\ndef f(x):\n    """Doubles."""\n    return 2 * x\n'
    body = source.split("\n", 1)[1].replace("Doubles.", "Twice.")
    changed = change.format(source=source, body=body, twice=source.replace("2 * x", "3 * x"))
    assert (provenance._statements(source) == provenance._statements(changed)) == same


def test_the_fingerprint_is_blind_to_where_code_lies(tmp_path, monkeypatch):
    """A function that moves to a module of its own leaves it, though both import what they need."""
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    f, g = "def f(x):\n    return np.sqrt(x)\n", "def g(x):\n    return f(np.abs(x))\n"
    (tmp_path / "one.py").write_text(f"import numpy as np\n{f}{g}")
    whole = provenance._fingerprint(["lilas.one"])
    (tmp_path / "one.py").write_text(f"import numpy as np\nfrom lilas.two import f\n{g}")
    (tmp_path / "two.py").write_text(f"import numpy as np\n{f}")
    assert provenance._fingerprint(["lilas.one", "lilas.two"]) == whole
    (tmp_path / "two.py").write_text(f"import numpy as np\n{f.replace('sqrt', 'exp')}")
    assert provenance._fingerprint(["lilas.one", "lilas.two"]) != whole


def test_a_stage_is_made_of_what_it_imports():
    modules = provenance._reachable("lilas.stages.rollout")
    assert {
        "lilas.models.rollout",
        "lilas.models.methods",
        "lilas.nn.vit",
        "lilas.models.diffusion",
    } <= modules
    assert "lilas.evaluation.metrics" in provenance._reachable("lilas.stages.evaluate")
    assert "lilas.evaluation.metrics" not in provenance._reachable("lilas.stages.simulate")
    assert provenance.code_fingerprint("rollout") != provenance.code_fingerprint("simulate")


def test_changed_inputs_are_told(tmp_path):
    weights, data = tmp_path / "weights", tmp_path / "data"
    weights.write_text("a")
    data.write_text("b")
    record = provenance.provenance("tables", {}, {"weights": weights, "data": [data]})
    assert provenance.differences(record) == []
    weights.write_text("c")
    data.write_text("more")
    record["code"] = "other"
    found = provenance.differences(record)
    assert len(found) == 3
    assert "has changed since" in found[0]
    assert "another size or content" in found[1]
    assert "code of stage 'tables' differs" in found[2]
    weights.unlink()
    assert "is not here and cannot be checked" in provenance.differences(record)[0]


def test_the_fingerprint_of_metrics_holds_all_that_scores_are_made_of():
    used = provenance._reachable("lilas.evaluation.score") - {"lilas.evaluation.score"}
    folder = "lilas.evaluation."
    assert {name for name in used if name.startswith(folder)} == set(provenance.METRICS)


def test_configuration_inputs_and_version_alone_decide_what_is_made(tmp_path):
    """What of a record must be the same for a checkpoint or a store to be carried on with."""
    weights, data = tmp_path / "weights", tmp_path / "data"
    weights.write_text("a")
    data.write_text("b")

    def made(config, **changes):
        inputs = {"weights": weights, "data": [data]}
        return provenance.making(provenance.provenance("latents", config, inputs) | changes)

    before = made({"seed": 0})
    assert made({"seed": 0}) == before
    assert made({"seed": 0}, code="other", versions={"torch": "0"}) == before
    assert made({"seed": 1}) != before
    assert made({"seed": 0}, stage="emulator") != before
    assert made({"seed": 0}, version=1000) != before
    data.write_text("longer")
    assert made({"seed": 0}) != before
    data_again = made({"seed": 0})
    weights.write_text("c")
    assert made({"seed": 0}) != data_again


def test_where_and_when_inputs_were_written_decides_nothing(tmp_path):
    def made(folder, data="b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        weights, file = tmp_path / folder / "weights", tmp_path / folder / "0.hdf5"
        weights.write_text("a")
        file.write_text(data)
        os.utime(file, (0, len(folder)))
        inputs = {"weights": weights, "data": [file]}
        return provenance.making(provenance.provenance("latents", {}, inputs))

    assert made("here") == made("there, copied")
    assert made("here", "c") != made("there")


@pytest.mark.parametrize("size", [0, 1, 1000, 5_000_000], ids=lambda n: f"{n} bytes")
def test_a_sample_of_a_data_file_has_its_first_and_last_bytes(tmp_path, monkeypatch, size):
    monkeypatch.setattr(provenance, "PIECE", 4096)
    content = bytearray(i % 251 for i in range(size))
    path = tmp_path / "0.hdf5"
    path.write_bytes(content)
    before = provenance.data_file(path)
    small = size <= provenance.PIECES * provenance.PIECE
    for place in (0, size // 3, size - 1) if small else (0, size // 2, size - 1):
        if 0 <= place < size:
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            # Between its pieces, a large file is not looked at.
            known = small or place in (0, size - 1)
            assert (provenance.data_file(path) != before) == known, place
    path.write_bytes(content + b"0")
    assert provenance.data_file(path) != before


def test_what_makes_a_training_another_is_named():
    def making(**changed):
        values = {"steps": 1600, "network": "unet", "data": "aa", "name": "0.hdf5", "weights": "s"}
        values |= changed
        train = {"steps": values["steps"], "betas": [0.9, 0.99]}
        return {
            "version": 3,
            "config": {"emulator": {"train": train, "network": values["network"]}},
            "inputs": {
                "train": [{"path": values["name"], "bytes": 1, "sampled": values["data"]}],
                "autoencoder": {"sha256": values["weights"]},
            },
        }

    for changed, told in (
        ({}, []),
        ({"steps": 1650}, ["emulator.train.steps was 1600 and is 1650"]),
        ({"network": None}, ['emulator.network was "unet" and is null']),
        ({"data": "bb"}, ["train: 0.hdf5 has changed"]),
        ({"name": "1.hdf5"}, ["train: 0.hdf5 came or went", "train: 1.hdf5 came or went"]),
        (
            {"weights": "t", "steps": 1},
            ["emulator.train.steps was 1600 and is 1", "autoencoder has changed"],
        ),
    ):
        assert provenance.changes(making(), making(**changed)) == told
    assert provenance.changes(making(), making() | {"version": 4}) == ["version was 3 and is 4"]


def test_inputs_are_found_where_their_artifact_was_moved(tmp_path, monkeypatch):
    run = "results/demo/flow/c32-s0"
    for name in (f"{run}/weights", f"{run}/latents/train.json", "results/demo/flow/c16-s0/weights"):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / name).write_text(name)
    (tmp_path / "new/results").rename(tmp_path / "new/kept")
    artifact = tmp_path / "new/kept/demo/flow/c32-s0/solver/weights"
    folder = tmp_path / "new/kept/demo/flow"
    assert provenance.located(f"{run}/weights", artifact) == folder / "c32-s0/weights"
    assert provenance.located(f"/gone/{run}/weights", artifact) == folder / "c32-s0/weights"
    # Never another run's file of the same name.
    assert provenance.located("results/demo/flow/c8-s0/weights", artifact) is None
    assert provenance.located("results/demo/flow/c8-s0/latents/train.json", artifact) is None
    assert provenance.located(f"{run}/weights") is None


def test_inputs_of_a_copy_are_its_own_and_never_those_beside_it(tmp_path, monkeypatch):
    """Both lie where a recorded path leads, and only the copy's are what the copy was made of."""
    monkeypatch.chdir(tmp_path)
    for root in ("results/demo", "results/copy"):
        weights = tmp_path / root / "flow/c32-s0/weights"
        weights.parent.mkdir(parents=True)
        weights.write_text(root)
        (tmp_path / root / "study.json").write_text('{"called": ["results/demo"]}')
    artifact = tmp_path / "results/copy/flow/c32-s0/solver/weights"
    copied = tmp_path / "results/copy/flow/c32-s0/weights"
    assert provenance.located("results/demo/flow/c32-s0/weights", artifact) == copied
    copied.unlink()
    assert provenance.located("results/demo/flow/c32-s0/weights", artifact) is None
    # Data that lay beside the results do so where these were moved.
    data = tmp_path / "moved/data/0.hdf5"
    data.parent.mkdir(parents=True)
    data.write_text("data")
    (tmp_path / "results/copy").rename(tmp_path / "moved/copy")
    moved = tmp_path / "moved/copy/flow/c32-s0/solver-s0/weights"
    assert provenance.located("results/data/0.hdf5", moved) == data
    # What is of another study is looked for as before.
    other = Path("results/other/flow/c32-s0/weights")
    other.parent.mkdir(parents=True)
    other.write_text("other")
    assert provenance.located(str(other), artifact) == other
