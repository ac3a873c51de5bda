"""What the package knows of The Well's datasets, and studies that rely on it."""

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from lilas import cli, plan
from lilas.data.registry import well_urls
from lilas.inspect.datasets import describe_dataset
from lilas.study.extent import Extent
from lilas.study.paths import origins
from lilas.study.read import Config, read_study
from lilas.study.study import Study
from lilas.study.tasks import expected
from lilas.study.well import find_facts, well_facts

OPTIONS = Path(__file__).parent / "data" / "options.yaml"
PACKAGE = Path(__file__).parents[1] / "src" / "lilas"
EULER = ["euler_multi_quadrants_openBC", "euler_multi_quadrants_periodicBC"]


def study(tmp_path: Path, source: dict[str, Any], **dataset: Any) -> Study:
    """The study of the options on another source."""
    values = json.loads(json.dumps(yaml.safe_load(OPTIONS.read_text())))
    values["datasets"]["flow"] |= {"source": source} | dataset
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    return read_study(tmp_path / "study.yaml")


def registry() -> dict[str, Any]:
    (folder,) = find_spec("the_well").submodule_search_locations
    text = Path(folder, "utils", "registry.yaml").read_text()
    return yaml.load(text, yaml.CSafeLoader)


def test_facts_are_of_the_datasets_that_the_registry_has() -> None:
    found = registry()
    assert set(well_facts()) == set(found)
    for name, facts in well_facts().items():
        assert facts.files == len(found[name]["valid"])
        assert len(facts.size) == len(facts.axes)
        assert {len(facts.trajectories), len(facts.steps)} <= {1, facts.files}


def test_components_are_named_as_the_wells() -> None:
    facts = well_facts()["viscoelastic_instability"]
    assert facts.components("pressure") == ["pressure"]
    assert facts.components("velocity") == ["velocity_x", "velocity_y"]
    assert facts.components("C") == ["C_xx", "C_xy", "C_yx", "C_yy"]
    assert facts.states == 2 * 20 + (3 + 3) * 60 + (4 + 3 + 3 + 4) * 20
    assert facts.state_bytes == 8 * 512 * 512 * 4
    magnetic = well_facts()["post_neutron_star_merger"].components("magnetic_field")
    assert magnetic == [f"magnetic_field_{axis}" for axis in ("log_r", "theta", "phi")]


def test_sizes_are_those_of_the_paper() -> None:
    """Its Table 2: a validation split is a tenth of 1750, 2700 and, joined, 10,000 trajectories."""
    facts = well_facts()
    rayleigh, gravity = facts["rayleigh_benard"], facts["turbulence_gravity_cooling"]
    assert rayleigh.states == 175 * 200
    assert gravity.states == 270 * 50
    assert sum(facts[name].states for name in EULER) == 1000 * 101


def test_a_name_is_enough(tmp_path: Path) -> None:
    source = {"kind": "well", "name": "rayleigh_benard"}
    dataset = study(tmp_path, source).datasets["flow"]
    assert dataset.extent() == Extent(
        size=(512, 128),
        channels=["buoyancy", "pressure", "velocity_x", "velocity_y"],
        steps={"train": 200, "valid": 200, "test": 200},
        trajectories={},
        axes=("x", "y"),
        # Which of its axes is periodic The Well's facts do not tell.
        boundaries={},
        parameters=("Rayleigh", "Prandtl"),
    )
    found = expected(dataset)
    assert found.size == [512, 128]
    assert found.orders == {"buoyancy": 0, "pressure": 0, "velocity": 1}
    # How many steps there are is for the files to say.
    assert found.steps is None


def test_a_study_may_overwrite_the_facts(tmp_path: Path) -> None:
    source = {"kind": "well", "name": "rayleigh_benard"}
    other = {"size": [32, 16], "steps": 20, "channels": 5}
    dataset = study(tmp_path, source | other).datasets["flow"]
    extent = dataset.extent()
    assert (extent.size, extent.steps["test"]) == ([32, 16], 20)
    found = expected(dataset)
    assert (found.size, found.steps, found.channels) == ([32, 16], 20, 5)


def test_joined_datasets_have_the_files_of_all(tmp_path: Path) -> None:
    states = {"fields": ["energy", "density", "pressure", "momentum"]}
    evaluation = {"start": 0, "horizons": [[4, 16]]}
    read = study(
        tmp_path,
        {"kind": "well", "name": EULER},
        **{"states": states, "evaluation": evaluation, "stride": 4},
    )
    files = plan.data_files(Config(data="d"), read.datasets["flow"])
    for split, names in files.items():
        urls = [well_urls(name)[split] for name in EULER]
        assert len(names) == sum(map(len, urls)) == len(set(names))
        folders = [f"d/well/{name}/data/{split}" for name in EULER]
        assert [str(Path(name).parent) for name in names] == [
            folder for folder, part in zip(folders, urls, strict=True) for _ in part
        ]
    # One is open on all sides, one periodic.
    boundaries = read.datasets["flow"].extent().boundaries
    assert boundaries == {axis: {"open", "periodic"} for axis in ("x", "y")}
    # The paper's Euler dataset is these two.
    assert origins(read) == {
        "sources": {"flow": f"{EULER[0]} and {EULER[1]} of The Well"},
        "published": {"flow": "euler_multi_quadrants"},
    }


