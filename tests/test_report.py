"""The report, in a real browser and in parts, on frames and tables whose numbers are known."""

import base64
import gzip
import itertools
import json
import math
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from plotly.offline import get_plotlyjs

from browser import browse, find
from lilas.errors import LilasError
from lilas.evaluation.field_scores import evaluate
from lilas.records import stores
from lilas.records.metrics import KEYS, write_metrics
from lilas.records.stores import text
from lilas.report import images, report
from lilas.report.answer import answer
from lilas.report.looks import looks
from lilas.report.report import render
from lilas.report.viewer import PLANS, embed, pack

LEADS, CHANNELS, X, Y = 5, 3, 12, 7
# The second would end the script that it lies in, were it not escaped; the third spans decades.
FIELDS = ["buoyancy", "</script><b>field", "density"]
RUNS = [
    ("c32-s0", 32.0, "diffusion-s0", "diffusion", "ab16", 4),
    ("c32-s0", 32.0, "solver-s0", "solver", "direct", 1),
    ("", 1.0, "persistence", "persistence", "", 1),
    ("", 1.0, "climatology", "climatology", "", 1),
    ("c32-s0", 32.0, "reconstruction", "reconstruction", "", 1),
]
VRMSE = dict(zip((run[2] for run in RUNS), (0.2, 0.3, 0.5, 1.0, 0.05), strict=True))


def make_frames(
    folder: Path,
    run: tuple,
    trajectories: int = 2,
    flat: bool = False,
    dataset: str = "rayleigh_benard",
) -> Path:
    """Writes a store of frames with a Chebyshev axis, or none, and returns its manifest."""
    autoencoder, compression, emulator, method, sampler, members = run
    rng = np.random.default_rng(len(emulator))
    shape = (trajectories, LEADS, CHANNELS, X, Y)
    truth = np.random.default_rng(0).normal(size=shape)
    truth[:, :, 2] = 10 ** (2 * truth[:, :, 2])
    noise = rng.normal(size=(members, *shape)) * np.arange(LEADS)[:, None, None, None]
    member = truth * (1 + 0.02 * noise) + 0.1 * noise * [[[1]], [[1]], [[0]]]
    member[:, :, :, 2] = np.abs(member[:, :, :, 2])
    plain = ("trajectory", "time", "channel", "x", "y")
    chebyshev = (1 - np.cos(np.pi * np.arange(Y) / (Y - 1))) / 2
    states = {"truth": truth, "autoencoder": truth, "mean": member.mean(0), "spread": member.std(0)}
    record = {"stage": "frames", "version": 1, "config": {"run": emulator}, "inputs": {}}
    frames = xr.Dataset(
        {name: (plain, values.astype(np.float32)) for name, values in states.items()}
        | {
            "member": (
                ("trajectory", "member", *plain[1:]),
                member[:2].swapaxes(0, 1).astype(np.float32),
            )
        },
        coords={
            "trajectory": [4, 7][:trajectories],
            "lead_time": ("time", 3 * np.arange(LEADS)),
            "channel": text(FIELDS),
            "x": ("x", np.linspace(0, 4, X)),
            "y": ("y", chebyshev),
            "trajectory_x": (("trajectory", "x"), np.tile(np.linspace(0, 4, X), (trajectories, 1))),
            "trajectory_y": (("trajectory", "y"), np.tile(chebyshev, (trajectories, 1))),
        },
        attrs={
            "dataset": dataset,
            "autoencoder": autoencoder,
            "compression": compression,
            "emulator": emulator,
            "method": method,
            "sampler": sampler,
            "provenance": json.dumps(record),
        },
    )
    if flat:
        frames = frames.drop_vars("trajectory_y").isel(y=0, drop=True)
        # The second trajectory has grid points of its own.
        frames = frames.drop_vars("x")
        frames["trajectory_x"][1] *= 2
    return write(frames, folder / emulator / "frames.json", record)


def write(dataset: xr.Dataset, manifest: Path, record: dict[str, Any]) -> Path:
    """Writes a store of frames and its manifest, whose path it returns."""
    store = manifest.with_suffix(".zarr")
    stores.write(stores.partial(store), dataset)
    stores.finish(store, manifest, record)
    return manifest


