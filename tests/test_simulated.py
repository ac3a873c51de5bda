"""What simulated systems have in common, whether or not their simulators are installed."""

import json
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from lilas import plan
from lilas.errors import LilasError
from lilas.study.datasets import Dataset
from lilas.study.well import find_facts
from lilas.systems import base
from lilas.systems.euler import Euler
from lilas.systems.gravity_cooling import GravityCooling
from lilas.systems.runs import UnsoundError, imbalance, simulate_runs

EULER = {
    "kind": "simulate",
    "system": "euler_multi_quadrants",
    "gamma": [1.13, 1.4],
    "boundary": ["open", "periodic"],
    "trajectories": {"train": 2, "valid": 1, "test": 1},
    "size": [16, 16],
    "interval": 0.015,
    "steps": 3,
    "seed": 0,
}
CLOUD = {
    "kind": "simulate",
    "system": "turbulence_gravity_cooling",
    "density": [1, 2.5],
    "temperature": [0.05],
    "metallicity": [0, 0.5],
    "trajectories": {"train": 1, "valid": 1, "test": 1},
    "size": [16, 16, 16],
    "interval": 0.03,
    "steps": 4,
    "seed": 0,
}


def dataset(**changes):
    return Dataset.model_validate(
        {
            "source": EULER,
            "states": {"fields": ["energy", "density", "pressure", "momentum"]},
            "evaluation": {"start": 0, "horizons": [[1, 2]]},
        }
        | changes
    )


# --- Settings ---------------------------------------------------------------------------------


def test_parts_of_euler_tell_boundary_and_gamma():
    source = Euler.model_validate(EULER)
    assert source.parts == [
        "open_gamma_1.13",
        "open_gamma_1.4",
        "periodic_gamma_1.13",
        "periodic_gamma_1.4",
    ]
    assert source.pairs[2] == ("periodic", 1.13)
    assert source.count("train") == 8


def test_boundaries_of_euler_are_those_of_any_file():
    extent = dataset().extent()
    assert extent.boundaries == {"x": {"open", "periodic"}, "y": {"open", "periodic"}}
    assert extent.channels == ["energy", "density", "pressure", "momentum_x", "momentum_y"]
    one = dataset(source=EULER | {"boundary": ["open"]}).extent()
    assert one.boundaries == {"x": {"open"}, "y": {"open"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": [16, 32]}, "as many cells along x as along y"),
        ({"blocks": [3, 2]}, "blocks 3 to 2 of 16 cells"),
        ({"blocks": [2, 5]}, "at most 4, of 4 cells each"),
        ({"gamma": [1.4, 1.40000001]}, "one name of a file"),
        ({"gamma": [1.0]}, "greater than or equal to 1.01"),
        ({"boundary": ["wall"]}, "'open' or 'periodic'"),
        ({"boundary": []}, "at least 1"),
        ({"interval": 0}, "greater than 0"),
    ],
)
def test_settings_of_euler_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        Euler.model_validate(EULER | changes)


def test_parts_of_clouds_tell_density_temperature_and_metallicity():
    source = GravityCooling.model_validate(CLOUD)
    assert source.parts == [
        "rho0_1_T0_0.05_Z_0",
        "rho0_1_T0_0.05_Z_0.5",
        "rho0_2.5_T0_0.05_Z_0",
        "rho0_2.5_T0_0.05_Z_0.5",
    ]
    assert source.triples[2] == (2.5, 0.05, 0)
    fields = ["density", "pressure", "temperature", "velocity"]
    extent = dataset(source=CLOUD, states={"fields": fields}).extent()
    assert extent.channels == [*fields[:3], "velocity_x", "velocity_y", "velocity_z"]
    assert extent.boundaries == {axis: {"open"} for axis in "xyz"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": [16, 16, 32]}, "size 16 x 16 x 32; allowed: as many cells along each axis"),
        ({"size": [8, 8, 8]}, "greater than or equal to 16"),
        ({"temperature": [0.05, 0.050000001]}, "one name of a file"),
        ({"density": [0]}, "greater than 0"),
        ({"metallicity": [-1]}, "greater than or equal to 0"),
    ],
)
def test_settings_of_clouds_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        GravityCooling.model_validate(CLOUD | changes)


