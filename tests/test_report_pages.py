"""Reports of several datasets: a page of each, and the first, in parts and in a real browser."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from browser import browse, find
from lilas.records import stores
from lilas.report import report
from lilas.report.images import dataset_of
from lilas.report.typeset import Cell, Row, Table, markdown, of_dataset
from lilas.stages import report as stage
from test_report import (
    RUNS,
    X,
    make_cells,
    make_differences,
    make_frames,
    rendered,
    shown,
    write,
)

# Best VRMSE by dataset. One name begins with another, and ends as a trajectory would.
DATASETS = {"euler": 0.21, "euler_4": 0.22, "shock_tube": 0.23}
FIRST = "report.html"
PAGES = {name: f"report_{name}.html" for name in DATASETS}
# Names of figures by dataset, as the stage `figures` writes them; frames are of trajectory 4.
FIGURES = {
    name: [
        *(f"{kind}_{name}.png" for kind in ("metrics", "spectra", "training")),
        f"rollout_{name}_4_density.png",
        f"rollout_{name}_4_velocity_x.png",
        f"video_{name}_4.gif",
    ]
    for name in DATASETS
}


def of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A table of the one dataset of `test_report`, as that of another."""
    return table.replace({"rayleigh_benard": name}).replace(
        {"^rayleigh_benard/": f"{name}/"}, regex=True
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Everything a report of three datasets is made of, by the options of its stage."""
    folder = tmp_path_factory.mktemp("study")
    tables, figures, root = (folder / name for name in ("tables", "figures", "results"))
    for path in (tables, figures, root, folder / "data"):
        path.mkdir()
    cells = [of(make_cells(**{"diffusion-s0": best}), name) for name, best in DATASETS.items()]
    pd.concat(cells).to_csv(tables / "horizons.csv", index=False)
    pairs = [of(make_differences(), name) for name in DATASETS]
    pd.concat(pairs).to_csv(tables / "differences.csv", index=False)
    written = [
        Table(name, ["run"], ["1-9"], [Row([f"run of {name}"], [Cell(best)])], f"A note on {name}.")
        for name, best in DATASETS.items()
    ]
    (tables / "horizons.md").write_text(f"What all are.\n\n{markdown('VRMSE', written)}")
    (tables / "table13_wasserstein_density.md").write_text(markdown("Density", written[:1]))
    claim = {"number": 1, "claim": "Latents suffice.", "verdict": "supported", "evidence": []}
    claims = {"claims": [claim | {"criterion": "Supported if so.", "reason": "So it is."}]}
    claims["claims"][0]["parts"] = []
    (folder / "claims.json").write_text(json.dumps(claims))
    (folder / "claims.csv").write_text("claim,part,side,cell,sample,number,value\n")
    for name in [name for names in FIGURES.values() for name in names]:
        (figures / name).write_bytes(b"\x89PNG" if name.endswith(".png") else b"GIF89a")
    frames = [
        make_frames(folder / name, run, flat=name == "shock_tube", dataset=name)
        for run in RUNS[:2]
        for name in DATASETS
    ]
    (folder / "three.yaml").write_text("# The study.\n")
    return {
        "tables": tables,
        "claims": folder / "claims.json",
        "rows": folder / "claims.csv",
        "figures": figures,
        "frames": frames,
        "study": folder / "three.yaml",
        "root": root,
        "data": folder / "data",
    }


def run_stage(inputs, folder: Path) -> dict[str, str]:
    """Runs the stage `report` and returns what it has written to a folder, by name."""
    command = ["report", "--config", "{}", "--output", folder / FIRST]
    for name, value in inputs.items():
        command += [f"--{name}", *(value if isinstance(value, list) else [value])]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", list(map(str, command)))
        stage.main()
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.fixture(scope="module")
def pages(inputs, tmp_path_factory):
    """The folder of the report, and its pages by name."""
    folder = tmp_path_factory.mktemp("pages")
    return folder, run_stage(inputs, folder)


def test_every_dataset_has_a_page_beside_the_first(pages):
    _, texts = pages
    assert texts.keys() == {FIRST, "claims.html", *PAGES.values()}
    # Plotly is on the pages that have a viewer.
    assert len(texts[FIRST]) < 100_000


def without_code(text: str) -> str:
    """A page without Plotly, which has links and words of its own; the viewer's data stay."""
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def links_of(text: str) -> list[str]:
    return re.findall(r'<a href="([^"]*)"', without_code(text))


def test_every_link_leads_to_a_place_that_is_there(pages):
    _, texts = pages
    for name, text in texts.items():
        links = links_of(text)
        assert len(links) > (1 if name == "claims.html" else 4)
        for page, place in (link.split("#") if "#" in link else (link, "") for link in links):
            assert not place or f'id="{place}"' in texts[page or name], (name, page, place)
            assert (page or name) in texts
        # The first page leads to all others, and they lead back.
        assert set(PAGES.values()) <= {*links, name} if name == FIRST else FIRST in links


def test_a_page_has_what_is_of_its_dataset_and_nothing_of_others(pages):
    _, texts = pages
    for name, page in PAGES.items():
        text = without_code(texts[page])
        assert f"<h1>LILAS, study three: {name}</h1>" in text
        assert sorted(re.findall(r'alt="([^"]*)"', text)) == sorted(FIGURES[name])
        assert f"<b>{DATASETS[name]:.3f}</b>" in text
        assert f"run of {name}</td>" in text
        assert f"A note on {name}." in text
        assert "What all are." in text
        assert ("<summary>Density</summary>" in text) == (name == "euler")
        assert f"lilas trace {name}/" in text
        # What is of the study as a whole is on the first page.
        assert "Latents suffice." not in text
        assert "# The study." not in text
        for other in DATASETS.keys() - {name}:
            assert f"<b>{DATASETS[other]:.3f}</b>" not in text
            assert not re.search(rf"(?<!\w){other}(?!\w)", text)


def test_the_first_page_has_the_answers_the_tables_and_what_is_of_all(pages):
    _, texts = pages
    text = texts[FIRST]
    for name, page in PAGES.items():
        assert f'<h2><a href="{page}">{name}</a></h2>' in text
        assert f'title="lilas trace {name}/c32-s0/diffusion-s0/ab16/vrmse/1-9"' in text
        assert f"<b>{DATASETS[name]:.3f}</b>" in text
    assert text.count("<b>Yes.</b> Latent diffusion has a lower error") == 3
    assert "Test trajectories that no training saw: 9 (euler), 9 (euler_4), 9 (shock_tube)." in text
    assert "Latents suffice." in text
    assert "# The study." in text
    assert "<img" not in text


def test_the_pages_work_in_a_browser_which_asks_for_nothing_else(pages, inputs, tmp_path):
    folder, _ = pages
    chromium = find()
    if chromium is None:
        message = "found no browser: no chromium, chromium-browser, google-chrome or chrome"
        assert os.environ.get("CI") != "true", message
        pytest.skip(message)
    with browse(chromium, tmp_path / "profile") as page:
        page.open(folder / FIRST)
        for name, file in PAGES.items():
            page.follow(f'h2 a[href="{file}"]')
            page.wait("document.getElementById('viewer').dataset.ready")
            select = "[...document.getElementById('choose-{}').options].map(each => each.text)"
            assert page.run(select.format("dataset")) == [name]
            assert page.run(select.format("model")) == ["diffusion (c32)", "solver (c32)"]
            place = next(path for path in inputs["frames"] if path.parts[-3] == name)
            store = xr.open_zarr(place.with_name("frames.zarr"))
            lead = int(page.run("document.getElementById('lead').value"))
            truth = store["truth"][0, :, 0]
            panel = shown(page)[0]
            found = np.array(panel["z"]).T
            expected = truth if name == "shock_tube" else truth[lead]
            assert found.shape[-1 if name == "shock_tube" else 0] == X
            np.testing.assert_allclose(found, expected, atol=1.5 * panel["half"])
            page.follow("nav a")
            assert page.run("document.title") == "LILAS: three"
        assert page.problems() == []
        asked = [url.rsplit("/", 1)[-1] for url in page.requests()]
        assert asked == [FIRST, *(name for file in PAGES.values() for name in (file, FIRST))]


def make_noise(folder: Path, name: str) -> Path:
    """Writes frames that cannot be compressed, 9 MB of them packed; returns their manifest."""
    states = np.random.default_rng(0).random((2, 1, 5, 1, 700, 700), dtype=np.float32)
    dims = ("trajectory", "time", "channel", "x", "y")
    points = {axis: (axis, np.linspace(0, 1, 700)) for axis in "xy"}
    record = {"stage": "frames", "version": 1, "config": {}, "inputs": {}}
    names = ("autoencoder", "compression", "emulator", "method", "sampler")
    frames = xr.Dataset(
        {
            "truth": (dims, states[0]),
            "mean": (dims, states[1]),
            "spread": (dims, np.zeros_like(states[0])),
            "member": (("trajectory", "member", *dims[1:]), states[1][:, None]),
        },
        coords={
            "trajectory": [4],
            "lead_time": ("time", np.arange(5)),
            "channel": stores.text(["density"]),
            **points,
            **{
                f"trajectory_{axis}": (("trajectory", axis), x[None])
                for axis, (_, x) in points.items()
            },
        },
        attrs=dict(zip(names, RUNS[1], strict=False))
        | {"dataset": name, "provenance": json.dumps(record)},
    )
    return write(frames, folder / name / "frames.json", record)


def test_each_page_is_below_25_megabytes_where_one_of_all_would_not_be(inputs, tmp_path):
    figures, folder = tmp_path / "figures", tmp_path / "report"
    figures.mkdir()
    folder.mkdir()
    for name in DATASETS:
        (figures / f"video_{name}_4.gif").write_bytes(bytes(5_600_000))
    frames = [make_noise(tmp_path, name) for name in DATASETS]
    texts = run_stage(inputs | {"figures": figures, "frames": frames}, folder)
    sizes = {name: len(text.encode()) for name, text in texts.items()}
    assert max(sizes.values()) < 25_000_000
    blobs = [re.search(r'"viewer-blobs">(.*?)</script>', texts[page])[1] for page in PAGES.values()]
    assert sum(map(len, blobs)) > 25_000_000
    for page in PAGES.values():
        assert "All of the stored frames are embedded." in texts[page]
        assert "left out" not in texts[page]


@pytest.mark.parametrize(("letters", "images"), [(20_000, 1), (70_000, 0)])
def test_images_leave_room_for_long_tables(inputs, tmp_path, monkeypatch, letters, images):
    monkeypatch.setattr(report, "PAGE_BUDGET", 100_000)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "metrics_euler.png").write_bytes(bytes(30_000))
    note = Table("euler", ["run"], ["1-9"], [], "n" * letters)
    tables = tmp_path / "tables"
    shutil.copytree(inputs["tables"], tables)
    (tables / "long.md").write_text(markdown("Long", [note]))
    some = inputs | {"tables": tables, "figures": tmp_path / "figures", "frames": []}
    text = dict(report.render(**some))[PAGES["euler"]]
    assert text.count("<img") == images
    assert ("small: metrics_euler.png." in text) == (not images)
    assert "n" * letters in text
    assert len(text) < 100_000