def make_cells(horizons: tuple[str, ...] = ("1-9",), **vrmse: float) -> pd.DataFrame:
    """Returns rows of tables/horizons.csv: scores with intervals of ± 0.04, and a spread/skill."""
    rows = []
    for autoencoder, compression, emulator, method, sampler, members in RUNS:
        values = dict.fromkeys(("vrmse", "vcrps", "venergy_score"), (VRMSE | vrmse)[emulator])
        values |= {"spread_skill": 0.5}
        for metric, value in values.items():
            if metric == "spread_skill" and members == 1:
                continue
            for horizon in horizons:
                names = ("rayleigh_benard", autoencoder, emulator, sampler, metric, horizon)
                rows.append(
                    {
                        "dataset": "rayleigh_benard",
                        "autoencoder": autoencoder,
                        "compression": compression,
                        "emulator": emulator,
                        "method": method,
                        "sampler": sampler,
                        "context": 1,
                        "start": 0,
                        "direction": "forward",
                        "members": members,
                        "relative_to": "truth",
                        "metric": metric,
                        "field": "",
                        "horizon": horizon,
                        "value": value,
                        "low": value - 0.04,
                        "high": value + 0.04,
                        "trajectories": 9,
                        "cell": "/".join(filter(None, names)),
                    }
                )
    return pd.DataFrame(rows)


def make_differences(p: float = 0.004, other: str = "c32-s0/solver-s0/direct") -> pd.DataFrame:
    row = {
        "dataset": "rayleigh_benard",
        "context": 1,
        "first": other,
        "second": "c32-s0/diffusion-s0/ab16",
        "relative_to": "truth",
        "metric": "vrmse",
        "field": "",
        "horizon": "1-9",
        "difference": 0.1,
        "low": 0.05,
        "high": 0.15,
        "p": p,
        "trajectories": 9,
    }
    return pd.DataFrame([row])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Everything a report is made of, by the names of `render`'s arguments."""
    folder = tmp_path_factory.mktemp("study")
    tables, figures, root = (folder / name for name in ("tables", "figures", "results"))
    for path in (tables, figures, root, folder / "data"):
        path.mkdir()
    make_cells().to_csv(tables / "horizons.csv", index=False)
    make_differences().to_csv(tables / "differences.csv", index=False)
    (tables / "horizons.md").write_text("| run | value |\n|---|---|\n| <i>a</i> | **0.1** |\n")
    (tables / "table10.md").write_text("### Ten <i>x</i>\n\nten")
    (tables / "table9.md").write_text("nine")
    claim = {
        "number": 1,
        "claim": "Latents <b>suffice</b>.",
        "verdict": "not supported",
        "evidence": ["1.2 [1.1, 1.3]"],
        "criterion": "Supported if so.",
        "reason": "So it is.",
        "parts": [{"name": "1 < 2", "verdict": "supported", "evidence": ["1.2 [1.1, 1.3]"]}],
    }
    (folder / "claims.json").write_text(json.dumps({"claims": [claim]}))
    (folder / "claims.csv").write_text(
        "claim,part,side,cell,sample,number,value\n"
        "1,1 < 2,one,a/vrmse/1-9,trajectory,0,0.25\n"
        "1,1 < 2,one,a/vrmse/10-19,trajectory,0,0.75\n"
        "1,1 < 2,two,b/vrmse/1-9,trajectory,0,2.5\n"
    )
    picture = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
        "rkJggg=="
    )
    for name in ("training.png", "rollout_rayleigh_benard_0_buoyancy.png", "other.png"):
        (figures / name).write_bytes(picture)
    (figures / "video_rayleigh_benard_0.gif").write_bytes(b"GIF89a" + bytes(3000))
    study = folder / "a<b>.yaml"
    study.write_text("# <script>study</script>\n")
    return {
        "tables": tables,
        "claims": folder / "claims.json",
        "rows": folder / "claims.csv",
        "figures": figures,
        "frames": [make_frames(folder, run) for run in RUNS[1::-1]],
        "study": study,
        "root": root,
        "data": folder / "data",
    }