@pytest.mark.parametrize(("name", "settings"), [("euler", EULER), ("cloud", CLOUD)])
def test_their_fields_and_parameters_are_the_wells(name, settings):
    """Of both boundaries of Euler."""
    source = dataset(
        source=settings,
        states={"fields": ["density"]},
        evaluation={"start": 0, "horizons": [[1, 2]]},
    ).source
    names = {
        "euler": ("euler_multi_quadrants_openBC", "euler_multi_quadrants_periodicBC"),
        "cloud": ("turbulence_gravity_cooling",),
    }[name]
    kinds = set()
    for facts in find_facts(names):
        orders = {key: len(source.axes) ** order for key, order in facts.fields.items()}
        assert list(source.components.items()) == list(orders.items())
        assert source.parameters == tuple(facts.parameters)
        assert source.axes == tuple(facts.axes)
        kinds |= set(facts.boundaries)
    assert all(found == kinds for found in source.boundary_kinds.values())


def test_momentum_has_no_logarithm_and_density_has():
    fields = ["density", "momentum"]
    logarithm = {"kind": "log", "offset": 0.0}
    dataset(states={"fields": fields, "transform": {"density": logarithm}}).extent()
    with pytest.raises(ValueError, match="momentum takes both signs"):
        dataset(states={"fields": fields, "transform": {"momentum": logarithm}}).extent()


def test_settings_are_read_without_the_simulator():
    code = (
        "import sys, lilas.study.datasets; print(sorted({'jax', 'astronomix'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_plan_names_a_simulator_that_is_missing(monkeypatch, tmp_path):
    study = SimpleNamespace(datasets={"gas": dataset()}, timing=None)
    files = {"gas": {"train": [str(tmp_path / "one.hdf5")]}}
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(LilasError) as error:
        plan.check_simulators(study, files)
    assert str(error.value) == (
        "datasets.gas: euler_multi_quadrants is simulated by astronomix, which is not installed. "
        "Run `make install EXTRAS=simulate`."
    )
    (tmp_path / "one.hdf5").touch()
    plan.check_simulators(study, files)
    monkeypatch.undo()
    monkeypatch.setattr(base, "find_spec", lambda name: name)
    plan.check_simulators(study, {"gas": {"train": ["nowhere"]}})


# --- Runs -------------------------------------------------------------------------------------


def seeds(**changes):
    found = simulate_runs(
        Euler.model_validate(EULER | changes), "open_gamma_1.4", lambda seed, progress: seed
    )
    return {split: runs for split, (runs, _) in found.items()}


def test_seed_belongs_to_part_split_and_trajectory():
    few = seeds()
    many = seeds(trajectories={"train": 5, "valid": 3, "test": 2})
    for split, runs in few.items():
        assert many[split][: len(runs)] == runs
    every = [seed for runs in many.values() for seed in runs]
    others = simulate_runs(Euler.model_validate(EULER), "open_gamma_1.13", lambda seed, _: seed)
    every += [seed for runs, _ in others.values() for seed in runs]
    every += [seed for runs in seeds(seed=1).values() for seed in runs]
    assert len(set(every)) == len(every) == 18


def test_unsound_runs_are_drawn_again_counted_and_told(capsys):
    """The first two attempts at the second training trajectory fail, and nothing else changes."""
    sound, tried = seeds(), []

    def simulate(seed, progress):
        tried.append(seed)
        progress(1)
        if len(tried) in (2, 3):
            raise UnsoundError("density is -1 at step 7")
        progress(2)
        return seed

    found = simulate_runs(Euler.model_validate(EULER), "open_gamma_1.4", simulate)
    assert [redrawn for _, redrawn in found.values()] == [2, 0, 0]
    (first, second), _ = found["train"]
    assert first == sound["train"][0]
    assert tried[1] == sound["train"][1]
    assert second == tried[3]
    assert len(set(tried)) == 6
    assert found["test"][0] == sound["test"]
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "drawn again" in x]
    assert line.startswith("open_gamma_1.4: 2 runs were drawn again (train 1: density is -1 at ste")


