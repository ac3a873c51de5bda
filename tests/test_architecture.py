"""Who may import whom, and what a rule may do."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lilas.records import provenance

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lilas"
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_the_numerics_do_not_know_snakemake():
    for path in PACKAGE.rglob("*.py"):
        assert not any(name.startswith("snakemake") for name in imported(path)), path


def test_networks_know_nothing_but_layers():
    for path in (PACKAGE / "nn").glob("*.py"):
        ours = {name for name in imported(path) if name.startswith("lilas")}
        assert ours <= {"lilas.nn.layers", "lilas.errors"}, path


def test_only_stages_and_the_command_line_know_stages():
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "stages" and path.name != "cli.py":
            assert not any(name.startswith("lilas.stages") for name in imported(path)), path


def test_reading_a_study_imports_no_torch():
    code = "import sys, lilas.study.study, lilas.plan, lilas.stages; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_what_compiles_imports_the_compiler():
    """It takes longer to import than torch."""
    code = "import sys, lilas.nn.vit, lilas.models.build; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_hold_no_numerics_and_call_one_stage_each(path):
    text = path.read_text()
    assert not re.search(r"^\s*(import|from) (numpy|torch|xarray|zarr|h5py|pandas)", text, re.M)
    for rule in re.split(r"^rule ", text, flags=re.M)[1:]:
        name = rule.split(":")[0]
        if "shell:" not in rule:
            continue
        calls = re.findall(r'RUN \+ "(\w+)', rule)
        assert len(calls) == 1, name
        assert (PACKAGE / "stages" / f"{calls[0]}.py").is_file()
        for directive in ("message:", "log:", "benchmark:", "conda:", "params:"):
            assert directive in rule, f"{name} has no {directive}"
        assert f'VERSIONS["{calls[0]}"]' in rule, name


def test_every_stage_has_a_version_and_stays_thin():
    found = {path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__"}
    assert found == set(provenance.VERSIONS)
    for name in found:
        lines = (PACKAGE / "stages" / f"{name}.py").read_text().splitlines()
        assert len(lines) <= 120, f"{name} has {len(lines)} lines"
        assert "def main() -> None:" in lines
