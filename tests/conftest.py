"""What tests share: a copy of the pipeline in a folder of its own, and the miniature run in it."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import forked

# Tests run on every core, so each computes on one; torch reads this when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# They compute on the CPU, whatever the machine has, unless a device is named: make test-cuda.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs", "src")


class Pipeline:
    """A copy of the pipeline with the miniature study, apart from the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.study = folder, folder / "miniature.yaml"
        self.results = folder / "results" / "miniature"
        self.environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def lay_out(self) -> "Pipeline":
        """Makes the folder, with nothing run yet."""
        self.folder.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.folder / part, ignore=ignore)
            else:
                shutil.copy(source, self.folder / part)
        # A kill must find a checkpoint, however fast the machine.
        config = self.folder / "config.yaml"
        self.edit("checkpoint_seconds: 60", "checkpoint_seconds: 0", config)
        shutil.copy(ROOT / "tests" / "data" / "miniature.yaml", self.study)
        return self

    def command(self, *arguments: str) -> list[str]:
        """The command line of Snakemake on the miniature."""
        return ["snakemake", "--cores", "2", *arguments, "--config", f"study={self.study.name}"]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs Snakemake on the miniature."""
        done = self.snakemake(*self.command(*arguments)[1:])
        if check and done.returncode:
            raise AssertionError(f"{done.stdout}\n{done.stderr}")
        return done

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs Snakemake as these arguments say."""
        return forked.snakemake(list(arguments), self.folder, self.environment)

    def planned(self, *arguments: str) -> dict[str, int]:
        """The jobs that would run, by rule."""
        output = self.run("--dry-run", *arguments).stdout
        if "Job stats:" not in output:
            return {}
        lines = output.split("Job stats:")[1].strip().splitlines()[2:]
        jobs = {}
        for line in lines:
            name, _, count = line.partition(" ")
            if not count.strip().isdigit():
                break
            jobs[name] = int(count)
        return {name: count for name, count in jobs.items() if name not in ("all", "total")}

    def commands(self, *arguments: str) -> list[list[str]]:
        """The command lines of the stages that would run, in a plan's order."""
        text = self.run("--dry-run", "--printshellcmds", *arguments).stdout
        # Trainings are launched: in one process they need no launcher.
        stage = r"python -m lilas\.(?:training\.launch .+? lilas\.)?stages\.(.+) 2>&1"
        return [shlex.split(line) for line in re.findall(stage, text)]

    def run_here(self, *targets: str) -> None:
        """Runs the stages that a plan prints in this one process, which starts no interpreters.

        Snakemake knows nothing of what they make.
        """
        with contextlib.chdir(self.folder), pytest.MonkeyPatch.context() as patch:
            for stage, *arguments in self.commands(*targets):
                for path in (Path(a) for a in arguments if a.startswith("results/")):
                    path.parent.mkdir(parents=True, exist_ok=True)
                patch.setattr(sys, "argv", [stage, *arguments])
                import_module(f"lilas.stages.{stage}").main()

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        """Replaces text in the study, or in another file."""
        path = path or self.study
        text = path.read_text()
        assert old in text, f"{old!r} is not in {path}"
        path.write_text(text.replace(old, new, 1))

    def copy(self, folder: Path) -> "Pipeline":
        """A copy of everything, results and their times included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Pipeline(folder)


def heed_interrupts() -> None:
    """Of a process before it begins: a shell's background job, as tests may be one, is deaf."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """The pipeline with nothing run yet."""
    return Pipeline(tmp_path / "pipeline").lay_out()


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The miniature, run from nothing to its report; Snakemake runs in copies of it alone.

    The first worker to ask runs it, with the command that a user types; the others wait.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    result = Pipeline(shared / "miniature" / "pipeline")
    with open(shared / "miniature.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.folder.exists():
            result.lay_out()
            done = subprocess.run(
                result.command(),
                cwd=result.folder,
                env=result.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert (result.results / "report.html").is_file(), "it failed in another worker"
    return result


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory, where one may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    with mounted(tmp_path / "disk", "size=64k") as folder:
        yield folder


def fill_up(disk: Path, left: int) -> None:
    """Fills a file system but for some bytes, a multiple of a page."""
    with open(disk / "rest", "wb", 0) as file, contextlib.suppress(OSError):
        while file.write(bytes(512)):
            pass
    with open(disk / "rest", "r+b") as file:
        file.truncate((disk / "rest").stat().st_size - left)


# Files whose tests share what is expensive to make: each runs on one worker.
SHARED = (
    *("test_ablation.py", "test_dask.py", "test_datasets.py", "test_given.py", "test_guidance.py"),
    *("test_inspect.py", "test_official.py", "test_official_caches.py", "test_plugins.py"),
    *("test_methods.py", "test_processes.py", "test_report.py"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out tests one by one, in order, but those of SHARED by the file."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return path if path.endswith(SHARED) else nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts first what takes longest, and last what needs the miniature, which is then there."""
    items.sort(
        key=lambda item: (
            "miniature" in item.fixturenames,
            item.get_closest_marker("slow") is None,
        )
    )