def test_runs_that_are_never_sound_are_refused():
    def simulate(seed, progress):
        raise UnsoundError("pressure is 0 at step 1")

    with pytest.raises(
        LilasError, match=r"5 runs in a row .* the last of them train 0: pressure is 0"
    ):
        simulate_runs(Euler.model_validate(EULER), "open_gamma_1.4", simulate)


def test_imbalance_is_what_no_outflow_explains():
    """A wave that leaves an open box: its total falls, and the flux at the ends accounts for it."""
    x = (np.arange(200) + 0.5) / 200
    time = np.arange(41) * 0.01
    amount = 2 + np.sin(3 * (x - time[:, None]))
    amount = np.broadcast_to(amount[:, :, None], (41, 200, 3))
    flux = np.stack([amount, np.zeros_like(amount)], -1)
    assert imbalance(amount, flux, 0.01, "open") < 5e-3
    assert imbalance(amount, 0 * flux, 0.01, "open") > 0.1
    assert imbalance(amount, flux, 0.01, "periodic") > 0.1
    turned = np.stack([np.zeros_like(amount), amount], -1).swapaxes(1, 2)
    assert imbalance(amount.swapaxes(1, 2), turned, 0.01, "open") < 5e-3


# --- Studies ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_studies_of_both_go_from_nothing_to_statistics(pipeline):
    """Through Snakemake, with the label of boundaries and parameters that the files tell."""
    pytest.importorskip(
        "astronomix", reason="the simulators are not installed: make install EXTRAS=simulate"
    )
    few, logarithm = {"train": 1, "valid": 1, "test": 1}, {"kind": "log", "offset": 1}
    euler = {"gamma": [1.3], "trajectories": few, "steps": 6}
    scalars = ["energy", "density", "pressure"]
    gas = {
        "source": EULER | euler,
        "states": {
            "fields": [*scalars, "momentum"],
            "transform": dict.fromkeys(scalars, logarithm),
        },
        "augment": {"flip": ["x", "y"], "roll": ["x", "y"], "permute": True},
        "evaluation": {"start": 0, "horizons": [[1, 2]], "physics": "gas"},
    }
    cloud = {
        "source": CLOUD | {"metallicity": [0.5], "steps": 6},
        "states": {"fields": ["temperature", "velocity"]},
        "label": {"rho0": "log"},
        "augment": {"flip": ["x", "y", "z"], "permute": True},
        "evaluation": {"start": 0, "horizons": [[1, 2]]},
    }
    text = yaml.safe_load(pipeline.study.read_text())
    kept = {"autoencoders": "c16", "emulators": "diffusion", "samplers": "ab4"}
    study = {key: {name: text[key][name]} for key, name in kept.items()}
    study["autoencoders"]["c16"] |= {"periodic": [], "per_dataset": {}}
    study["emulators"]["diffusion"]["samplers"] = ["ab4"]
    study["datasets"] = {"gas": gas, "cloud": cloud}
    pipeline.study.write_text(yaml.safe_dump(study))
    pipeline.run("all_statistics")
    for name, field, transformed in (
        ("gas", "energy", np.log1p),
        ("cloud", "temperature", np.array),
    ):
        system, values = study["datasets"][name]["source"]["system"], []
        for path in pipeline.folder.glob(f"results/data/*/{system}/data/train/*"):
            with h5py.File(path) as file:
                values.append(file["t0_fields"][field][:])
                assert file.attrs["redrawn"] == 0
        found = json.loads((pipeline.results / name / "statistics.json").read_text())
        assert len(values) == 2
        assert found["channels"][field]["mean"] == pytest.approx(
            transformed(values).mean(), rel=1e-5
        )
