"""Pages of docs, followed literally as far as takes seconds; `make test-pages` follows all."""

import re
from pathlib import Path

import xarray as xr

import pages
from lilas.study.read import read_study
from test_units import untrained


def test_own_data_is_planned_as_the_page_says(tmp_path: Path) -> None:
    """Its commands as they stand there, up to the training, of fewer and smaller runs."""
    pages.lay_out(tmp_path)
    printed = {}
    small = {"steps, nx, ny = 30, 40, 64, 32": "steps, nx, ny = 30, 6, 16, 8"}
    for kind, text in pages.blocks("own_data.md"):
        if text.startswith("snakemake --cores"):
            break
        for long, short in small.items() if kind == "python" else ():
            assert long in text
            text = text.replace(long, short)
        before = sorted(tmp_path.iterdir())
        printed[text.split("sound")[0].strip()] = pages.run(kind, text, tmp_path)
        if text.startswith("lilas new"):
            assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "sound.yaml"])
    assert "Faults: none\n\nWarnings: none" in printed["lilas check"]
    # A draft begins with what a plan of it says, and leaves nothing but itself.
    text = (tmp_path / "sound.yaml").read_text(encoding="utf-8")
    head = text.split("datasets:")[0].splitlines()
    assert all(line.startswith("# ") for line in head)
    assert head[0] == "# A first study of sound, its models sized for minutes on a laptop CPU."
    (total,) = (line.split() for line in head if line.startswith("# all "))
    assert int(total[2]) == 15
    assert "- velocity  # a vector, " in text
    assert " m s-1\n" in text
    assert re.search(r"^emulators +2 ", printed["snakemake -n --config study="], re.MULTILINE)
    study = read_study(tmp_path / "sound.yaml")
    assert study.datasets["sound"].states.fields == ["pressure", "velocity"]
    assert study.datasets["sound"].label == {"speed": "none", "damping": "log"}
    assert study.datasets["sound"].augment.roll == ["x"]
    # The forecast from the shell takes the file's own names, of a model that stands for the page's.
    (text,) = (text for _, text in pages.blocks("own_data.md") if text.startswith("lilas rollout"))
    run = tmp_path / text.split()[2]
    channels = ["pressure", "velocity_x", "velocity_y"]
    untrained(tmp_path / "sound", run.parent, run.name, channels)
    pages.run("bash", text, tmp_path)
    found = xr.load_dataset(tmp_path / text.split()[-1])
    assert list(found) == channels
    assert dict(found.sizes) == {"member": 8, "time": 20, "x": 16, "y": 8}
    # The table on the page is the one that is printed, but for sizes.
    page = (pages.ROOT / "docs/own_data.md").read_text(encoding="utf-8")
    told = page.split("what of it was guessed:\n\n```\n")[1].split("\n```")[0].splitlines()
    found = printed["lilas convert"].splitlines()[: len(told)]
    assert [line.split()[:2] for line in told] == [line.split()[:2] for line in found]
    assert [line.split()[-1] for line in told] == [line.split()[-1] for line in found]
