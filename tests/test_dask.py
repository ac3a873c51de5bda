"""Statistics and scores by the workers of a Dask cluster, which is started here."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
import zarr
from distributed import Client

from lilas import plugins
from lilas.data.well import open_well
from lilas.errors import LilasError
from lilas.models.autoencoder import make_dcae
from lilas.records import stores, workers
from lilas.records.provenance import LIBRARIES, PACKAGE, as_json, code_fingerprint, provenance
from lilas.records.weights import write_weights
from lilas.records.workers import check_dask, in_order
from lilas.study.autoencoders import DCAESettings
from test_inspect import AUTOENCODER, EVALUATION, SHAPE, STATES, STEPS, stage, write_data
from test_plugins import write_package

ROOT = Path(__file__).parents[1]
FILES = [Path(f"{split}/{i}.hdf5") for split in ("train", "test") for i in range(3)]
TRAIN, TEST = FILES[:3], FILES[3:]
# Runs before the program of a process that is to have no LILAS.
WITHOUT = "import sys; sys.modules['lilas'] = None; "
GUIDED = {"kind": "mmps", "operator": {"kind": "custom", "path": "mask.npy"}, "noise": 0.1}


def waited(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What a condition gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


class Cluster:
    """A scheduler, without LILAS, and workers: processes of their own in another folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        file = folder / "scheduler.json"
        options = ("--scheduler-file", file, "--port", 0)
        self.scheduler = self.start("dask_scheduler", *options, code=WITHOUT)
        self.address = json.loads(waited(lambda: file.is_file() and file.read_text()))["address"]
        self.client = Client(self.address, set_as_default=False)

    def start(self, *line: Any, source: Path = PACKAGE.parent, code: str = "") -> subprocess.Popen:
        program, *options = map(str, line)
        code += f"import distributed.cli.{program} as program; program.main()"
        options += ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        environment = os.environ | {"PYTHONPATH": str(source)}
        with open(self.folder / "log", "a") as log:
            done = subprocess.Popen(
                [sys.executable, "-c", code, *options],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(done)
        return done

    def worker(self, name: str, threads: int = 1, **how: Any) -> subprocess.Popen:
        options = ("--no-nanny", "--nthreads", threads, "--name", name, "--local-directory", ".")
        found = self.start("dask_worker", self.address, *options, **how)
        waited(lambda: name in self.names())
        return found

    def names(self) -> dict[str, str]:
        """Addresses of the workers that take tasks, by name."""
        known = self.client.scheduler_info(n_workers=-1)["workers"].items()
        return {one["name"]: address for address, one in known if one["status"] == "running"}

    @contextmanager
    def loses(self, *processes: subprocess.Popen) -> Iterator[None]:
        """Kills processes once a worker more has its share of what is done meanwhile.

        It does none of it, and is killed too.
        """
        worker = self.worker("lost")
        address = self.names()["lost"]
        worker.send_signal(signal.SIGSTOP)
        given: list[Any] = []

        def kill() -> None:
            try:
                given.extend(waited(lambda: self.client.processing()[address]))
            finally:
                for process in (*processes, worker):
                    process.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        yield
        thread.join()
        assert given

    def end(self, *processes: subprocess.Popen) -> None:
        for process in processes or self.processes:
            process.kill()
            process.wait()
        if processes:
            waited(lambda: not self.names())
        else:
            self.client.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a worker of two threads that survives, `own`."""
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    found.worker("own", threads=2)
    yield found
    found.end()


def write_autoencoder(folder: Path, seed: int) -> tuple[int, ...]:
    """Writes the weights of an untrained autoencoder; returns the shape of its latents."""
    torch.manual_seed(seed)
    settings = DCAESettings(**AUTOENCODER).options() | {"periodic": [True, False]}
    model = make_dcae(3, **settings)
    record = provenance("autoencoder", {"autoencoder": AUTOENCODER}, {})
    write_weights(folder / "weights.safetensors", model.state_dict(), record)
    return model.latent_shape((3, *SHAPE))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, weights and rollouts of two members; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("data")
    for i, path in enumerate(FILES):
        write_data(folder / path, 1 + i % 2)
    np.save(folder / "mask.npy", np.eye(*SHAPE))
    latent = write_autoencoder(folder, seed=0)
    coordinates = {
        "trajectory": np.arange(5),
        "time": np.arange(float(STEPS)),
        "step": ("time", np.arange(STEPS)),
        "lead_time": ("time", np.arange(STEPS)),
        "trajectory_time": (("trajectory", "time"), np.zeros((5, STEPS))),
        "file": ("trajectory", stores.text([f"{i}.hdf5" for i in (0, 0, 1, 2, 2)])),
        "index_in_file": ("trajectory", np.array([0, 1, 0, 0, 1])),
    }
    sizes = {"trajectory": 5, "member": 2, "time": STEPS, "channel": latent[0]}
    sizes |= dict(zip(("x", "y"), latent[1:], strict=True))
    record = provenance("rollout", {}, {"autoencoder": folder / "weights.safetensors"})
    built = stores.create(
        folder / "rollouts.zarr",
        variable="latent",
        sizes=sizes,
        chunk={"trajectory": 1, "time": 3},
        shard={"trajectory": 1},
        dataset=xr.Dataset(coords=coordinates, attrs={"context": 1, "stride": 1}),
        record=record,
    )
    values = np.random.default_rng(0).normal(size=tuple(sizes.values()))
    zarr.open_group(built, mode="r+")["latent"][:] = values
    stores.finish(folder / "rollouts.zarr", folder / "rollouts.json", record)
    return folder


@pytest.fixture
def here(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data, as the current folder."""
    shutil.copytree(data, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def statistics(output: str, files: list[Path] = TRAIN, **options: Any) -> Path:
    stage("statistics", config={"states": STATES}, train=files, output=output, **options)
    return Path(output)


def evaluated(what: str, output: str, *, guided: bool = False, **options: Any) -> Any:
    """The rows that a stage writes."""
    config: dict[str, Any] = {"states": STATES, "stride": 1, "evaluation": EVALUATION}
    names = ("dataset", "autoencoder", "emulator", "method", "sampler")
    config["names"] = dict.fromkeys(names if what == "rollouts" else names[:1], "a")
    if guided:
        config["sampler"] = {"algorithm": "ab", "steps": 4, "members": 2, "guidance": GUIDED}
    if what != "baselines":
        options["autoencoder"] = "weights.safetensors"
    if what == "rollouts":
        options["rollouts"] = "rollouts.json"
    paths = {"statistics": "statistics.json", "test": TEST, "output": output}
    stage("evaluate", what, config=config, device="cpu", **paths, **options)
    return pq.read_table(output)


# --- The same numbers --------------------------------------------------------------------------


def test_statistics_are_the_same_though_a_worker_is_killed(cluster, here):
    with cluster.loses():
        found = statistics("found.json", dask=cluster.address)
    assert found.read_bytes() == statistics("expected.json").read_bytes()


def test_scores_are_the_same_though_a_worker_is_killed(cluster, here):
    statistics("statistics.json")
    with cluster.loses():
        found = evaluated("rollouts", "found.parquet", guided=True, dask=cluster.address)
    expected = evaluated("rollouts", "expected.parquet", guided=True)
    assert found.equals(expected)
    assert pq.read_schema("found.parquet").equals(pq.read_schema("expected.parquet"))
    assert set(expected["trajectory"].to_pylist()) == {0, 1, 2, 3, 4}
    assert {"misfit", "vrmse"} <= set(expected["metric"].to_pylist())


@pytest.mark.parametrize("what", ["reconstruction", "baselines"])
def test_what_needs_no_rollouts_and_parts_of_it_are_the_same(cluster, here, what):
    statistics("statistics.json")
    for part in ([1, 1], [2, 3]):
        found = evaluated(what, "found.parquet", part=part, dask=cluster.address)
        assert found.equals(evaluated(what, "expected.parquet", part=part))
        assert found.num_rows


def test_other_weights_in_the_same_place_are_opened_anew(cluster, here):
    statistics("statistics.json")
    found = []
    for seed in (1, 2):
        write_autoencoder(here, seed)
        found.append(evaluated("reconstruction", "found.parquet", dask=cluster.address))
        assert found[-1].equals(evaluated("reconstruction", f"expected_{seed}.parquet"))
    assert not found[0].equals(found[1])


def test_few_parts_are_computed_or_kept_at_once(cluster, here):
    asked = []

    def items() -> Iterator[Path]:
        for i in range(20):
            asked.append(i)
            yield Path(f"/{i}")

    record = provenance("statistics", {}, {})
    found = in_order(cluster.address, str, items(), records=[record] * 20, needed=0)
    for i, value in enumerate(found):
        assert value == f"/{i}"
        # Of the two threads that there are.
        assert len(asked) <= i + 2 * workers.TOGETHER + 1
    assert len(asked) == 20


def test_a_job_that_began_before_goes_first(cluster):
    """Of two jobs the first has asked for its last parts after the second began."""
    jobs = []
    for stage_name, count in (("statistics", 6), ("evaluate", 4)):
        records = [provenance(stage_name, {}, {})] * count
        jobs.append(in_order(cluster.address, str, range(count), records=records, needed=0))
        assert next(jobs[-1]) == "0"
    assert [next(jobs[0]), next(jobs[0])] == ["1", "2"]

    def waiting() -> list[list[tuple]]:
        """What Dask sorts tasks by, of the three of each job."""
        known = cluster.client.run_on_scheduler(
            lambda dask_scheduler: {key: one.priority for key, one in dask_scheduler.tasks.items()}
        )
        return [
            [priority for key, priority in known.items() if key.startswith(f"lilas-{name}")]
            for name in ("statistics", "evaluate")
        ]

    waited(lambda: [len(one) for one in waiting()] == [3, 3])
    first, second = waiting()
    assert max(first) < min(second)
    for job in jobs:
        list(job)


def test_a_scheduler_that_is_busy_for_a_while_is_waited_for(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "ANSWER", 1)
    monkeypatch.setattr(workers, "LOOK", 0.1)
    os.mkfifo(tmp_path / "pipe")
    ask, given = workers._workers, []

    def standing(address: str) -> dict[str, Any]:
        """Asks it while it stands still, once; what is waited for is there after."""
        if given:
            return ask(address)
        cluster.scheduler.send_signal(signal.SIGSTOP)
        try:
            return ask(address)
        except LilasError as error:
            given.append(str(error))
            raise
        finally:
            cluster.scheduler.send_signal(signal.SIGCONT)
            (tmp_path / "pipe").write_text("done")

    def items() -> Iterator[Path]:
        monkeypatch.setattr(workers, "_workers", standing)
        yield tmp_path / "pipe"

    record = provenance("statistics", {}, {})
    found = in_order(cluster.address, Path.read_text, items(), records=[record], needed=0)
    assert list(found) == ["done"]
    assert "no scheduler answers" in given[0]


def test_the_code_of_the_page_reads_whole_shards(tmp_path, monkeypatch):
    """A dozen trajectories of 7 steps, four to a shard, in chunks of 3 steps of one of them."""
    code = (ROOT / "docs/dask.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    store = Path(re.search(r'path = "(.*)"', code)[1])
    sizes = {"augmentation": 2, "trajectory": 12, "time": 7, "channel": 2, "x": 4, "y": 2}
    stores.create(
        store,
        variable="latent",
        sizes=sizes,
        chunk={"augmentation": 1, "trajectory": 1, "time": 3},
        shard={"augmentation": 1, "trajectory": 4, "time": 9},
        dataset=xr.Dataset(coords={"steps": ("trajectory", [7] * 11 + [5])}),
        record=(record := provenance("latents", {}, {})),
    )
    values = np.random.default_rng(0).normal(size=tuple(sizes.values())).astype(np.float32)
    values[:, 11, 5:] = np.nan
    stores.open_to_fill(store, "latent")[:] = values
    stores.finish(store, store.with_suffix(".json"), record)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(code, names)
    assert names["latent"].chunks == ((1, 1), (4, 4, 4), (7,), (2,), (4,), (2,))
    np.testing.assert_allclose(names["mean"], np.nanmean(values, (0, 1, 2)), rtol=1e-4)


# --- Refusals ----------------------------------------------------------------------------------


@contextmanager
def service(words: bytes) -> Iterator[str]:
    """The address of a service that says so much to whom connects, and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            kept = []
            while True:
                try:
                    kept.append(server.accept()[0])
                    kept[-1].sendall(words)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def refusal(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(LilasError) as error:
        function(*arguments, **options)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_an_address_that_does_not_answer_is_told_soon(cluster, monkeypatch):
    monkeypatch.setattr(workers, "ANSWER", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    begun, words = time.monotonic(), "Start one (dask scheduler), correct the address"
    for address in (closed, "tcp://no.such.host.invalid:8786"):
        text = refusal(check_dask, address)
        assert text.startswith(f"dask: no scheduler answers at {address} within 1 s. {words}")
    for said, reason in ((b"", "within 1 s"), (b"HTTP/1.1 400 Bad Request\r\n", "but another")):
        with service(said) as address:
            assert f"answers at {address} {reason}" in refusal(check_dask, address)
    assert time.monotonic() - begun < 30
    assert "(it is a worker)" in refusal(check_dask, cluster.names()["own"])


def test_without_the_package_an_address_is_refused(monkeypatch):
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    text = refusal(check_dask, "tcp://127.0.0.1:1")
    assert text.endswith("needs the package distributed: make install EXTRAS=dask")


def test_workers_with_too_little_memory_are_told(cluster, here):
    text = refusal(list, in_order(cluster.address, str, [], records=[], needed=1e15))
    assert re.search(
        r"worker tcp://\S+ has 2 threads and [0-9.e+]+ GB, and each takes 1e\+06", text
    )


def test_files_that_workers_do_not_have_are_told(cluster, here):
    entry = provenance("statistics", {}, {"train": TRAIN})
    TRAIN[1].rename("elsewhere.hdf5")
    told = rf"{re.escape(str(TRAIN[1]))} is not here and .* \(dask worker tcp://"
    found = in_order(cluster.address, str, TRAIN, records=workers.of_each(entry, "train"), needed=0)
    assert next(found) == str(TRAIN[0])
    assert re.search(told, refusal(next, found))
    shutil.copy(TRAIN[0], TRAIN[1])
    assert "another size or content" in refusal(
        list,
        in_order(cluster.address, str, TRAIN, records=workers.of_each(entry, "train"), needed=0),
    )


def test_an_error_on_a_worker_is_that_of_the_job(cluster, here):
    TEST[1].write_bytes(TEST[0].read_bytes()[:2000])
    alone = refusal(open_well, TEST[1])
    record = provenance("statistics", {}, {})
    found = in_order(cluster.address, open_well, [TEST[1].absolute()], records=[record], needed=0)
    text = f"{TEST[1].parent.absolute()}/{alone.removeprefix('test/')}"
    assert refusal(next, found) == f"{text} (dask worker {cluster.names()['own']})"


def test_a_module_that_has_no_name_is_told(cluster):
    record = provenance("statistics", {}, {})
    for code, words in (
        ("raise ModuleNotFoundError('needs\\nzfp.')", "lacks a module: needs zfp. Dask's"),
        ("import lilas_nowhere.b", "has no lilas_nowhere. Dask's"),
    ):
        found = in_order(cluster.address, exec, [code], records=[record], needed=0)
        assert refusal(next, found).startswith(f"dask: a worker of {cluster.address} {words}")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a package of plug-ins is; this process has had no task yet."""
    write_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_problems", [])
    monkeypatch.setattr("lilas.records.provenance.LIBRARIES", (*LIBRARIES, "toy"))
    kept = (plugins.points, plugins.found, workers._first, workers._check_same, code_fingerprint)
    for one in kept:
        one.cache_clear()
    yield tmp_path
    for one in kept:
        one.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "toy"]:
        del sys.modules[name]


def sent(job: str) -> str:
    """A record that a job sends now."""
    return as_json(workers._absolute(provenance("statistics", {"job": job}, {})))


@pytest.mark.parametrize("file", ["toy/metric.py", "toy/computed.py", "toy-1.0.dist-info/METADATA"])
def test_what_is_installed_while_a_worker_lives_is_told(installed, file):
    workers._check_same(sent("first"))
    path = installed / file
    path.write_text(path.read_text().replace("7", "8").replace("1.0", "1.1"))
    # As what keeps the times of the files that it copies leaves it.
    os.utime(path, (0, 0))
    text = refusal(workers._check_same, sent("second"))
    assert "its code or libraries have changed since it was started: start it anew" in text


def test_files_that_are_dated_later_than_now_are_no_change(installed, monkeypatch):
    monkeypatch.setattr(workers, "PACKAGE", installed / "toy")
    later = time.time() + 3600
    os.utime(installed / "toy/metric.py", (later, later))
    workers._check_same(sent("first"))
    os.utime(installed / "toy/metric.py", (later - 7200,) * 2)
    assert "have changed since it was started" in refusal(workers._check_same, sent("second"))


def test_a_metric_that_a_worker_cannot_import_is_told(installed):
    (installed / "toy/metric.py").write_text("import lilas_nowhere")
    assert not plugins.found("lilas.metrics", ())
    text = refusal(workers._check_same, sent("first"))
    assert text.startswith("plug-in 'seven' of lilas.metrics (toy.metric:SEVEN): its import fails")


def test_workers_of_another_kind_are_told(tmp_path, here):
    cluster = Cluster(tmp_path)
    try:
        text = refusal(check_dask, cluster.address)
        assert text.endswith(f"has no workers. Start some: dask worker {cluster.address}")
        shutil.copytree(PACKAGE.parent, tmp_path / "src")
        module = tmp_path / "src/lilas/data/statistics.py"
        module.write_text(module.read_text().replace("== high", ">= high"))
        worker = cluster.worker("other", source=tmp_path / "src")
        text = refusal(statistics, "found.json", dask=cluster.address)
        assert "the code of stage 'statistics' differs from the one used. Dask's workers" in text
        # What it has imported is what it computes with.
        shutil.copy(PACKAGE / "data/statistics.py", module)
        os.utime(module, (time.time() + 1,) * 2)
        text = refusal(statistics, "found.json", dask=cluster.address)
        assert "have changed since it was started: start it anew" in text
        cluster.end(worker)
        cluster.worker("none", code=WITHOUT)
        text = refusal(statistics, "found.json", dask=cluster.address)
        assert text.startswith(f"dask: a worker of {cluster.address} has no lilas. Dask's workers")
    finally:
        cluster.end()


def test_a_cluster_that_is_lost_is_told(tmp_path, here, monkeypatch):
    monkeypatch.setattr(workers, "RETURN", 0)
    monkeypatch.setattr(workers, "LOOK", 0.2)
    monkeypatch.setattr(workers, "ANSWER", 1)
    cluster = Cluster(tmp_path)
    try:
        with cluster.loses():
            text = refusal(statistics, "found.json", dask=cluster.address)
        assert "has had no worker for 0 s" in text
        with cluster.loses(cluster.scheduler):
            text = refusal(statistics, "found.json", dask=cluster.address)
        assert re.match(rf"dask: (the|no) scheduler .*{cluster.address} (is gone|within)", text)
    finally:
        cluster.end()


def test_a_task_that_workers_die_of_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    cluster = Cluster(tmp_path)
    try:
        cluster.worker("own")
        (own,), record = cluster.names().values(), provenance("statistics", {}, {})
        found = in_order(cluster.address, os._exit, [1], records=[record], needed=0)
        words = f"dask: 1 worker died of one task, the last at {own}. Give workers more memory"
        assert refusal(next, found).startswith(words)
    finally:
        cluster.end()


# --- The workflow ------------------------------------------------------------------------------


def test_an_address_is_asked_before_the_first_job(pipeline):
    with service(b"HTTP/1.1 400 Bad Request\r\n") as address:
        pipeline.edit("dask: null", f"dask: {address}", pipeline.folder / "config.yaml")
        done = pipeline.run(check=False)
    assert done.returncode
    assert f"error: dask: no scheduler answers at {address} but another service." not in done.stdout
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"error: dask: no scheduler answers at {address}") for line in lines)
    assert "Traceback" not in done.stderr
    assert not list(pipeline.results.glob("**/logs/**/*.log"))
