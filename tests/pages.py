"""Runs the commands of a page of docs as they stand there, in a folder with the pipeline alone.

`make test-pages` runs all of them: `python tests/pages.py own_data.md`.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "config.yaml", "workflow", "profiles")


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of a page that are commands, `bash`, or files, `python`, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(bash|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def lay_out(folder: Path) -> None:
    """Has the parts of a clone in a folder that commands need."""
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)


def run(kind: str, text: str, folder: Path) -> str:
    """Runs a block in a folder, or saves a file that names itself in its first line.

    Returns what it prints; commands that fail end the program.
    """
    if kind == "python":
        name = text.splitlines()[0].removeprefix("# ")
        (folder / name).write_text(text, encoding="utf-8")
        return ""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH")))
        ),
    }
    command = ["bash", "-euc", text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, f"{text}{done.stdout}{done.stderr}"
    return done.stdout


def main() -> None:
    for page in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder))
            for kind, text in blocks(page):
                print(f"--- {page}\n{text}{run(kind, text, Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
