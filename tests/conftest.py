"""What tests share: a copy of the pipeline in a folder of its own, and the miniature run in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles", "envs", "src")


class Pipeline:
    """A copy of the pipeline with the miniature study, apart from the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)
        # A kill must find a checkpoint, however fast the machine.
        self.edit("checkpoint_seconds: 60", "checkpoint_seconds: 0", folder / "config.yaml")
        self.study = folder / "miniature.yaml"
        shutil.copy(ROOT / "tests" / "data" / "miniature.yaml", self.study)
        self.results = folder / "results" / "miniature"
        self.environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of Snakemake on the miniature."""
        return ["snakemake", "--cores", "2", *arguments, "--config", f"study={self.study.name}"]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs Snakemake on the miniature."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{done.stdout}\n{done.stderr}")
        return done

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

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        """Replaces text in the study, or in another file."""
        path = path or self.study
        text = path.read_text()
        assert old in text, f"{old!r} is not in {path}"
        path.write_text(text.replace(old, new, 1))

    def copy(self, folder: Path) -> "Pipeline":
        """A copy of everything, results and their times included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        twin = object.__new__(Pipeline)
        twin.folder, twin.study = folder, folder / "miniature.yaml"
        twin.results = folder / "results" / "miniature"
        twin.environment = self.environment | {"PYTHONPATH": str(folder / "src")}
        return twin


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """The pipeline with nothing run yet."""
    return Pipeline(tmp_path / "pipeline")


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The miniature, run from nothing to its report; tests must leave it as it is."""
    result = Pipeline(tmp_path_factory.mktemp("miniature") / "pipeline")
    result.run()
    return result
