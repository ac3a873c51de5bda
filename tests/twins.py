"""Tiny synthetic twins of every dataset of The Well.

Names, orders and components of fields, constant fields, scalars, boundary groups, kinds of grid,
names of files and the ways in which times differ are The Well's; states are smooth random fields
of 12 steps on 10 to 48 points an axis. Where the format leaves values open they follow The Well's
own generators and descriptions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

STEPS = 12
KINDS = {"P": "PERIODIC", "O": "OPEN", "W": "WALL"}
# A field's order, and whether it is positive.
Fields = dict[str, tuple[int, bool]]
GAS: Fields = {"density": (0, True), "pressure": (0, True)}
HOT: Fields = GAS | {"temperature": (0, True), "velocity": (1, False)}


@dataclass(frozen=True)
class Twin:
    """The structure of a dataset.

    Attributes:
        axes: Names of the space axes.
        shape: Points along them.
        ends: Of each axis, the letter of both its boundaries; else the name of a set of masks.
        fields: Fields that vary in time.
        parameters: Constant scalars of each file of a split.
        file: Pattern of the files' names, of the parameters, the index `i` and `variant`.
        trajectories: In each file of the train, valid and test splits.
        time: Times of a file, (time,) of its index and parameters or (trajectory, time).
        constant: Scalar fields that do not vary in time, and whether trajectories differ in them.
        grid: Kind of grid.
        boundaries: Names of boundary groups that The Well calls otherwise than `x_open`.
        dataset: The attribute `dataset_name` where it is not the folder's.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    ends: str
    fields: Fields
    parameters: list[dict[str, float]]
    file: str
    trajectories: tuple[int, int, int] = (2, 1, 1)
    time: Callable[[int, dict[str, float]], np.ndarray] = lambda i, p: 0.1 * np.arange(STEPS)
    constant: dict[str, bool] = field(default_factory=dict)
    grid: str = "cartesian"
    boundaries: dict[str, str] = field(default_factory=dict)
    dataset: str | None = None


def _even(interval: float) -> Callable[[int, dict[str, float]], np.ndarray]:
    return lambda i, p: interval * np.arange(STEPS)


def _jittered(i: int, p: dict[str, float]) -> np.ndarray:
    """Times spaced by logarithm, of another length for each trajectory."""
    times = np.concatenate([[0], np.geomspace(1e-4, 0.2, STEPS - 1)])
    return np.random.default_rng(i).uniform(0.9, 1.1, (2, 1)) * times


def _resumed(i: int, p: dict[str, float]) -> np.ndarray:
    """Times that begin anywhere, in files of two lengths."""
    steps = 2 * STEPS if i == 0 else STEPS
    return np.random.default_rng(i).uniform(0, 500, (2, 1)) + np.arange(steps)