@pytest.fixture(scope="module")
def page(inputs, tmp_path_factory):
    """The report in a browser, its viewer ready."""
    with opened_page(inputs, tmp_path_factory.mktemp("page")) as opened:
        yield opened


def rendered(inputs) -> str:
    """The one page of a study with one dataset."""
    (_, claims), (name, text) = render(**inputs)
    assert name == "report.html"
    assert claims.startswith("<!doctype html>")
    return text


def test_the_page_of_the_claims_leads_from_a_verdict_to_the_values_behind_it(inputs):
    page = dict(render(**inputs))["claims.html"]
    assert "Latents &lt;b&gt;suffice&lt;/b&gt;." in page
    (part,) = re.findall(r"<details>.*?</details>", page, re.DOTALL)
    assert re.search(r'verdict supported">supported</span> 1 &lt; 2</summary>', part)
    # Of each side the mean over its cells.
    rows = re.findall(r"<tr>(.*?)</tr>", part)
    texts = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]
    assert texts == [["trajectory", "one", "two"], ["0", "0.5", "2.5"], ["mean", "0.5", "2.5"]]
    assert re.findall(r"<code>(.*?)</code>", part) == [
        "a/vrmse/1-9",
        "a/vrmse/10-19",
        "b/vrmse/1-9",
    ]


@pytest.mark.parametrize(
    "text", ["claim,part\n1,a\n", 'claim,part,side,cell,sample,number,value\n"1', "x\n"]
)
def test_damaged_values_behind_the_claims_are_refused(inputs, tmp_path, text):
    (tmp_path / "claims.csv").write_text(text)
    with pytest.raises(LilasError, match=r"claims\.csv.*snakemake -R claims"):
        list(render(**inputs | {"rows": tmp_path / "claims.csv"}))


@contextmanager
def opened_page(inputs, folder):
    chromium = find()
    if chromium is None:
        message = "found no browser: no chromium, chromium-browser, google-chrome or chrome"
        assert os.environ.get("CI") != "true", message
        pytest.skip(message)
    path = folder / "report.html"
    path.write_text(rendered(inputs), encoding="utf-8")
    with browse(chromium, folder / "profile") as opened:
        opened.open(path)
        opened.wait("document.getElementById('viewer').dataset.ready")
        yield opened


def shown(page) -> list[dict]:
    """The panels of the viewer, as they are drawn."""
    script = """document.getElementById('panels').data.map(each => ({
        x: [...each.x], y: [...each.y], z: each.z.map(row => [...row]),
        low: each.zmin, high: each.zmax, name: each.hovertemplate.match(/<extra>(.*)</)[1],
        half: +each.hovertemplate.match(/± ([^ <]+)/)[1],
    }))"""
    return page.run(script)


def choose(page, **wanted: str) -> None:
    """Chooses by the selects, as a reader does, and waits for the pictures."""
    for name, value in wanted.items():
        before = page.run("document.getElementById('viewer').dataset.ready")
        page.run(
            f"""(() => {{
                const select = document.getElementById('choose-{name}');
                select.value = {json.dumps(value)};
                select.dispatchEvent(new Event('change'));
            }})()"""
        )
        page.wait(f"document.getElementById('viewer').dataset.ready != {json.dumps(before)}")


def test_the_report_in_a_browser_has_no_error_and_asks_for_nothing(page):
    assert page.problems() == []
    (only,) = page.requests()
    assert only.endswith("/report.html")


def test_an_error_on_the_page_would_be_seen(page):
    before = len(page.problems())
    page.run("setTimeout(() => { throw new Error('on purpose') })")
    page.run("fetch('https://example.invalid').catch(() => 0)")
    page.wait("true")
    found = page.problems()[before:]
    assert any("on purpose" in text for text in found)
    # The page forbids itself any request.
    assert any("Content Security Policy" in text for text in found)
    page.events.clear()