# --- What is of a dataset -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "dataset"),
    [
        *((figure, name) for name, figures in FIGURES.items() for figure in figures),
        ("video_euler_12.gif", "euler"),
        ("rollout_euler_4_4.png", "euler"),
        ("rollout_euler_12_4.png", "euler"),
        ("metrics_euler_5.png", ""),
        ("training.png", ""),
        ("euler.png", ""),
    ],
)
def test_a_figure_is_of_the_dataset_in_its_name(figure, dataset):
    assert dataset_of(Path(figure), DATASETS) == dataset


def test_the_tables_of_a_dataset_are_those_that_were_written_of_it_alone():
    def table(name: str, note: str = "") -> Table:
        return Table(name, ["run", "field"], ["1-9"], [Row(["a", "b"], [Cell(0.5, 0.1, 1)])], note)

    every = {
        "VRMSE": [table("euler", "First."), table("tube"), table("euler_4", "Last.")],
        "Density": [table("euler_4"), table("euler")],
        "Convection": [table("tube", "Alone.")],
    }
    whole = "Of all.\n\n" + "\n".join(markdown(*section) for section in every.items())
    for name in ("euler", "euler_4", "tube"):
        its = {title: [t for t in tables if t.dataset == name] for title, tables in every.items()}
        alone = "\n".join(markdown(title, tables) for title, tables in its.items() if tables)
        assert of_dataset(whole, name).strip() == f"Of all.\n\n{alone}".strip()
    assert of_dataset(whole, "other") == ""


