"""Statistics against brute force in memory, what they refuse, and how much they hold at once."""

import json
import threading
import warnings
import weakref
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest

from lilas.data import statistics
from lilas.data.headers import read_headers
from lilas.data.statistics import compute_statistics
from lilas.data.well import WellFile, open_files
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.inspect.survey import survey

LOG = {"pressure": {"kind": "log", "offset": 0.5}}


def write(path: Path, trajectories: int, seed: int, steps: int = 5, size: int = 8) -> dict:
    """Writes a file whose level differs from file to file; returns its fields."""
    rng = np.random.default_rng(seed)
    shape = (trajectories, steps, size, 6)
    fields = {
        "buoyancy": rng.normal(1000.0 + seed, 0.1, shape),
        "pressure": rng.lognormal(seed, 1.0, shape),
        "velocity": rng.normal([0.0, 5.0 * seed], [1.0, 3.0], (*shape, 2)),
    }
    fields = {name: values.astype(np.float32) for name, values in fields.items()}
    write_well(
        path,
        dataset="noise",
        fields=fields,
        time=np.arange(steps),
        coordinates={"x": np.arange(size), "y": np.arange(6)},
        parameters={"seed": seed},
        boundaries={"x": "periodic", "y": "wall"},
    )
    return fields


def opened(paths: list[Path]) -> list[WellFile]:
    return open_files(paths, ["velocity", "buoyancy", "pressure"])