@pytest.mark.parametrize("field", range(CHANNELS))
@pytest.mark.parametrize("run", [0, 1])
def test_what_is_drawn_are_the_frames_within_half_a_level(page, inputs, run, field):
    store = xr.open_zarr(inputs["frames"][1 - run].with_name("frames.zarr"))
    model = ("diffusion (c32)", "solver (c32)")[run]
    choose(page, model=model, trajectory="7", field=FIELDS[field])
    lead = int(page.run("document.getElementById('lead').value"))
    now = store.isel(trajectory=1, channel=field, time=lead)
    mean, truth = now["mean"].values, now["truth"].values
    expected = {"truth": truth, "ensemble mean": mean, "error of the mean": mean - truth}
    if run == 0:
        expected |= {f"member {k + 1}": now["member"][k].values for k in range(2)}
        expected |= {"spread": now["spread"].values}
    else:
        expected = {"truth": truth, "forecast": mean, "error": mean - truth}
    panels = {panel["name"]: panel for panel in shown(page)}
    assert panels.keys() == expected.keys()
    for name, values in expected.items():
        if FIELDS[field] == "density" and "error" not in name and name != "spread":
            values = np.log10(values)
        panel = panels[name]
        np.testing.assert_allclose(panel["x"], store["x"])
        np.testing.assert_allclose(panel["y"], store["y"])
        # The reader is told half a level, rounded to a digit.
        np.testing.assert_allclose(np.array(panel["z"]).T, values, atol=1.5 * panel["half"])
        assert panel["half"] < 0.01 * np.abs(store["truth"][1, :, field]).max()


def test_colours_are_the_truths_over_all_lead_times_and_errors_are_centred(page, inputs):
    store = xr.open_zarr(inputs["frames"][1].with_name("frames.zarr"))
    choose(page, model="diffusion (c32)", trajectory="4", field="buoyancy")
    panels = {panel["name"]: panel for panel in shown(page)}
    truth = store["truth"][0, :, 0]
    largest = float(np.abs(truth).max())
    for name in ("truth", "ensemble mean", "member 1", "member 2"):
        # A field of both signs: zero in the middle.
        assert (panels[name]["low"], panels[name]["high"]) == pytest.approx((-largest, largest))
    worst = float(np.abs(store["mean"][0, :, 0] - truth).max())
    error, spread = panels["error of the mean"], panels["spread"]
    assert (error["low"], error["high"]) == pytest.approx((-worst, worst))
    assert (spread["low"], spread["high"]) == pytest.approx((0, worst))


def test_the_slider_changes_the_picture(page):
    choose(page, model="diffusion (c32)", trajectory="4", field="buoyancy")
    page.run("document.getElementById('lead').focus()")
    for _ in range(LEADS):
        page.press("ArrowLeft")
    page.wait("document.getElementById('viewer').dataset.time == 0")

    def picture() -> tuple[str, list]:
        shot = page.call("Page.captureScreenshot", format="png")["data"]
        return shot, shown(page)[0]["z"]

    first = picture()
    assert first == picture()
    page.press("ArrowRight")
    page.wait("document.getElementById('viewer').dataset.time == 1")
    second = picture()
    assert second[0] != first[0]
    assert second[1] != first[1]
    assert page.run("document.getElementById('lead-shown').textContent") == "3"
    # Away from the slider the same keys do the same.
    page.run("document.getElementById('panels').focus()")
    page.press("ArrowLeft")
    page.wait("document.getElementById('viewer').dataset.time == 0")
    assert picture()[1] == first[1]


def test_states_of_one_axis_are_shown_over_all_lead_times(inputs, tmp_path):
    frames = [make_frames(tmp_path, RUNS[0], flat=True)]
    store = xr.open_zarr(frames[0].with_name("frames.zarr"))
    with opened_page(inputs | {"frames": frames}, tmp_path) as page:
        choose(page, trajectory="7", field=FIELDS[1])
        panel = shown(page)[0]
        np.testing.assert_allclose(panel["x"], store["lead_time"])
        np.testing.assert_allclose(panel["y"], 2 * np.linspace(0, 4, X))
        truth = store["truth"][1, :, 1].values
        np.testing.assert_allclose(np.array(panel["z"]).T, truth, atol=1.5 * panel["half"])
        # The slider leaves the picture, and marks its lead time in each panel.
        page.run("document.getElementById('lead').focus()")
        for _ in range(LEADS):
            page.press("ArrowLeft")
        page.press("ArrowRight")
        page.wait("document.getElementById('viewer').dataset.time == 1")
        page.wait("document.getElementById('panels').layout.shapes[0].x0 == 3")
        assert shown(page)[0] == panel
        count = page.run("document.getElementById('panels').layout.shapes.length")
        assert count == len(shown(page))
        assert page.problems() == []


