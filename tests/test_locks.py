"""Who may write where, and who may read beside whom: two processes, two users, no locks."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilas import locks
from lilas.errors import LilasError
from lilas.locks import READING, hold, locked

# Another process, which takes a lock if it may, says so, and keeps it till its input ends.
OTHER = """
import sys
import time
from lilas.errors import LilasError
from lilas.locks import locked
import fcntl, os, errno
if sys.argv[4] == "without":
    def flock(file, how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock = flock
try:
    with locked(sys.argv[1], sys.argv[2], shared=sys.argv[3] == "shared"):
        print("held", flush=True)
        sys.stdin.read()
except LilasError as error:
    print(error, flush=True)
"""


class Other:
    """Another process that holds a lock, or has been told why not."""

    def __init__(self, folder: Path, name: str, how: str, flock: str) -> None:
        line = [sys.executable, "-c", OTHER, str(folder), name, how, flock]
        self.process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said = self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=["flock", "without"])
def flock(request, monkeypatch):
    """File systems that have locks, and those that have none."""

    def refuse(file, how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if request.param == "without":
        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ("alone", "alone", False),
        ("alone", "shared", False),
        ("shared", "alone", False),
        ("shared", "shared", True),
    ],
)
def test_of_two_processes_both_share_or_one_is_alone(tmp_path, flock, first, second, allowed):
    other = Other(tmp_path, "lock", first, flock)
    assert other.said == "held"
    if allowed:
        with locked(tmp_path, shared=second == "shared"):
            pass
    else:
        with (
            pytest.raises(LilasError, match="another run is at work here") as caught,
            locked(tmp_path, shared=second == "shared"),
        ):
            pass
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) <= 300
        if flock == "without":
            assert f"process {other.process.pid} on {socket.gethostname()}" in str(caught.value)
    other.end()
    with locked(tmp_path, shared=second == "shared"):
        pass


def test_a_lock_dies_with_its_process(tmp_path, flock):
    for how in ("alone", "shared"):
        other = Other(tmp_path, "lock", how, flock)
        assert other.said == "held"
        other.kill()
        with locked(tmp_path):
            pass
    # A killed reader's mark stays, and counts for nothing.
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[:1] == ["lock"]
    assert len(left) == (2 if flock == "without" else 1)


def test_a_lock_of_another_host_is_told_with_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", _no_locks)
    mark = tmp_path / "lock.held"
    holder = {"host": "node17", "pid": 4711, "started": "1", "since": "2026-01-01 00:00:00"}
    mark.write_text(json.dumps(holder), encoding="utf-8")
    words = r"process 4711 on node17, since 2026-01-01 00:00:00; if that is gone, delete lock\.held"
    with pytest.raises(LilasError, match=words), locked(tmp_path):
        pass
    # A number that has come again is another process.
    mark.write_text(
        json.dumps(holder | {"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8"
    )
    with locked(tmp_path):
        pass
    assert not mark.exists()
    mark.write_text("", encoding="utf-8")
    with pytest.raises(LilasError, match=r"delete lock\.held"), locked(tmp_path):
        pass


def _no_locks(file: int, how: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_other_failures_of_a_lock_are_no_missing_locks(tmp_path, monkeypatch):
    def fail(file, how):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(locks.fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path):
        pass
    assert list(tmp_path.glob("*.held")) == []


def test_who_adds_data_disturbs_no_reader_and_who_replaces_them_is_alone(tmp_path):
    data, results = tmp_path / "data", str(tmp_path / "results")
    data.mkdir()
    there, new = str(data / "there"), str(data / "new")
    Path(there).touch()
    other = Other(data, READING, "shared", "flock")
    assert other.said == "held"
    with hold([new], [there], [str(data)], results):
        # Another that adds data is refused, another that reads is not.
        said = [Other(data, *how, "flock") for how in (("lock", "alone"), (READING, "shared"))]
        assert "another run is at work" in said[0].said
        assert said[1].said == "held"
        for one in said:
            one.end()
    with pytest.raises(LilasError, match="another run is at work here"):
        hold([there], [], [str(data)], results)
    other.end()
    with hold([there], [], [str(data)], results):
        reader = Other(data, READING, "shared", "flock")
        assert "another run is at work" in reader.said
        reader.end()
    assert not Path(results).exists()


# Of two users who share a folder: the first makes it, the second takes a lock of it.
USER = """
import os, sys
from lilas.errors import LilasError
from lilas.locks import locked
folder, user, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.setgroups([])
os.setgid(4321)
os.setuid(user)
os.umask(0o022)
try:
    with locked(folder, shared=how == "shared"):
        print("held")
except LilasError as error:
    print(error)
"""


@pytest.fixture
def shared_folder(tmp_path):
    """A folder of a group, in which the lock's file is another user's."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    folder = tmp_path / "group"
    folder.mkdir()
    os.chown(folder, 4001, 4321)
    folder.chmod(0o2775)
    for parent in list(folder.parents)[:-2]:
        parent.chmod(0o755)
    assert as_user(folder, 4001, "alone") == "held"
    assert (folder / "lock").stat().st_uid == 4001
    return folder


def as_user(folder: Path, user: int, how: str) -> str:
    line = [sys.executable, "-c", USER, str(folder), str(user), how]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("how", ["alone", "shared"])
def test_a_lock_of_another_user_is_no_obstacle(shared_folder, how):
    assert as_user(shared_folder, 4002, how) == "held"
    first = Other(shared_folder, "lock", "alone", "flock")
    assert first.said == "held"
    assert "another run is at work here" in as_user(shared_folder, 4002, how)
    first.end()


def test_a_folder_that_may_only_be_read_can_be_shared(shared_folder):
    shared_folder.chmod(0o755)
    # With a lock's file there, and without one.
    for gone in (False, True):
        if gone:
            (shared_folder / "lock").unlink()
        assert as_user(shared_folder, 4002, "shared") == "held"
    said = as_user(shared_folder, 4002, "alone")
    assert f"{shared_folder}: expected a folder to write to" in said
    assert "permission denied" in said
    assert "\n" not in said


def test_a_private_lock_of_another_user_is_told(shared_folder):
    (shared_folder / "lock").chmod(0o600)
    assert as_user(shared_folder, 4002, "shared") == "held"
    assert "expected a folder to write to" in as_user(shared_folder, 4002, "alone")


def test_two_studies_run_at_once_on_data_that_exist(miniature, tmp_path):
    """In one clone. The first is stopped in its midst, so that the second runs within it."""
    twin = miniature.copy(tmp_path / "twin")
    shutil.rmtree(twin.results)
    other = twin.folder / "other.yaml"
    other.write_text(twin.study.read_text(encoding="utf-8"), encoding="utf-8")
    first = begin(twin, "all_statistics")
    try:
        done = twin.snakemake("--cores", "1", "all_statistics", "--config", f"study={other.name}")
        assert done.returncode == 0, done.stderr
        # Its own results are the first's alone.
        done = twin.run("all_statistics", check=False)
        assert done.returncode != 0
        assert refusals(done) == [f"{twin.results.relative_to(twin.folder)}: {BUSY}"]
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    for study in ("miniature", "other"):
        statistics = twin.folder / "results" / study / "convection" / "statistics.json"
        assert statistics.is_file()
    # What a run holds is no part of any result.
    assert twin.planned("all_statistics") == {}


def test_data_are_made_by_one_run_at_a_time(pipeline):
    """A second study that needs them waits; one that needs others does not."""
    other = pipeline.folder / "other.yaml"
    other.write_text(pipeline.study.read_text(encoding="utf-8"), encoding="utf-8")
    line = ["--cores", "1", "all_data", "--config", f"study={other.name}"]
    first = begin(pipeline, "all_statistics")
    try:
        done = pipeline.snakemake(*line)
        assert done.returncode != 0
        (said,) = refusals(done)
        assert re.fullmatch(rf"results/data/simulate-\w+/rayleigh_benard: {BUSY}", said)
        pipeline.edit("seed: 0", "seed: 1", other)
        done = pipeline.snakemake(*line)
        assert done.returncode == 0, done.stderr
        assert not (pipeline.folder / "results" / "other").exists()
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    assert first.wait() == 0


def test_of_two_clones_with_one_results_folder_one_works_at_a_time(pipeline, tmp_path):
    """Each has data of its own, and neither has Snakemake's lock."""
    other = pipeline.copy(tmp_path / "other")
    config = other.folder / "config.yaml"
    other.edit("results: results", f"results: {pipeline.folder}/results", config)
    first = begin(pipeline, "all_statistics")
    try:
        done = other.run("--nolock", "all_statistics", check=False)
        assert done.returncode != 0
        assert refusals(done) == [f"{pipeline.results}: {BUSY}"]
        # It has not begun anything.
        assert not (other.folder / "results").exists()
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


BUSY = "another run is at work here. Wait for it, or stop it, then run again."


def begin(pipeline, *targets: str) -> subprocess.Popen:
    """Starts a run, and stops it with all of its jobs once it holds its folders."""
    process = subprocess.Popen(
        pipeline.command(*targets),
        cwd=pipeline.folder,
        env=pipeline.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (pipeline.results / "study.json").is_file():
        assert process.poll() is None, "it ended before it held anything"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGSTOP)
    return process


def refusals(done: subprocess.CompletedProcess) -> list[str]:
    lines = (done.stdout + done.stderr).splitlines()
    assert not any("Traceback" in line for line in lines)
    return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]


