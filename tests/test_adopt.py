"""Results that were copied are read as before, and what is current is not made again."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Pipeline
from lilas import cli
from lilas.errors import LilasError
from lilas.files import write_json
from lilas.inspect.kinds import inspect
from lilas.plan.adopt import forget, set_back
from lilas.plan.current import Found, examine
from lilas.plan.status import Job
from lilas.records.carried import carried, with_record
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.study.tasks import Task

CELL = "convection/c16-s0/diffusion-s0/ab4/vrmse/1-3"


def copied(source: Path, target: Path) -> None:
    """Copies files with the times of now, the last written first."""
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file() and ".snakemake" not in path.relative_to(source).parts:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


@pytest.fixture
def lilas(monkeypatch, capsys):
    """Runs the command line in a pipeline's folder, and returns what it prints."""

    def run(pipeline: Pipeline, *arguments: object) -> str:
        monkeypatch.chdir(pipeline.folder)
        for name, value in pipeline.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["lilas", *map(str, arguments)])
        cli.main()
        return capsys.readouterr().out

    return run


def test_a_copy_without_times_is_read_as_before_and_adopted(miniature, tmp_path, lilas):
    copied(miniature.folder, tmp_path / "machine" / "clone")
    twin = Pipeline(tmp_path / "machine" / "clone")
    shutil.move(twin.folder / "results", tmp_path / "machine" / "kept")
    root = tmp_path / "machine" / "kept" / "miniature"
    assert "VRMSE" in lilas(twin, "show", root)
    assert "as the table has it" in lilas(twin, "trace", CELL, "--results", root)
    weights = root / "convection" / "c16-s0" / "weights.safetensors"
    assert "\nCurrent" in lilas(twin, "inspect", weights, "--no-picture")
    settings = "data=../kept/data", f"results={root.parent}"

    def planned() -> str:
        done = twin.snakemake("-n", "--config", "study=miniature.yaml", *settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = planned()
    assert "train autoencoder c16-s0" in before
    assert f"lilas adopt {root}" in before
    made = {path: path.read_bytes() for path in root.rglob("*.safetensors")}
    told = lilas(twin, "adopt", root, "miniature.yaml", "--config", settings[0])
    assert told.endswith("Nothing is left to run\n")
    assert "Nothing to be done" in planned()
    assert made == {path: path.read_bytes() for path in made}

    # What Snakemake knows by now is no reason to keep what is not current.
    damaged = root / "convection/c16-s0/solver-s0/weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    told = lilas(twin, "adopt", root, "miniature.yaml", "--config", settings[0])
    assert "emulator convection/c16-s0/solver-s0: damaged: " in told
    assert damaged.with_name(f"{damaged.name}.changed").is_file()
    again = planned()
    assert "train solver-s0 on convection/c16-s0" in again
    assert "roll out solver-s0 with direct" in again
    assert "train diffusion-s0" not in again
    assert "train autoencoder" not in again


@pytest.fixture
def jobs(tmp_path, monkeypatch) -> list[Job]:
    """Statistics of two files, a model that is trained on them, and tables, with their records."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        Path(f"{name}.hdf5").write_bytes(name.encode())
    states, seed = '{"states": {"fields": ["u"]}}', '{"seed": 0}'
    train = ["a.hdf5", "b.hdf5"]
    found = [
        _job("statistics", "statistics.json", states, {"train": train}),
        _job(
            "autoencoder",
            "weights.safetensors",
            seed,
            {"statistics": ["statistics.json"], "train": train},
        ),
        _job("tables", "tables", '{"horizons": {}}', {"metrics": ["weights.safetensors"]}),
    ]
    _make(found[0], train=list(map(Path, train)))
    _make(found[1], statistics=Path("statistics.json"), train=list(map(Path, train)))
    _make(found[2], metrics=[Path("weights.safetensors")])
    return found


def _job(stage: str, output: str, config: str, inputs: dict[str, list[str]]) -> Job:
    return Job(stage, [output], "", needed=False, stage=stage, inputs=inputs, config=config)


def _make(job: Job, **inputs: Any) -> None:
    import torch

    record = provenance(job.stage, Task.model_validate_json(job.config).record(), inputs)
    path = Path(job.output[0])
    if path.suffix == ".safetensors":
        write_weights(path, {"w": torch.ones(2)}, record)
    elif path.suffix:
        write_json(path, {"channels": {}, "provenance": record})
    else:
        path.mkdir()
        (path / "horizons.csv").write_text("a,b\n")
        write_json(path / "record.json", {"provenance": record})


def whys(found: list[Found]) -> dict[str, str]:
    return {one.job.stage: one.why for one in found if one.why}


def test_what_the_records_agree_with_is_current(jobs):
    assert all(one.is_current for one in examine(jobs))
    for path in Path().rglob("*"):
        os.utime(path, (0, 0))
    assert all(one.is_current for one in examine(jobs))


def test_other_settings_make_it_again_and_all_that_is_made_of_it(jobs):
    jobs[1] = _job("autoencoder", "weights.safetensors", '{"seed": 1}', jobs[1].inputs)
    told = whys(examine(jobs))
    assert told["autoencoder"] == "seed was 0 and is 1"
    assert told["tables"] == "weights.safetensors is to be made again"
    assert "statistics" not in told


def test_a_changed_file_is_told_by_what_was_made_of_it(jobs):
    path = Path("statistics.json")
    path.write_text(path.read_text().replace("{}", '{"u": {}}'))
    found = examine(jobs)
    assert whys(found)["statistics"].startswith("statistics.json was changed since")
    assert found[0].changed == ["statistics.json"]
    assert whys(found)["autoencoder"] == "statistics.json is not what it was made of"


def test_damage_is_told(jobs):
    path = Path("weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    found = examine(jobs)
    assert "damaged" in whys(found)["autoencoder"]
    assert found[1].changed == ["weights.safetensors"]
    assert set(whys(found)) == {"autoencoder", "tables"}


def test_what_was_changed_is_kept_whatever_was_kept_before(jobs):
    path = Path("weights.safetensors")
    for number, name in enumerate(("weights.safetensors.changed", "weights.safetensors.changed.2")):
        path.write_bytes(b"%d" % number)
        (_, found, _) = examine(jobs)
        assert set_back(found) == {path.name: name}
        assert not path.exists()
        assert Path(name).read_bytes() == b"%d" % number


def test_other_data_make_it_again(jobs):
    Path("b.hdf5").write_bytes(b"c")
    assert set(whys(examine(jobs))) == {"statistics", "autoencoder", "tables"}
    Path("b.hdf5").write_bytes(b"b")
    # One more is told too, though all that is recorded is there.
    Path("c.hdf5").write_bytes(b"c")
    more = ["a.hdf5", "b.hdf5", "c.hdf5"]
    jobs[0] = _job("statistics", "statistics.json", jobs[0].config, {"train": more})
    assert whys(examine(jobs))["statistics"] == "train were 2 files and are 3"


def test_what_was_made_of_a_deleted_file_stands_for_it(jobs):
    Path("statistics.json").unlink()
    found = examine(jobs)
    assert found[0].gone == ["statistics.json"]
    assert whys(found) == {}
    # Yet its settings must be those that are asked for.
    jobs[1] = _job("autoencoder", "weights.safetensors", '{"seed": 1}', jobs[1].inputs)
    assert set(whys(examine(jobs))) == {"autoencoder", "tables"}


def test_what_has_no_record_is_not_known_to_be_current(jobs):
    Path("tables/record.json").unlink()
    assert whys(examine(jobs)) == {"tables": "tables has no record of its making"}


def test_a_page_carries_its_record_and_shows_the_same(tmp_path):
    page, record = "<head>\n<style></style>\n</head>", provenance("report", {}, {})
    record["config"] = {"name": "</script><b>"}
    path = tmp_path / "report.html"
    path.write_text(with_record(page, record))
    assert carried(path) == record
    assert path.read_text().count("</script>") == 1
    path.write_text(page)
    assert carried(path) is None


def test_adopt_refuses_what_are_no_results_of_the_study(tmp_path, pipeline, lilas):
    def refused(folder: object) -> str:
        with pytest.raises(SystemExit) as raised:
            lilas(pipeline, "adopt", folder)
        return str(raised.value)

    assert "expected results of a study, with study.json, found none" in refused(tmp_path)
    root = pipeline.folder / "results" / "other"
    root.mkdir(parents=True)
    write_json(root / "study.json", {"study": "../../miniature.yaml", "format": 2})
    assert "lie in a folder of its name" in refused("results/other")
    root = root.rename(root.with_name("miniature"))
    before = (root / "study.json").read_text()
    assert "holds nothing that miniature.yaml would make" in refused("results/miniature")
    assert (root / "study.json").read_text() == before


def test_snakemake_forgets_what_it_knows_and_may_know_nothing(pipeline, monkeypatch):
    monkeypatch.chdir(pipeline.folder)
    for name, value in pipeline.environment.items():
        monkeypatch.setenv(name, value)
    forget(["results/miniature/report.html"], "miniature.yaml", [])
    with pytest.raises(LilasError, match="not found"):
        forget(["results/miniature/report.html"], "none", [])


def test_a_record_of_tables_is_inspected(jobs):
    lines = "\n".join(inspect(Path("tables/record.json")).lines)
    assert "record of the making of the tables" in lines
    assert lines.endswith("\n\nCurrent")