@pytest.mark.parametrize("block_bytes", [8 * 2**20, 500, 60])
def test_equals_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(statistics, "BLOCK_BYTES", block_bytes)
    counts = [1, 4, 2]
    paths = [tmp_path / f"{i}.hdf5" for i in range(len(counts))]
    written = [write(path, n, i) for i, (path, n) in enumerate(zip(paths, counts, strict=True))]
    found = compute_statistics(opened(paths), LOG)
    whole = {
        name: np.concatenate([fields[name] for fields in written]).astype(np.float64)
        for name in written[0]
    }
    expected = {
        "velocity_x": whole["velocity"][..., 0],
        "velocity_y": whole["velocity"][..., 1],
        "buoyancy": whole["buoyancy"],
        "pressure": np.log(whole["pressure"] + 0.5),
    }
    assert list(found["channels"]) == list(expected)
    for name, values in expected.items():
        entry = found["channels"][name]
        assert entry["mean"] == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
        assert entry["std"] == pytest.approx(values.std(), rel=1e-6)
        assert (entry["min"], entry["max"]) == (values.min(), values.max())
        assert entry["count"] == values.size
    assert found["channels"]["pressure"]["transform"] == LOG["pressure"]
    assert found["channels"]["velocity_x"]["transform"] == {"kind": "none"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_field_stored_once_counts_as_often_as_it_stands_for(tmp_path: Path) -> None:
    paths = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
    written = [write(paths[0], 3, 0), write(paths[1], 2, 1)]
    with h5py.File(paths[0], "r+") as file:
        group = file["t0_fields"]
        once = group["buoyancy"][0, :, :, :1]
        del group["buoyancy"]
        dataset = group.create_dataset("buoyancy", data=once)
        dataset.attrs.update(
            {"sample_varying": False, "time_varying": True, "dim_varying": [True, False]}
        )
    values = np.concatenate(
        [np.broadcast_to(once[None], (3, 5, 8, 6)), written[1]["buoyancy"]]
    ).astype(np.float64)
    entry = compute_statistics(open_files(paths, ["buoyancy"]), {})["channels"]["buoyancy"]
    assert entry["mean"] == pytest.approx(values.mean(), rel=1e-9)
    assert entry["std"] == pytest.approx(values.std(), rel=1e-6)
    assert entry["count"] == values.size


def told(paths: list[Path], fields: list[str] | None = None) -> list[str]:
    """What statistics warn of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compute_statistics(open_files(paths, fields), {})
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("block_bytes", [8 * 2**20, 500, 60])
def test_states_that_repeat_the_one_before_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(statistics, "BLOCK_BYTES", block_bytes)
    paths = [tmp_path / f"{name}.hdf5" for name in "abcd"]
    for i, path in enumerate(paths):
        write(path, 3, i)
        with h5py.File(path, "r+") as file:
            fields = [file[f"t0_fields/{name}"] for name in ("buoyancy", "pressure")]
            fields.append(file["t1_fields/velocity"])
            for field in fields:
                if i == 0:
                    field[1, 3] = field[1, 2]
                    field[1, 4] = field[1, 2]
                    field[2, 1] = field[2, 0]
                    # Nor is a state that was there before, or in another trajectory.
                    field[0, 2] = field[0, 0]
                    field[0, 4] = field[1, 4]
                if i == 1:
                    field[0, 4] = field[0, 3]
            if i == 1:
                # One value is another: the state is another. -0 is 0.
                fields[2][0, 4, 7, 5, 1] += 1
                fields[0][2, 0] = fields[0][2, 1] = 0
                fields[0][2, 1, 3, 3] = -0.0
                for field in fields[1:]:
                    field[2, 1] = field[2, 0]
            if i == 2:
                # Steady fields beside one that moves are no repeated states.
                for field in fields[:2]:
                    field[...] = field[:, :1]
    first = f"{paths[0]}: trajectory 1 repeats 2 states, the first at step 3"
    assert [line for line in told(paths) if " stands " not in line] == [
        f"{first}, and 1 more trajectories repeat states",
        f"{paths[1]}: trajectory 2 repeats 1 state, the first at step 1",
        "statistics: 4 states of 2 files repeat the one before",
    ]
    # What a study reads is what is compared; single components are channels of their own.
    found = told(paths, ["buoyancy", "velocity_x"])
    expected = f"{paths[1]}: trajectory 0 repeats 1 state, the first at step 4, and 1 more"
    assert sum(line.startswith(expected) for line in found) == 1
    assert told(paths[2:]) == []


@pytest.mark.parametrize("block_bytes", [8 * 2**20, 60])
def test_fields_that_stand_still_to_the_end_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(statistics, "BLOCK_BYTES", block_bytes)
    paths = [tmp_path / f"{name}.hdf5" for name in "ab"]
    for i, path in enumerate(paths):
        write(path, 3, i)
    with h5py.File(paths[0], "r+") as file:
        # Written up to trajectory 1, step 1; then a pause, which is no end, and a steady field.
        file["t1_fields/velocity"][1, 2:] = 0
        file["t1_fields/velocity"][2] = 0
        file["t0_fields/pressure"][0, 1:4] = file["t0_fields/pressure"][0, :1]
        file["t0_fields/buoyancy"][2] = file["t0_fields/buoyancy"][2, :1]
    with h5py.File(paths[1], "r+") as file:
        # Every field stands: states repeat, and one stood before.
        for name in ("t1_fields/velocity", "t0_fields/buoyancy", "t0_fields/pressure"):
            file[name][0, 4] = file[name][0, 3]
        for row in (0, 2):
            file["t0_fields/pressure"][row, 3:] = file["t0_fields/pressure"][row, 2]
    question = "; other fields go on: was it written whole?"
    lines = [
        f"{paths[0]}: velocity stands still in trajectory 1 from step 2 to the end{question}",
        f"{paths[1]}: trajectory 0 repeats 1 state, the first at step 4",
        f"{paths[1]}: pressure stands still in trajectory 0 from step 2 to the end, and 1 more "
        f"trajectories have such an end{question}",
    ]
    assert told(paths) == lines
    faults, doubts = survey(read_headers(list(map(str, paths)))[0].values())[1:]
    assert (faults, list(map(str, doubts))) == ([], lines)


def test_states_stored_once_repeat_in_all_trajectories(tmp_path: Path) -> None:
    write(tmp_path / "a.hdf5", 3, 0)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        group = file["t0_fields"]
        once = group["buoyancy"][0, :, :, :1]
        once[2] = once[1]
        del group["buoyancy"]
        group["buoyancy"] = once
        group["buoyancy"].attrs.update(
            {"sample_varying": False, "time_varying": True, "dim_varying": [True, False]}
        )
        group["pressure"][1, 2] = group["pressure"][1, 1]
    line = f"{tmp_path / 'a.hdf5'}: trajectory {{}} repeats 1 state, the first at step 2"
    assert told([tmp_path / "a.hdf5"], ["buoyancy", "pressure"]) == [line.format(1)]
    alone = f"{line.format(0)}, and 2 more trajectories repeat states"
    assert told([tmp_path / "a.hdf5"], ["buoyancy"]) == [alone]


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        (np.nan, "t0_fields/buoyancy", r"b\.hdf5: expected finite values in channel 'buoyancy'"),
        (np.inf, "t1_fields/velocity", r"b\.hdf5: expected finite values in channel 'velocity_y'"),
        (-0.5, "t0_fields/pressure", r"b\.hdf5: expected values above -0\.5 in channel 'pressure'"),
    ],
)
def test_bad_values_are_refused(tmp_path: Path, value: float, field: str, message: str) -> None:
    paths = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
    for i, path in enumerate(paths):
        write(path, 2, i)
    with h5py.File(paths[1], "r+") as file:
        place = (1, 3, 2, 5) + ((1,) if field == "t1_fields/velocity" else ())
        file[field][place] = value
    with pytest.raises(LilasError, match=message):
        compute_statistics(opened(paths), LOG)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.hdf5" for name in "abc"]
    for i, path in enumerate(paths):
        write(path, 2, i)
    with h5py.File(paths[1], "r+") as file:
        values = file["t0_fields/pressure"][()]
        attributes = dict(file["t0_fields/pressure"].attrs)
        del file["t0_fields/pressure"]
        written = file["t0_fields"].create_dataset("pressure", data=values, fletcher32=True)
        written.attrs.update(attributes)
        place = written.id.get_chunk_info(0).byte_offset
    with open(paths[1], "r+b") as raw:
        raw.seek(place)
        raw.write(b"damage")
    with pytest.raises(LilasError, match=r"b\.hdf5: expected a whole HDF5 file"):
        compute_statistics(opened(paths), {})


def test_a_constant_channel_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
    for i, path in enumerate(paths):
        write(path, 2, i)
        with h5py.File(path, "r+") as file:
            file["t1_fields/velocity"][..., 0] = 0.1
    with pytest.raises(LilasError, match=r"'velocity_x' is 0\.1 everywhere"):
        compute_statistics(opened(paths), {})


def test_unknown_field_or_transform_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.hdf5", 1, 0)
    files = opened([tmp_path / "a.hdf5"])
    with pytest.raises(LilasError, match="transform names 'density'; the fields are velocity"):
        compute_statistics(files, {"density": LOG["pressure"]})
    with pytest.raises(LilasError, match="channel 'pressure': unknown transform"):
        compute_statistics(files, {"pressure": {"kind": "square"}})


def test_memory_does_not_grow_with_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BLOCK_BYTES", 2**16)
    held, peak, lock = {}, [0, 0], threading.RLock()
    read = h5py.Dataset.__getitem__

    def watch(self: h5py.Dataset, place: object) -> np.ndarray:
        """Reads, and counts the bytes that were read and are still alive."""
        block = read(self, place)
        if isinstance(block, np.ndarray) and block.ndim >= 4:
            with lock:
                held[key := object()] = block.nbytes
                weakref.finalize(block, held.pop, key)
                peak[0] = max(peak[0], sum(held.values()))
                peak[1] = max(peak[1], block.nbytes)
        return block

    peaks = []
    for count in (2, 12):
        paths = [tmp_path / f"{count}-{i}.hdf5" for i in range(count)]
        for i, path in enumerate(paths):
            write(path, 4, i, steps=20, size=64)
        files = opened(paths)
        with monkeypatch.context() as patch, dask.config.set(num_workers=2):
            patch.setattr(h5py.Dataset, "__getitem__", watch)
            peak[:] = 0, 0
            compute_statistics(files, {})
        assert 0 < peak[1] <= 2**16
        peaks.append(peak[0])
    # One block in each of two threads and, at most, as many between their use and their release;
    # the dozen files hold a hundred.
    assert max(peaks) <= 4 * 2**16