@pytest.mark.parametrize("how", ["permission", "mount"])
def test_data_that_may_only_be_read_are_enough(miniature, tmp_path, how):
    """Those of another user, or of a file system that is mounted so; missing ones are refused."""
    twin = miniature.copy(tmp_path / "twin")
    shutil.rmtree(twin.results)
    data = twin.folder / "results" / "data"
    command = twin.command("all_statistics")
    if os.geteuid() != 0 or (how == "permission" and shutil.which("setpriv") is None):
        pytest.skip("mounts, and doing without root's rights, need root and setpriv")
    if how == "mount":
        for options in (["--bind"], ["-o", "remount,ro,bind"]):
            mounted = subprocess.run(["mount", *options, str(data), str(data)], check=False)
            if mounted.returncode:
                pytest.skip("mounting needs more rights than root has here")
    else:
        for path in [data, *data.rglob("*")]:
            os.chown(path, 4001, 4321)
        command = [*WITHOUT_RIGHTS, *command]
    try:
        done = run(twin, command)
        assert done.returncode == 0, done.stderr
        assert (twin.results / "convection" / "statistics.json").is_file()
        twin.edit("seed: 0", "seed: 1")
        done = run(twin, command)
        assert done.returncode != 0
        (said,) = refusals(done)
        assert "results/data: expected a folder to write to" in said
    finally:
        if how == "mount":
            subprocess.run(["umount", str(data)], check=True)