def test_playing_goes_through_lead_time_until_paused(page):
    play = "document.getElementById('play')"
    page.run(f"{play}.click()")
    page.wait("document.getElementById('viewer').dataset.time == 2")
    page.run(f"{play}.click()")
    assert page.run(f"{play}.textContent") == "Play"


def test_the_curve_is_the_vrmse_of_the_metrics(page, inputs):
    choose(page, model="diffusion (c32)", trajectory="7", field="buoyancy")
    store = xr.open_zarr(inputs["frames"][1].with_name("frames.zarr"))
    truth, mean = (torch.from_numpy(store[name][1, :, 0].values) for name in ("truth", "mean"))
    expected = evaluate(truth, mean[None], spatial=2, names=["vrmse"])["vrmse"]
    curves = "document.getElementById('curves').data"
    assert page.run(f"{curves}.map(each => each.name)") == [
        "diffusion (c32)",
        "its spread",
        "solver (c32)",
    ]
    assert page.run(f"[...{curves}[0].x]") == [0, 3, 6, 9, 12]
    np.testing.assert_allclose(page.run(f"[...{curves}[0].y]"), expected, rtol=1e-5)


def test_names_are_text_not_html(page):
    assert page.run("document.querySelector('h1').textContent") == "LILAS, study a<b>"
    assert "<script>study</script>" in page.run("document.querySelector('pre').textContent")
    cells = page.run("[...document.querySelectorAll('td')].map(each => each.textContent)")
    assert "Latents <b>suffice</b>. Supported if so." in cells
    assert "<i>a</i>" in cells
    options = page.run("[...document.getElementById('choose-field').options].map(o => o.text)")
    assert options == FIELDS


def test_the_first_screen_has_the_answer_the_table_and_the_viewer(page):
    for selector in (".answer", ".best summary", ".overview table", "#panels", "#curves"):
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        assert 0 <= page.run(f"{box}.top") < page.run(f"{box}.bottom") <= 900, selector


def test_the_best_probabilistic_emulator_is_named_and_its_scores_are_folded_below(page):
    box = "document.querySelector('.best')"
    assert page.run(f"{box}.querySelector('summary').textContent") == (
        "By CRPS and by energy score, the best probabilistic emulator is diffusion (c32), the only "
        "one, at every horizon (better than the best deterministic, solver (c32))."
    )
    assert page.run(f"[...{box}.querySelectorAll('li')].map(each => each.textContent)") == [
        f"Lead times 1-9, {score}: diffusion (c32) 0.200 [0.160, 0.240]; better than solver (c32) "
        "0.300 (intervals apart)"
        for score in ("CRPS", "energy score")
    ]
    assert not page.run(f"{box}.open")


def test_the_table_has_the_best_in_bold_and_the_bound_last(page):
    rows = page.run(
        """[...document.querySelectorAll('.overview tr')].slice(1).map(row => [
            row.cells[0].firstChild.textContent, row.cells[1].textContent,
            row.cells[1].title, !!row.cells[1].querySelector('b')])"""
    )
    cell = "lilas trace rayleigh_benard/c32-s0/diffusion-s0/ab16/vrmse/1-9"
    assert rows[0] == ["diffusion (c32)", "0.200[0.160, 0.240]", cell, True]
    assert [row[0] for row in rows[1:]] == [
        "solver (c32)",
        "persistence",
        "climatology",
        "reconstruction (c32)",
    ]
    assert not any(row[3] for row in rows[1:])


def test_a_report_without_rollouts_has_the_rest(inputs):
    text = rendered(inputs | {"frames": []})
    assert "Nothing was rolled out" in text
    assert "plotly" not in text
    assert "0.200" in text
    assert len(text) < 100_000