def _twins() -> dict[str, Twin]:
    xy, xyz = ("x", "y"), ("x", "y", "z")
    sphere = ("r", "theta", "phi")
    vector = (1, False)
    found = {}
    for size in (64, 256):
        found[f"MHD_{size}"] = Twin(
            *(xyz, (16, 16, 16), "PPP"),
            {"density": (0, True), "magnetic_field": vector, "velocity": vector},
            [{"Ma": 0.7, "Ms": 0.5}, {"Ma": 2.0, "Ms": 7.0}],
            "MHD_Ma_{Ma:g}_Ms_{Ms:g}",
        )
    for kind in ("discontinuous", "inclusions", "maze"):
        found[f"acoustic_scattering_{kind}"] = Twin(
            *(xy, (32, 32), "acoustic", {"pressure": (0, False), "velocity": vector}, [{}, {}]),
            f"acoustic_scattering_{kind}_chunk_{{i}}",
            constant={"density": True, "speed_of_sound": True},
        )
    found["active_matter"] = Twin(
        *(xy, (32, 32), "PP"),
        {"concentration": (0, True), "velocity": vector, "D": (2, False), "E": (2, False)},
        [{"L": 10.0, "zeta": 1.0, "alpha": -1.0}, {"L": 10.0, "zeta": 11.0, "alpha": -4.0}],
        "active_matter_L_{L}_zeta_{zeta}_alpha_{alpha}",
    )
    found["convective_envelope_rsg"] = Twin(
        *(sphere, (16, 8, 16), "OPP"),
        {"energy": (0, True), **GAS, "velocity": vector},
        [{}, {}, {}],
        "convective_envelope_rsg_trajectories_{i}",
        (1, 1, 1),
        lambda i, p: 2 + 8.0 * (i * STEPS + np.arange(STEPS)),
        grid="spherical",
    )
    for boundary in ("open", "periodic"):
        name = f"euler_multi_quadrants_{boundary}BC"
        found[name] = Twin(
            *(xy, (32, 32), 2 * boundary[0].upper()),
            {"energy": (0, True), **GAS, "momentum": vector},
            [{"gamma": 1.13}, {"gamma": 1.76}],
            f"{name}_gamma_{{gamma}}",
            time=_even(0.015),
        )
    found["gray_scott_reaction_diffusion"] = Twin(
        *(xy, (32, 32), "PP", {"A": (0, True), "B": (0, True)}),
        [{"F": 0.014, "k": 0.054}, {"F": 0.062, "k": 0.061}],
        "gray_scott_F_{F}_k_{k}",
        time=_even(10.0),
    )
    found["helmholtz_staircase"] = Twin(
        *(xy, (32, 16), "helmholtz", {"pressure_re": (0, False), "pressure_im": (0, False)}),
        [{"omega": 0.06}, {"omega": 0.2}, {"omega": 25.0}],
        "helmholtz_staircase_omega_{omega}",
        time=lambda i, p: 2 * math.pi / p["omega"] / STEPS * np.arange(STEPS),
        constant={"mask": False},
    )
    found["planetswe"] = Twin(
        *(sphere[1:], (16, 32), "OP", {"height": (0, True), "velocity": vector}, [{}, {}, {}]),
        "planetswe_IC00_s{i}",
        (1, 1, 1),
        lambda i, p: 1.0 * (i * STEPS + np.arange(STEPS)),
        grid="equiangular",
        boundaries={"theta": "y_open", "phi": "x_periodic"},
    )
    merger = ("density", "internal_energy", "pressure", "temperature", "electron_fraction")
    found["post_neutron_star_merger"] = Twin(
        *(("log_r", *sphere[1:]), (24, 16, 10), "OPP"),
        dict.fromkeys((*merger, "entropy"), (0, True))
        | {"magnetic_field": vector, "velocity": vector},
        [{}, {}, {}],
        "post_neutron_star_merger_scenario_{i}",
        (1, 1, 1),
        _even(50.0),
        grid="spherical",
    )
    for name in ("rayleigh_benard", "rayleigh_benard_uniform"):
        found[name] = Twin(
            *(xy, (32, 16), "PW"),
            {"buoyancy": (0, False), "pressure": (0, False), "velocity": vector},
            [{"Rayleigh": 1e6, "Prandtl": 0.1}, {"Rayleigh": 1e10, "Prandtl": 10.0}],
            name + "_Rayleigh_{Rayleigh:g}_Prandtl_{Prandtl:g}",
            time=lambda i, p: 0.25 * np.arange(STEPS) + 0.001 * i,
            dataset="rayleigh_benard",
        )
    found["rayleigh_taylor_instability"] = Twin(
        *(xyz, (16, 16, 16), "PPW", {"density": (0, True), "velocity": vector}),
        [{"At": 0.75}, {"At": 0.25}],
        "rayleigh_taylor_instability_At_{At}",
        time=lambda i, p: 7.5 / p["At"] / STEPS * np.arange(STEPS),
    )
    found["shear_flow"] = Twin(
        *(xy, (16, 32), "PP"),
        {"tracer": (0, False), "pressure": (0, False), "velocity": vector},
        [{"Rayleigh": 1e4, "Schmidt": 0.1}, {"Rayleigh": 5e5, "Schmidt": 10.0}],
        "shear_flow_Reynolds_{Rayleigh:g}_Schmidt_{Schmidt:g}",
    )
    for size in (64, 128):
        found[f"supernova_explosion_{size}"] = Twin(
            *(xyz, (16, 16, 16), "OOO", HOT),
            [{"Msun": mass, "rho0": 44.5, "Z": 1.0, "T0": 100.0} for mass in (0.1, 1.0)],
            "supernova_explosion_Msun_{Msun:g}_file_{i}",
            time=_jittered,
            dataset="supernova_explosion",
        )
    found["turbulence_gravity_cooling"] = Twin(
        *(xyz, (16, 16, 16), "OOO", HOT),
        [{"rho0": 44.5, "Z": 1.0, "T0": 10.0}, {"rho0": 0.445, "Z": 0.0, "T0": 1000.0}],
        "turbulence_gravity_cooling_rho0_{rho0:g}_Z_{Z:g}_T0_{T0:g}",
        time=lambda i, p: 0.02 * 6.93 * math.sqrt(44.5 / p["rho0"]) * np.arange(STEPS),
    )
    for axes, shape, ends, interval in (
        (xy, (16, 48), "PO", 1.597033),
        (xyz, (16, 16, 32), "PPO", 2.661722),
    ):
        found[f"turbulent_radiative_layer_{len(axes)}D"] = Twin(
            *(axes, shape, ends, GAS | {"velocity": vector}),
            [{"tcool": 0.03}, {"tcool": 3.16}],
            "turbulent_radiative_layer_tcool_{tcool}",
            time=_even(interval),
        )
    polymer = {"Re": 1000.0, "Wi": 50.0, "beta": 0.9, "epsilon": 2e-6, "Lmax": 70.0}
    found["viscoelastic_instability"] = Twin(
        *(xy, (32, 32), "PW"),
        {"pressure": (0, False), "c_zz": (0, True), "velocity": vector, "C": (2, False)},
        [polymer] * 3,
        "viscoelastic_instability_{variant}",
        (2, 2, 2),
        _resumed,
        boundaries={"y": "y_wall_noslip"},
    )
    return dict(sorted(found.items()))