@pytest.mark.parametrize("key", ["data", "results"])
def test_a_folder_that_is_closed_to_this_user_is_told_in_one_line(pipeline, tmp_path, key):
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("doing without root's rights needs root and setpriv")
    closed = tmp_path / "closed"
    closed.mkdir()
    os.chown(closed, 4001, 4321)
    closed.chmod(0o700)
    config = pipeline.folder / "config.yaml"
    old = {"data": "data: results/data", "results": "results: results"}[key]
    pipeline.edit(old, f"{key}: {closed}/within", config)
    done = run(pipeline, [*WITHOUT_RIGHTS, *pipeline.command("-n")])
    assert done.returncode != 0
    (said,) = refusals(done)
    assert str(closed) in said
    assert "permission denied" in said.lower()


# Root's rights over the files of others are rights that can be done without.
NONE = "-dac_override,-dac_read_search,-fowner"
WITHOUT_RIGHTS = ["setpriv", f"--bounding-set={NONE}", f"--inh-caps={NONE}"]


def run(pipeline, command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=pipeline.folder,
        env=pipeline.environment,
        capture_output=True,
        text=True,
        check=False,
    )


# Read by every Python process that has it on its path: a file system that knows no locks.
WITHOUT = """
import errno, fcntl, os
def flock(file, how):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
fcntl.flock = flock
"""


