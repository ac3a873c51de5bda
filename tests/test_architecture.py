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
# From the bottom to the top: a module imports its own layer or lower ones.
LAYERS = {
    "base": "errors, files, locks, seeds, draws, progress, processes, devices, display, plugins",
    "settings": "models of settings, and the values they are made of: refused in one line",
    "systems": "simulated systems: settings, and numbers from these alone",
    "study": "what a user asks for; read before there is any data, so without torch and HDF5",
    "nn": "networks of tensors, which know nothing but their layers",
    "records": "files that the pipeline writes and reads again: opened and checked in one place",
    "data": "The Well's files, and batches of their states",
    "training": "one loop for whatever has a loss over windows of data",
    "models": "autoencoders and emulators of data, built as a study asks, and their latents",
    "evaluation": "scores of what models make of data",
    "report": "what a study's scores say: tables, figures, claims",
    "inspect": "what any artifact is, which takes all that can read or draw one",
    "official": "the official code's files as models of ours, and how far ours are from it",
    "interface": "models that are called, and results that are looked at, by Python's own users",
    "plan": "what the workflow asks before it runs, of official runs too",
    "stages": "one entry point per rule: opens, calls the library, writes",
    "commands": "groups of the command line, which call whatever there is",
    "cli": "the command line: all groups of commands",
}
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            if node.module == "lilas":
                names |= {f"lilas.{alias.name}" for alias in node.names}
    return names


def layer(name: str) -> str:
    """The layer of a module of the package, by its dotted name."""
    part = name.split(".")[1] if "." in name else "base"
    return part if part in LAYERS else "base"


def test_imports_go_downwards_only():
    order = list(LAYERS)
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders <= set(order), "a new folder has its place in LAYERS, and a reason"
    for path in PACKAGE.rglob("*.py"):
        own = layer(".".join(["lilas", *path.relative_to(PACKAGE).with_suffix("").parts]))
        for name in imported(path):
            if name.split(".")[0] == "lilas":
                assert order.index(layer(name)) <= order.index(own), f"{path} imports {name}"


def test_modules_are_short_and_few_lie_at_the_top():
    for path in PACKAGE.rglob("*.py"):
        lines = len(path.read_text().splitlines())
        assert lines <= 400, f"{path} has {lines} lines: split it by idea"
    assert len(list(PACKAGE.glob("*.py"))) <= 12


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
    code = "import sys, lilas.study.read, lilas.plan, lilas.stages; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_stages_of_tables_and_pages_import_no_torch():
    """They need of a metric what it is, not what computes it; of weights, their shapes."""
    code = "import sys; from lilas.stages import tables, claims, figures, report"
    code += "; print('torch' in sys.modules)"
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
        calls = re.findall(r'STAGE \+ "(\w+)', rule)
        assert len(calls) == 1, name
        assert (PACKAGE / "stages" / f"{calls[0]}.py").is_file()
        for directive in ("message:", "log:", "benchmark:", "conda:", "params:"):
            assert directive in rule, f"{name} has no {directive}"
        assert f'VERSIONS["{calls[0]}"]' in rule, name


def test_every_stage_has_a_version_and_stays_thin():
    paths = {path.stem: path for path in (PACKAGE / "stages").glob("*.py")}
    assert set(paths) - {"__init__"} == set(provenance.VERSIONS)
    for name, path in paths.items():
        lines = path.read_text().splitlines()
        assert len(lines) <= 70, f"{name} has {len(lines)} lines"
        assert name == "__init__" or "def main() -> None:" in lines


def test_rules_name_files_of_results_and_data_by_their_paths():
    for path in RULES:
        found = re.findall(
            r'"[^" ]*\.(?:json|jsonl|parquet|safetensors|zarr|hdf5|html|tsv|log)"', path.read_text()
        )
        assert set(found) <= {'".json"', '".zarr"'}, path