TWINS = _twins()


def make(name: str, root: Path) -> Path:
    """Writes the twin of a dataset; returns the folder that holds `data/{split}/*.hdf5`."""
    twin, folder = TWINS[name], Path(root, name)
    rng = np.random.default_rng(sorted(TWINS).index(name))
    for split, trajectories in zip(("train", "valid", "test"), twin.trajectories, strict=True):
        (folder / "data" / split).mkdir(parents=True)
        for i, parameters in enumerate(twin.parameters):
            variant = ("EIT", "AH", "transtochaos_EIT_L")[i]
            file = twin.file.format(i=i, variant=variant, **parameters)
            path = folder / "data" / split / f"{file}.hdf5"
            _write(path, twin, name, trajectories, twin.time(i, parameters), parameters, rng)
    return folder


def _write(
    path: Path,
    twin: Twin,
    name: str,
    trajectories: int,
    times: np.ndarray,
    parameters: dict[str, float],
    rng: np.random.Generator,
) -> None:
    times = times[:trajectories] if times.ndim == 2 else times
    axes = len(twin.axes)
    with h5py.File(path, "w") as file:
        file.attrs["dataset_name"] = twin.dataset or name
        file.attrs["grid_type"] = twin.grid
        file.attrs["n_spatial_dims"], file.attrs["n_trajectories"] = axes, trajectories
        file.attrs["simulation_parameters"] = _texts(parameters)
        file.attrs.update(parameters)
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = _texts(twin.axes)
        _dataset(dimensions, "time", times, sample_varying=times.ndim == 2, time_varying=True)
        for axis, points in _coordinates(twin, name).items():
            _dataset(dimensions, axis, points, sample_varying=False, time_varying=False)
        boundaries = file.create_group("boundary_conditions")
        for key, (kind, along, mask) in _boundaries(twin).items():
            group = boundaries.create_group(key)
            group.attrs["associated_dims"] = _texts(along)
            group.attrs["associated_fields"] = _texts(())
            group.attrs["bc_type"] = kind
            group.attrs["sample_varying"] = group.attrs["time_varying"] = False
            group["mask"] = mask
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = _texts(parameters)
        for key, value in parameters.items():
            _dataset(scalars, key, value, sample_varying=False, time_varying=False)
        for order in range(3):
            group = file.create_group(f"t{order}_fields")
            constant = twin.constant if order == 0 else {}
            mine = {key: positive for key, (of, positive) in twin.fields.items() if of == order}
            group.attrs["field_names"] = _texts((*constant, *mine))
            for key, varies in constant.items():
                states = _smooth(rng, twin.shape, 1, trajectories if varies else 1, 0, True)[:, 0]
                states = (states > 1).astype("f4") if key == "mask" else states
                data = _dataset(
                    group,
                    key,
                    states if varies else states[0],
                    sample_varying=varies,
                    time_varying=False,
                )
                data.attrs["dim_varying"] = [True] * axes
            for key, positive in mine.items():
                states = _smooth(rng, twin.shape, times.shape[-1], trajectories, order, positive)
                data = _dataset(group, key, states, sample_varying=True, time_varying=True)
                data.attrs["dim_varying"] = [True] * axes
                if order == 2:
                    data.attrs["symmetric"], data.attrs["antisymmetric"] = True, False
        if twin.axes[0] == "log_r":
            extra = file.create_group("additional_information")
            extra["g_contravariant"] = np.zeros((*twin.shape, 4, 4), "f4")