def test_a_run_needs_no_locks_of_the_file_system(pipeline):
    (pipeline.folder / "src" / "sitecustomize.py").write_text(WITHOUT, encoding="utf-8")
    first = begin(pipeline, "all_autoencoder")
    try:
        marks = sorted(path.parent.name for path in pipeline.folder.rglob("lock.held"))
        assert marks == ["miniature", "rayleigh_benard"]
        done = run(pipeline, pipeline.command("all_data"))
        assert done.returncode != 0
        (said,) = refusals(done)
        assert f"It is process {first.pid} on {socket.gethostname()}" in said
        os.killpg(first.pid, signal.SIGKILL)
    finally:
        first.wait()
    # Its marks are left, and no obstacle.
    done = run(pipeline, pipeline.command("all_autoencoder"))
    assert done.returncode == 0, done.stderr
    assert list(pipeline.folder.rglob("*.held")) == []
    assert (pipeline.results / "convection" / "c16-s0" / "weights.safetensors").is_file()


# HDF5 locks by itself, below Python: flock of the C library, which always fails.
NO_FLOCK = """
#include <errno.h>
#include <stdlib.h>
int flock(int file, int how) { errno = atoi(getenv("FLOCK_ERRNO")); return -1; }
"""
TO_AND_FRO = """
import sys
import h5py, numpy as np
from pathlib import Path
from lilas.data.hdf5 import open_hdf5
from lilas.data.presence import check_present
from lilas.data.well_writer import write_well
from test_well import convection
folder = Path(sys.argv[1])
write_well(folder / "source.hdf5", **convection())
with open_hdf5(folder / "source.hdf5") as file:
    shape = file["t0_fields/pressure"].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(file["t0_fields/pressure"])
with h5py.File(folder / "virtual.hdf5", "w", locking=False) as file:
    file.create_virtual_dataset("pressure", layout, fillvalue=np.nan)
    file["link"] = h5py.ExternalLink("source.hdf5", "/t0_fields/pressure")
with open_hdf5(folder / "virtual.hdf5") as file:
    check_present(folder / "virtual.hdf5", file["pressure"])
    assert np.isfinite(file["pressure"][()]).all()
    np.testing.assert_array_equal(file["pressure"], file["link"])
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("number", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_hdf5_files_need_no_locks_of_the_file_system(tmp_path, number):
    (tmp_path / "shim.c").write_text(NO_FLOCK, encoding="utf-8")
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c"], check=True)
    environment = os.environ | {
        "LD_PRELOAD": str(shim),
        "FLOCK_ERRNO": str(getattr(errno, number)),
        "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)]),
    }
    command = [sys.executable, "-c", TO_AND_FRO, tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HANDLED = """
import os, signal, sys, threading
from lilas.locks import in_a_thread

lock, done = threading.Lock(), threading.Event()

def handler(*_):
    with lock:
        done.set()

signal.signal(signal.SIGTERM, handler)
in_a_thread(signal.SIGTERM)
with lock:
    os.kill(os.getpid(), signal.SIGTERM)
    assert not done.is_set()
sys.exit(not done.wait(60))
"""


def test_a_signal_finds_the_lock_that_it_interrupts_the_holder_of():
    """As Snakemake's of SIGTERM: its main thread holds the lock that the handler waits for."""
    done = subprocess.run([sys.executable, "-c", HANDLED], timeout=120, check=False)
    assert done.returncode == 0