def test_joined_folders_have_the_files_of_all(tmp_path: Path) -> None:
    for folder in ("b", "a"):
        for split in ("train", "valid", "test"):
            path = tmp_path / folder / "data" / split
            path.mkdir(parents=True)
            for name in ("2.h5", "1.hdf5", "notes.txt"):
                (path / name).touch()
    paths = [str(tmp_path / folder) for folder in ("b", "a")]
    dataset = study(tmp_path, {"kind": "path", "path": paths}).datasets["flow"]
    assert plan.data_files(Config(), dataset)["valid"] == [
        f"{path}/data/valid/{name}" for path in paths for name in ("1.hdf5", "2.h5")
    ]
    (tmp_path / "a" / "data" / "test" / "1.hdf5").unlink()
    dataset = study(tmp_path, {"kind": "path", "path": paths, "include": ["1.h"]}).datasets["flow"]
    with pytest.raises(plan.LilasError, match=rf"'test' of {paths[1]} has any of \['1\.h'\]"):
        plan.data_files(Config(), dataset)


def test_the_first_files_of_a_split_are_enough(tmp_path: Path) -> None:
    """Of each dataset that is joined, by name, of those that `include` keeps."""
    for folder in ("b", "a"):
        for split in ("train", "valid", "test"):
            path = tmp_path / folder / "data" / split
            path.mkdir(parents=True)
            for name in ("2.h5", "10.h5", "1.hdf5"):
                (path / name).touch()
    paths = [str(tmp_path / folder) for folder in ("b", "a")]

    def names(**settings) -> dict[str, list[str]]:
        source = {"kind": "path", "path": paths} | settings
        files = plan.data_files(Config(), study(tmp_path, source).datasets["flow"])
        return {
            split: [str(Path(f).relative_to(tmp_path)) for f in files[split]] for split in files
        }

    found = names(files={"train": 2, "test": 3})
    assert found["train"] == [f"{d}/data/train/{n}" for d in "ba" for n in ("1.hdf5", "10.h5")]
    assert [len(files) for files in found.values()] == [4, 6, 6]
    found = names(files={"valid": 1}, include=[".h5"])
    assert found["valid"] == ["b/data/valid/10.h5", "a/data/valid/10.h5"]
    with pytest.raises(plan.LilasError) as caught:
        names(files={"train": 4})
    assert str(caught.value) == (
        f"source.files.train 4: split 'train' of {paths[0]} has 3 such files; allowed: at most 3"
    )
    with pytest.raises(plan.LilasError, match=r"files\.tran: should be 'train', 'valid' or 'test'"):
        names(files={"tran": 1})


@pytest.mark.parametrize("name", well_facts())
def test_every_dataset_is_read_by_its_name(tmp_path: Path, name: str) -> None:
    fields = {"fields": list(well_facts()[name].fields)}
    dataset = study(tmp_path, {"kind": "path", "path": "p"}, states=fields).datasets["flow"]
    values = dataset.model_dump() | {"source": {"kind": "well", "name": name}}
    extent = type(dataset)(**values).extent()
    (facts,) = find_facts([name])
    assert 4 * len(extent.channels) * math.prod(extent.size) == facts.state_bytes
    assert extent.steps["test"] == max(facts.steps)


def test_the_package_holds_the_files_that_it_reads() -> None:
    """Whatever is no code is named in pyproject.toml, or an installed LILAS would lack it."""
    import tomllib

    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]
    kept = {
        path
        for package, found in patterns.items()
        for pattern in found
        for path in PACKAGE.parent.joinpath(*package.split(".")).glob(pattern)
    }
    there = {
        path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    }
    assert {path for path in there if path.suffix != ".py"} == kept


def test_the_list_of_datasets_fits_a_terminal(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["lilas", "datasets"])
    cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if line[:1].strip()][1 : len(well_facts()) + 1] == (
        list(well_facts())
    )
    # The paper has 367 GB of it: 1750 trajectories, 200 steps, 4 channels of 512 x 128 float32.
    (found,) = (line for line in lines if line.startswith("rayleigh_benard "))
    assert found.split()[1:] == ["cartesian", "512", "x", "128", "200", "367"]
    after = lines[lines.index(found) + 1 :][:2]
    assert after[0].strip() == "fields: buoyancy, pressure, velocity (vector)"
    assert after[1].strip() == "parameters: Rayleigh, Prandtl; boundaries: periodic, wall"


@pytest.mark.parametrize("name", well_facts())
def test_a_study_takes_the_entry_that_is_shown(tmp_path: Path, name: str) -> None:
    lines = describe_dataset(name)
    assert max(map(len, lines[: lines.index("datasets:")])) <= 100
    shown = yaml.safe_load("\n".join(lines[lines.index("datasets:") :]))
    values = yaml.safe_load(OPTIONS.read_text()) | shown
    # Of this study's emulators one has a window over two axes, and another needs powers of two.
    values["autoencoders"] = {"dcae": values["autoencoders"]["dcae"]}
    values["emulators"] = {"transformer": values["emulators"]["transformer"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    dataset = read_study(tmp_path / "study.yaml").datasets[name]
    (facts,) = find_facts([name])
    assert dataset.source.names == (name,)
    assert dataset.evaluation.last == min(facts.steps) - 1
    assert list(dataset.label) == list(facts.parameters)


def test_an_unknown_dataset_is_told_in_a_line(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["lilas", "datasets", "shearflow"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert "The Well has no 'shearflow', did you mean 'shear_flow'?" in str(ended.value)