def _smooth(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    steps: int,
    trajectories: int,
    order: int,
    positive: bool,
) -> np.ndarray:
    """Returns waves that drift, float32 (trajectory, time, *space[, component[, component]])."""
    axes = len(shape)
    points = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    time = np.arange(steps).reshape(-1, *[1] * axes)
    states = np.zeros((trajectories, steps, *shape, axes**order))
    for index in np.ndindex(trajectories, axes**order):
        for _ in range(4):
            wave, phase = rng.integers(-2, 3, axes), rng.uniform(0, 2 * math.pi)
            angle = 2 * math.pi * sum(k * x for k, x in zip(wave, points, strict=True))
            drift = np.cos(angle[None] + rng.uniform(-0.3, 0.3) * time + phase)
            states[index[0], ..., index[1]] += rng.normal() * drift
    states += 0.05 * rng.normal(size=states.shape)
    states = states.reshape(*states.shape[:-1], *[axes] * order)
    if order == 2:
        states = states + np.swapaxes(states, -1, -2)
    return (np.exp(states) if positive else states).astype("f4")


def _coordinates(twin: Twin, name: str) -> dict[str, np.ndarray]:
    points = {axis: np.arange(n) / n for axis, n in zip(twin.axes, twin.shape, strict=True)}
    if name == "rayleigh_benard":
        n = twin.shape[1]
        points["y"] = np.sort((1 + np.cos(np.pi * (np.arange(n) + 0.5) / n)) / 2)
    if "theta" in points:
        points["theta"] = np.linspace(0.05, 3.1, len(points["theta"]))
        points["phi"] = 2 * np.pi * points["phi"]
    if "r" in points:
        points["r"] = np.geomspace(300, 6700, len(points["r"]))
    if "log_r" in points:
        points["log_r"] = np.linspace(1, 7, len(points["log_r"]))
    return points


def _boundaries(twin: Twin) -> dict[str, tuple[str, tuple[str, ...], np.ndarray]]:
    def ends(axis: str, *at: int) -> np.ndarray:
        mask = np.zeros(twin.shape[twin.axes.index(axis)], bool)
        mask[list(at)] = True
        return mask

    if twin.ends == "acoustic":
        return {
            f"{axis}{key}_{kind.lower()}": (kind, (axis,), ends(axis, at))
            for axis in twin.axes
            for key, kind, at in (("0", "WALL", 0), ("L", "OPEN", -1))
        }
    if twin.ends == "helmholtz":
        wall = np.zeros(twin.shape, bool)
        wall[:, :3] = True
        return {
            "x_open_neumann": ("OPEN", ("x",), ends("x", 0, -1)),
            "xy_wall": ("WALL", ("x", "y"), wall),
            "y_open_neumann": ("OPEN", ("y",), ends("y", -1)),
        }
    return {
        twin.boundaries.get(axis, f"{axis}_{KINDS[end].lower()}"): (
            *(KINDS[end], (axis,)),
            ends(axis, 0, -1),
        )
        for axis, end in zip(twin.axes, twin.ends, strict=True)
    }


def _dataset(group: h5py.Group, name: str, values: Any, **attributes: bool) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=np.asarray(values, "f4"))
    dataset.attrs.update(attributes)
    return dataset


def _texts(names: Any) -> np.ndarray:
    return np.array(list(names), h5py.string_dtype())
