"""The command line as people type it: completed by their shell, misspelt, interrupted."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lilas import cli
from lilas.files import nearest
from lilas.study.well import well_facts


def completed(folder: Path, *words: str) -> list[str]:
    """What bash makes of words, the last of which is not whole."""
    code = "from lilas.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "completion"], capture_output=True, text=True, check=True
    )
    said = 'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lilas; printf "%s\\n" "${COMPREPLY[@]}"'
    script = f"{done.stdout}\nCOMP_WORDS=(lilas {' '.join(map(repr, words))})\n{said}"
    bash = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    assert bash.stderr == ""
    return bash.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_studies(tmp_path):
    studies = tmp_path / "workflow" / "studies"
    studies.mkdir(parents=True)
    for name in ("demo", "demo_euler", "paper"):
        (studies / f"{name}.yaml").write_text("")
    assert completed(tmp_path, "ins") == ["inspect"]
    assert completed(tmp_path, "inspect", "--p") == ["--picture"]
    assert completed(tmp_path, "plan", "de") == ["demo", "demo_euler"]
    assert completed(studies, "plan", "de") == []
    assert completed(tmp_path, "official", "latents-") == ["latents-out", "latents-in"]
    # Files are the shell's own business: nothing is offered in their place.
    assert completed(tmp_path, "inspect", "results/") == []
    shear = [name for name in well_facts() if name.startswith("shear")]
    assert completed(tmp_path, "datasets", "shear") == shear != []


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["inspct"], "inspect"), (["statsu", "demo"], "status"), (["official", "chek"], "check")],
)
def test_a_misspelt_command_is_answered_with_what_was_meant(monkeypatch, capsys, words, meant):
    monkeypatch.setattr(sys, "argv", ["lilas", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith(f"Did you mean {meant}?\n")
    monkeypatch.setattr(sys, "argv", ["lilas", "qqqq"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Did you mean" not in capsys.readouterr().err


def test_a_misspelt_path_is_told_its_nearest(tmp_path, monkeypatch):
    (tmp_path / "results" / "demo").mkdir(parents=True)
    assert nearest(tmp_path / "results" / "demos") == tmp_path / "results" / "demo"
    assert nearest(tmp_path / "result" / "demo" / "a.json") == tmp_path / "results"
    assert nearest(tmp_path / "results" / "qqqq") is None
    for command in ("inspect", "show"):
        monkeypatch.setattr(sys, "argv", ["lilas", command, str(tmp_path / "results" / "demos")])
        with pytest.raises(SystemExit, match=r"Did you mean .*/results/demo\?$"):
            cli.main()


def test_an_interrupted_command_says_to_run_it_again(monkeypatch):
    def interrupted(path):
        # A shell's background job, as tests may be one, is deaf.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lilas.commands.results.show", interrupted)
    monkeypatch.setattr(sys, "argv", ["lilas", "show", "."])
    with pytest.raises(SystemExit, match=r"^stopped; run the same command again$"):
        cli.main()