def test_tables_and_figures_are_in_reading_order(inputs):
    text = rendered(inputs | {"frames": []})
    found = [
        text.index(part)
        for part in (
            'alt="training.png"',
            'alt="other.png"',
            'alt="rollout_rayleigh_benard_0_buoyancy.png"',
            'alt="video_rayleigh_benard_0.gif"',
            "<summary>table9",
            "<summary>Ten &lt;i&gt;x&lt;/i&gt;</summary>",
            "<summary>All metrics by horizon",
        )
    ]
    assert found == sorted(found)


def test_figures_beyond_the_budget_are_named_instead(inputs, monkeypatch):
    monkeypatch.setattr(images, "IMAGE_BUDGET", 1000)
    text = rendered(inputs | {"frames": []})
    assert 'alt="training.png"' in text
    assert "left out to keep this page small: video_rayleigh_benard_0.gif." in text


def test_the_budgets_and_plotly_stay_under_25_megabytes():
    together = report.VIEWER_BUDGET + images.IMAGE_BUDGET + len(get_plotlyjs().encode())
    assert together < 24_500_000


def test_data_are_counted_where_statistics_and_evaluation_say(tmp_path):
    def file(size: int) -> dict:
        return {"path": "somewhere.hdf5", "bytes": size, "modified": 0}

    rows = pd.DataFrame(
        {
            "trajectory": [0],
            "field": ["state"],
            "lead_time": [1],
            "metric": ["vrmse"],
            "value": [1.0],
        }
    )
    names = {name: "" for name in ("autoencoder", "sampler")} | {
        "compression": 1.0,
        "emulator": "persistence",
        "method": "persistence",
        "context": 1,
        "start": 0,
        "direction": "forward",
        "members": 1,
        "relative_to": "truth",
    }
    made = {"stage": "known", "version": 1, "config": {}, "code": "0", "versions": {}}
    made["implementations"] = []
    for dataset in ("official", "trained"):
        path = tmp_path / dataset / "baselines.parquet"
        path.parent.mkdir()
        inputs = {"statistics": {"path": "s", "sha256": "0"}, "test": [file(1_500_000)]}
        record = made | {"inputs": inputs}
        write_metrics(path, [rows], names | {"dataset": dataset}, record)
    record = made | {"inputs": {"train": [file(2_000_000), file(3_000_000)]}}
    (tmp_path / "trained" / "statistics.json").write_text(json.dumps({"provenance": record}))
    assert report.data_sizes(tmp_path).to_numpy().tolist() == [
        ["official", "test", 1, 1.5],
        ["trained", "train", 2, 5.0],
        ["trained", "test", 1, 1.5],
    ]


def test_a_damaged_table_is_an_error(inputs, tmp_path):
    (tmp_path / "horizons.csv").write_text("dataset,value\na,1\n")
    with pytest.raises(LilasError, match="expected the columns dataset, autoencoder"):
        rendered(inputs | {"tables": tmp_path})


# --- What fits --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_sums_undo_what_is_packed(codes):
    found = np.frombuffer(gzip.decompress(base64.b64decode(pack(codes))), np.uint8)
    undone = found.reshape(codes.shape).cumsum(1, dtype=np.uint8).cumsum(0, dtype=np.uint8)
    np.testing.assert_array_equal(undone, codes)


def test_any_budget_is_kept_by_leaving_out_the_least(inputs):
    study = looks(make_cells())
    whole = embed(inputs["frames"], 10**9, study)
    assert whole.left_out == []
    # Six panels and three, of which the truth is shared, by field and trajectory.
    assert len(whole.blobs) == (6 + 3 - 1) * CHANNELS * 2
    size = sum(map(len, whole.blobs))
    assert embed(inputs["frames"], size, study) == whole
    less = embed(inputs["frames"], size - 1, study)
    assert sum(map(len, less.blobs)) < size
    assert less.left_out == ["rayleigh_benard: 1 of 2 trajectories"]
    assert embed(inputs["frames"], 100, study) is None