def test_the_page_of_a_single_dataset_holds_everything(inputs, tmp_path):
    tables, figures = tmp_path / "tables", tmp_path / "figures"
    for path in (tables, figures):
        path.mkdir()
    of(make_cells(), "euler").to_csv(tables / "horizons.csv", index=False)
    of(make_differences(), "euler").to_csv(tables / "differences.csv", index=False)
    for figure in ("training.png", "metrics_euler.png"):
        (figures / figure).write_bytes(b"")
    alone = [path for path in inputs["frames"] if "euler" in path.parts]
    text = rendered(inputs | {"tables": tables, "figures": figures, "frames": alone})
    assert re.findall(r'alt="([^"]*)"', text) == ["metrics_euler.png", "training.png"]
    assert "Latents suffice." in text
    assert "# The study." in text
    links = links_of(text)
    places = ["#claims", "#figures", "#tables", "#trace", "#cost", "#run"]
    assert links == [*places, "claims.html"]
    assert all(f'id="{link[1:]}"' in text for link in places)


def test_costs_are_those_of_a_stages_jobs(tmp_path):
    """By whole names of stages: latents are no latent_parameters, nor the other way round."""
    seconds = {"latents": 1, "latents_train_3": 2, "latent_parameters": 4, "evaluate": 8}
    for name, value in seconds.items():
        path = tmp_path / "results" / "benchmarks" / "flow" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\n{value}\t{100 * value}\n")
    found = report.stage_costs(tmp_path / "results", tmp_path / "data").set_index("stage")
    assert found.index.tolist() == ["latents", "latent_parameters", "evaluate"]
    assert found["jobs"].tolist() == [2, 1, 1]
    assert found["seconds"].tolist() == [3, 4, 8]
    assert found["peak memory (MB)"].tolist() == [200, 400, 800]
