"""The paper's three systems together: a study of all of them, simulated, from data to its report.

It needs the optional simulators, and minutes: `make test-paper`.
"""

import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from conftest import ROOT, Pipeline
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.files import read_json
from lilas.study.read import read_study
from paper_page import files, rows

pytest.importorskip("astronomix", reason="needs make install EXTRAS=simulate")
STUDY = ROOT / "tests" / "data" / "three_systems.yaml"
EULER, CONVECTION, COOLING = (
    "euler_multi_quadrants",
    "rayleigh_benard",
    "turbulence_gravity_cooling",
)
ABOUT_ONE = {
    "table11_sliced_emd_density": EULER,
    "table12_wasserstein_vertical_velocity": CONVECTION,
    "table13_wasserstein_density": COOLING,
}
GAS = {EULER: ("energy", "density", "pressure"), COOLING: ("density", "pressure", "temperature")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    pipeline = Pipeline(tmp_path_factory.mktemp("paper") / "pipeline").lay_out()
    pipeline.study.write_bytes(STUDY.read_bytes())
    pipeline.run()
    return pipeline


def test_every_row_of_the_papers_tables_is_there(finished):
    """Three rates where the paper has three: two here; pixel space of two systems; contexts."""
    table = pd.read_csv(finished.results / "tables" / "table6_vrmse.csv", keep_default_na=False)
    rates = {EULER: {"10", "20"}, CONVECTION: {"8", "16"}, COOLING: {"48", "96"}}
    for dataset, of in rates.items():
        rows = table[table["dataset"] == dataset]
        found = {method: set(part["compression"]) for method, part in rows.groupby("method")}
        assert found["reconstruction"] >= of
        assert found["diffusion"] == (of | {"1"} if dataset == EULER else of)
        assert found["solver"] == (of if dataset == COOLING else of | {"1"})
    table = pd.read_csv(finished.results / "tables" / "table7_vrmse_by_context.csv")
    counts = table[table["method"] == "diffusion"].groupby("dataset")["context"].nunique()
    assert counts.to_dict() == dict.fromkeys(rates, 3)
    for name, dataset in ABOUT_ONE.items():
        table = pd.read_csv(finished.results / "tables" / f"{name}.csv")
        assert set(table["dataset"]) == {dataset}


def test_table_1_has_every_way_to_a_state(finished):
    """Pixel and latent, diffusion and solver, and the simulator, with their decoding apart."""
    table = pd.read_csv(finished.results / "tables" / "table1_inference_time.csv")
    for dataset, part in table.groupby("dataset"):
        seconds = part[part["quantity"] == "seconds per state"]
        assert (seconds["low"] > 0).all()
        assert (seconds["low"] <= seconds["value"]).all()
        assert (seconds["value"] <= seconds["high"]).all()
        runs = seconds.groupby("method")["sampler"].nunique().to_dict()
        assert runs == {"diffusion": 4, "solver": 3, "simulator": 1}
        pixel = set(seconds.loc[seconds["compression"] == "1", "method"])
        both = {"solver", "diffusion"}
        assert pixel == {EULER: both, CONVECTION: {"solver"}, COOLING: set()}[dataset]
        decoded = part[part["quantity"] == "decoding"]
        assert set(decoded["method"]) == both
        assert not (decoded["compression"] == "1").any()


def test_baselines_begin_where_emulators_do(finished):
    """Euler's contexts of 1, 2 and 3 states end at steps 0, 4 and 8; backward it is step 32."""
    means = pd.read_csv(finished.results / "tables" / "horizons.csv", keep_default_na=False)
    rows = means[(means["dataset"] == EULER) & (means["method"] == "persistence")]
    begins = {("forward", 0), ("forward", 4), ("forward", 8), ("backward", 32)}
    assert set(zip(rows["direction"], rows["start"], strict=True)) == begins
    emulated = means[(means["dataset"] == EULER) & (means["method"] == "diffusion")]
    assert set(zip(emulated["direction"], emulated["start"], strict=True)) == begins
    pairs = pd.read_csv(finished.results / "tables" / "differences.csv", keep_default_na=False)
    pairs = pairs[(pairs["dataset"] == EULER) & pairs["second"].str.startswith("persistence")]
    steps = dict(zip(pairs["first"].str.rpartition("/")[2], pairs["second"], strict=True))
    assert steps["ab4_c1"] == "persistence/from_0"
    assert steps["direct_c3"] == "persistence/from_8"
    assert steps["ab4_back"] == "persistence/backward_from_32"


@pytest.mark.parametrize("dataset", GAS)
def test_what_is_decoded_is_positive(finished, dataset):
    stores = sorted(finished.results.glob(f"{dataset}/f4*/*/*/frames.zarr"))
    assert stores
    for store in stores:
        frames = xr.open_zarr(store)
        gas = frames["member"].sel(channel=list(GAS[dataset]))
        assert float(gas.min()) > 0


def test_what_the_page_of_the_paper_names_is_there(finished):
    """Rules, files, sections, claims; Table 4 and its claim are those of tests/test_ablation.py."""
    written = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    pages = sorted(finished.results.glob("report*.html"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    claims = read_json(finished.results / "claims.json", ("claims",))["claims"]
    assert len(rows()) == 13 + 4 + 6
    for name, row in rows().items():
        if name[0].isdigit():
            number = int(name.split()[0])
            assert claims[number - 1]["number"] == number
            assert claims[number - 1]["evidence"] or number == 4
        elif name != "Table 4":
            for pattern in files(row):
                assert list(finished.results.glob(pattern)), pattern
        if name.startswith("Table"):
            for rule in re.findall(r"`(\w+)`", row[1]):
                assert f"\nrule {rule}:\n" in written
            assert f">{row[3].split(',')[0]}</h2>" in text
            if files(row) and name != "Table 4":
                assert f"as in the paper&#39;s {name}<" in text


def test_there_is_a_page_of_each_and_one_of_all(finished):
    text = (finished.results / "report.html").read_text(encoding="utf-8")
    for dataset in (EULER, CONVECTION, COOLING):
        page = f"report_{dataset}.html"
        assert (finished.results / page).is_file()
        assert f'href="{page}"' in text


def test_latents_are_analysed_in_two_and_three_dimensions(finished):
    table = pd.read_csv(finished.results / "tables" / "table15_latent_distance.csv")
    rows = table[table["dataset"] == EULER]
    # The first lead time of each horizon with a stride of 4, and the last.
    assert sorted(rows["lead_time"].unique()) == [4, 12, 32]
    square = rows[rows["lead_time"] == 4].pivot(index="a", columns="b", values="value").to_numpy()
    assert square.shape == (5, 5)
    np.testing.assert_array_equal(square, square.T)
    assert (np.diag(square) == 0).all()
    assert (square[~np.eye(5, dtype=bool)] > 0).all()
    assert set(table["dataset"]) == {EULER, COOLING}
    table = pd.read_csv(finished.results / "tables" / "tables16_17_bures_wasserstein.csv")
    found = table.groupby("dataset")["parameter"].unique()
    assert found.map(list).to_dict() == {CONVECTION: ["Rayleigh"], COOLING: ["Z"]}
    for name in (f"latents_{CONVECTION}", f"latents_{COOLING}", f"counterfactual_{EULER}"):
        assert (finished.results / "figures" / f"{name}.png").is_file()
    page = (finished.results / f"report_{COOLING}.html").read_text(encoding="utf-8")
    assert "Parameters predicted from central tokens" in page
    assert f"counterfactual_{COOLING}.png" in page


@pytest.mark.parametrize("dataset", GAS)
def test_labels_and_states_are_the_papers_formulas(finished, dataset):
    """Parameters as trained, then codes of both ends of each axis: wall 0, open 1, periodic 2."""
    entry = read_study(STUDY).datasets[dataset]
    folder = finished.folder / "results" / "data" / entry.source.folder / dataset / "data"
    files = open_files(sorted((folder / "train").glob("*.hdf5")), entry.states.fields)
    statistics = Preprocessing.read(finished.results / dataset / "statistics.json")
    pixels = Pixels(files, statistics, entry.label)
    for row, (file, _) in enumerate(pixels.places):
        name = file.path.name
        if dataset == EULER:
            expected = [1.4, *[2.0 if name.startswith("periodic") else 1.0] * 4]
        else:
            metallicity = 1.0 if "Z_1" in name else 0.0
            values = {"rho0": np.log(1.0), "T0": 0.1, "Z": metallicity}
            expected = [*(values[key] for key in file.parameters), *[1.0] * 6]
        np.testing.assert_allclose(pixels.labels[row], expected, rtol=1e-6)
        states, raw = pixels.read(row), pixels.truth(row).astype(np.float64)
        for i, channel in enumerate(file.channels):
            mean, std = statistics.mean[i], statistics.std[i]
            x = np.log(raw[:, i]) if channel.name in GAS[dataset] else raw[:, i]
            np.testing.assert_allclose(states[:, i], (x - mean) / std, atol=2e-5)


def test_guidance_has_its_table_in_two_and_three_dimensions(finished):
    """Errors with and without, and misfits, of each of them; elsewhere they are not."""
    table = pd.read_csv(finished.results / "tables" / "guidance.csv")
    runs = {EULER: "pixel_diffusion (pixel, ab4_points)", COOLING: "diffusion (f4c8, ab4_border)"}
    for dataset, run in runs.items():
        rows = table[(table["dataset"] == dataset) & (table["run"] == run)]
        assert set(rows["quantity"]) == {
            *("VRMSE, guided", "VRMSE, unguided", "difference"),
            *("misfit", "misfit of the auto-encoded truth"),
        }
        assert np.isfinite(rows["value"]).all()
    # In pixel space nothing but noise is left of the truth.
    floor = table[(table["dataset"] == EULER) & table["quantity"].str.contains("truth")]
    np.testing.assert_allclose(floor["value"], 1, atol=0.2)
    horizons = pd.read_csv(finished.results / "tables" / "horizons.csv", keep_default_na=False)
    assert not set(horizons["sampler"]) & {"ab4_points", "ab4_border"}
    store = next(finished.results.glob(f"{COOLING}/f4c8-s0/diffusion-s0/ab4_border/frames.zarr"))
    # The middle plane of a cube, of which a border of two points is seen.
    seen = np.isfinite(xr.open_zarr(store)["observation"].values[0, 1:])
    assert seen[..., 2:-2, 2:-2].sum() == 0
    assert seen.mean() == 1 - (12 / 16) ** 2