def test_thinned_frames_keep_first_and_last_lead_time_and_true_coordinates(tmp_path, monkeypatch):
    monkeypatch.setattr("lilas.report.viewer.PLANS", ((3, 1, 4),))
    found = embed([make_frames(tmp_path, RUNS[0])], 10**9, looks(make_cells()))
    (run,) = found.runs
    assert run["lead_times"] == [0, 6, 12]
    assert run["all_lead_times"] == [0, 3, 6, 9, 12]
    np.testing.assert_allclose(run["x"], [np.linspace(0, 4, X)[::3]])
    assert len(run["y"][0]) == 4
    assert found.left_out == [
        "rayleigh_benard: 3 of 5 lead times, 1 of 2 trajectories, 4 of 12 points along x, "
        "4 of 7 points along y"
    ]


def test_plans_only_ever_leave_out_more():
    for before, after in itertools.pairwise(PLANS):
        assert all(a >= b for a, b in zip(before, after, strict=True))
        assert before != after


def test_frames_that_are_not_finite_are_an_error(tmp_path):
    manifest = make_frames(tmp_path, RUNS[0])
    store = xr.open_zarr(manifest.with_name("frames.zarr")).load()
    store["mean"][1, 2, 0, 3, 4] = math.nan
    write(store, manifest, stores.store_record(store))
    with pytest.raises(LilasError, match="finite values of mean"):
        embed([manifest], 10**9, looks(make_cells()))


# --- The answer -------------------------------------------------------------------------------


def answered(cells: pd.DataFrame, differences: pd.DataFrame):
    names = looks(cells[KEYS])
    cells["run"] = [
        names[run].label
        for run in cells[["autoencoder", "emulator", "sampler"]].itertuples(index=False, name=None)
    ]
    return answer(cells, differences)


def test_an_answer_says_what_it_rests_on():
    found = answered(make_cells(), make_differences())
    assert found.answer == "Yes."
    assert found.sentence == (
        "Latent diffusion has a lower error than persistence and climatology, by more than chance "
        "at every horizon. It is better than the best neural solver at every horizon. Its ensemble "
        "is overconfident (spread/skill below 1) at every horizon."
    )
    assert found.horizons == [
        "Lead times 1-9: diffusion (c32) has VRMSE 0.200 [0.160, 0.240]; better than persistence "
        "0.500 (intervals apart); better than climatology 1.000 (intervals apart); better than "
        "solver (c32) 0.300 (p = 0.004); spread/skill 0.500 [0.460, 0.540]"
    ]


@pytest.mark.parametrize(
    ("persistence", "p", "word"),
    [
        (0.5, 0.004, "Yes."),
        (0.5, 0.06, "Not clear."),
        # The paired test counts, not the intervals, which overlap.
        (0.21, 0.04, "Yes."),
        (0.21, math.nan, "Not clear."),
        (0.15, 0.004, "No."),
        (0.15, 0.5, "No."),
    ],
)
def test_the_answer_follows_the_test_against_the_baselines(persistence, p, word):
    differences = make_differences(p, "persistence")
    assert answered(make_cells(persistence=persistence), differences).answer == word


def test_the_answer_can_differ_by_horizon():
    cells = make_cells(("1-9", "10-19", "20-40"))
    late = (cells["horizon"] == "10-19") & (cells["metric"] == "vrmse")
    cells.loc[late & (cells["emulator"] == "diffusion-s0"), ["value", "low", "high"]] = 2, 1.9, 2.1
    found = answered(cells, make_differences())
    assert found.answer == "In part."
    assert "by more than chance at lead times 1-9 and 20-40, but not at lead times 10-19" in (
        found.sentence
    )
    assert "worse than the best neural solver at lead times 10-19" in found.sentence


def test_diffusion_in_pixel_space_is_no_latent_diffusion():
    cells = make_cells()
    pixels = cells["emulator"] == "diffusion-s0"
    cells.loc[pixels, ["autoencoder", "compression"]] = "pixel-s0", 1.0
    assert answered(cells, make_differences()).answer == "Not tested."


def test_a_single_trajectory_is_never_clear():
    cells = make_cells().assign(low=math.nan, high=math.nan, trajectories=1)
    found = answered(cells, make_differences(math.nan))
    assert found.answer == "Not clear."
    assert "one trajectory, no test" in found.horizons[0]
