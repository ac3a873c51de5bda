"""Latent analysis: distances of Gaussians, predicted parameters, counterfactuals, their tables."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ot
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lilas.errors import LilasError
from lilas.evaluation.gaussians import bures_wasserstein, distances, moments, rank_correlation, root
from lilas.evaluation.latent_parameters import analyse
from lilas.evaluation.tokens import Tokens, central_tokens, in_own_unit
from lilas.files import read_json
from lilas.inspect.catalogue import ARTIFACTS
from lilas.inspect.kinds import inspect
from lilas.inspect.trace import trace
from lilas.models import counterfactual
from lilas.models.build import load_emulator
from lilas.models.latents import open_latents
from lilas.records.analyses import read_analysis, write_analysis
from lilas.records.provenance import provenance
from lilas.report.latent_figures import latent_figures
from lilas.report.latent_tables import latent_tables
from lilas.report.typeset import csv, markdown
from lilas.study import paths
from lilas.study.latent_analysis import counterfactual_task, parameters_task
from lilas.study.leads import rollout_steps
from lilas.study.read import make_study, read_study
from lilas.study.samplers import DirectSettings
from lilas.study.yaml import read_yaml

SETTINGS = SimpleNamespace(window=3, context_noise=0)

MINIATURE = Path(__file__).parent / "data" / "miniature.yaml"

# --- Bures-Wasserstein --------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 6))
def test_commuting_gaussians_have_the_closed_form(seed, channels):
    """With one basis: |a - b|² + Σ (√λ - √μ)² over eigenvalues, zeros among them."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    a, b = rng.normal(size=(2, channels))
    one, other = rng.exponential(size=(2, channels)) * (rng.random((2, channels)) > 0.3)
    roots = [root((basis * values) @ basis.T) for values in (one, other)]
    expected = np.sqrt(np.sum((a - b) ** 2) + np.sum((np.sqrt(one) - np.sqrt(other)) ** 2))
    found = bures_wasserstein(a, roots[0], b, roots[1])
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_gaussians_that_do_not_commute_have_pots_distance():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) for _ in range(2))
    means, covariances = zip(*((z.mean(0), np.cov(z.T)) for z in (x, y)), strict=True)
    expected = ot.gaussian.bures_wasserstein_distance(*means, *covariances)
    rooted = [root(covariance) for covariance in covariances]
    found = bures_wasserstein(means[0], rooted[0], means[1], rooted[1])
    assert found == pytest.approx(float(expected), rel=1e-10)


def test_differences_that_are_equal_but_for_rounding_are_ties():
    """1.3 - 1.2 and 1.4 - 1.3 are not the same number; ranks 1.5, 3, 1.5 and 1, 3, 2: √3 / 2."""
    apart = np.array([1.3 - 1.2, 1.4 - 1.2, 1.4 - 1.3])
    assert apart[0] != apart[2]
    found = rank_correlation(apart, np.array([1.0, 3.0, 2.0]))
    assert found == pytest.approx(np.sqrt(3) / 2)
    assert rank_correlation(apart, np.ones(3)) == 0


def grouped(rng, mean, std, trajectories=40, steps=25):
    tokens = mean + std * rng.normal(size=(trajectories * steps, 3))
    which = np.repeat(np.arange(trajectories), steps)
    return moments(tokens.astype(np.float32), which, np.full(3, 1e4) + mean)


def test_sampled_tokens_are_as_far_apart_as_what_they_are_drawn_from():
    """N(0, 1) and N(2, 1) along each of 3 channels: √12; N(0, 1) and N(0, 9): √12 too."""
    rng = np.random.default_rng(0)
    groups = [grouped(rng, 1e4, 1), grouped(rng, 1e4, 1), grouped(rng, 1e4, 3)]
    groups[1] = grouped(np.random.default_rng(1), 1e4, 1)
    moved = moments(
        (1e4 + 2 + rng.normal(size=(1000, 3))).astype(np.float32),
        np.repeat(np.arange(40), 25),
        np.full(3, 2e4),
    )
    found = distances([*groups, moved], seed=0)
    same, wider, shifted = found.value[0], found.value[1], found.value[2]
    assert same < 0.15
    assert wider == pytest.approx(np.sqrt(12), rel=0.03)
    assert shifted == pytest.approx(np.sqrt(12), rel=0.03)
    low, high = found.interval
    true = [0, *[np.sqrt(12)] * 2]
    assert (low[:3] <= true).all()
    assert (high[:3] >= true).all()
    assert (high - low)[:3].max() < 0.5
    # What chance makes of one group is small, and larger than 0.
    assert ((found.halves > 0) & (found.halves < 0.5)).all()


def test_intervals_hold_distances_of_tokens_that_are_alike_in_a_trajectory():
    """Of 16 trajectories a value, where chance alone makes distances of about 1.5 in 8 channels."""
    rng = np.random.default_rng(0)
    places = np.array([0, 0, 0.5, 1, 2, 4])
    which = np.repeat(np.arange(16), 50)
    groups = []
    for place in places:
        tokens = 0.9 * rng.normal(size=(16, 8))[which] + 0.45 * rng.normal(size=(800, 8))
        tokens[:, 0] += place
        groups.append(moments(tokens, which, np.zeros(8)))
    found = distances(groups, seed=0)
    i, j = np.triu_indices(len(places), 1)
    true = np.abs(places[i] - places[j])
    low, high = found.interval
    assert ((low <= true) & (true <= high)).mean() > 0.9
    # The distances themselves are too large.
    assert found.value[0] > 1
    assert (found.value > true).all()
    assert (low <= high).all()


def test_tokens_fewer_than_channels_have_a_distance():
    """Covariances are singular, where POT's square root is of negative numbers."""
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(4, 8)).astype(np.float32) for _ in range(2)]
    groups = [moments(part, np.arange(4) // 2, np.zeros(8)) for part in parts]
    found = distances(groups, seed=0)
    exact = [part.astype(np.float64) for part in parts]
    nuclear = np.linalg.svd(
        (exact[0] - exact[0].mean(0)) @ (exact[1] - exact[1].mean(0)).T, compute_uv=False
    ).sum()
    expected = np.sum((exact[0].mean(0) - exact[1].mean(0)) ** 2)
    expected += sum(part.var(0).sum() for part in exact) - 2 * nuclear / 4
    assert found.value[0] == pytest.approx(np.sqrt(expected), rel=1e-9)
    assert np.isfinite(found.drawn).all()


# --- Predicted parameters -----------------------------------------------------------------------


def tokens(seed, trajectories, told, *, steps=20, copies=1):
    """Tokens of trajectories whose parameter p is 1, 2 or 4 and q as many decades.

    The first channel is log2 p where they tell it, beside noise.
    """
    rng = np.random.default_rng(seed)
    each = np.tile(np.arange(trajectories), copies)
    which = np.repeat(each, steps)
    p = 2.0 ** (which % 3)
    values = rng.normal(size=(len(which), 4)).astype(np.float32)
    if told:
        values[:, 0] = np.log2(p) + 0.01 * values[:, 0]
    return Tokens(
        values=values,
        trajectory=which,
        step=np.tile(np.arange(steps), len(each)),
        first_copy=np.arange(len(which)) < trajectories * steps,
        parameters={"p": p, "q": 10 ** (which % 3).astype(float)},
    )


@cache
def analysed(told):
    return analysed_again(told)


def analysed_again(told):
    splits = {
        "train": tokens(0, 12, told, copies=2),
        "valid": tokens(1, 6, told),
        "test": tokens(2, 6, told),
    }
    return analyse(splits, {"p": False, "q": False}, seed=0)


def errors(found):
    rows = pd.DataFrame(found["predictions"]).groupby("parameter")
    return rows[["squared_error", "squared_error_of_mean"]].mean()


def test_a_parameter_that_tokens_hold_is_predicted():
    """q spans decades and is in log10, where the mean over 0, 1, 2 is off by 2/3 in square."""
    found = analysed(told=True)
    assert found["scales"] == [
        {"parameter": "p", "scale": "none"},
        {"parameter": "q", "scale": "log10"},
    ]
    # Of the 6 test trajectories, both parameters.
    assert len(found["predictions"]) == 12
    rows = errors(found)
    assert rows.loc["q", "squared_error_of_mean"] == pytest.approx(2 / 3)
    assert rows.loc["q", "squared_error"] < 0.005
    assert rows.loc["p", "squared_error"] < 0.02 * rows.loc["p", "squared_error_of_mean"]


def test_of_noise_nothing_is_predicted_that_the_mean_does_not():
    rows = errors(analysed(told=False))
    ratio = rows["squared_error"] / rows["squared_error_of_mean"]
    assert ratio.to_numpy() == pytest.approx([1, 1], abs=0.05)


def test_distances_are_of_the_trajectories_as_they_are_and_keep_their_order():
    """The copies, which tell nothing, are left out; 0, 1, 2 along one channel: 1, 2 and 1 apart."""
    train = tokens(0, 12, True, copies=2)
    train.values[~train.first_copy] = 0
    splits = {"train": train, "valid": tokens(1, 6, True), "test": tokens(2, 6, True)}
    found = analyse(splits, {"p": True, "q": True}, seed=0)
    rows = pd.DataFrame(found["distances"])
    of_p = rows[rows["parameter"] == "p"]
    assert list(zip(of_p["a"], of_p["b"], strict=True)) == [(1, 2), (1, 4), (2, 4)]
    assert of_p["distance"].to_numpy() == pytest.approx([1, 2, 1], abs=0.25)
    assert (of_p["low"] < of_p["high"]).all()
    correlation = pd.DataFrame(found["correlations"]).set_index("parameter")
    assert correlation.loc["p", "correlation"] > 0.8
    assert [row["trajectories"] for row in found["halves"] if row["parameter"] == "p"] == [4] * 3


def test_an_analysis_is_the_same_each_time():
    """The picture too, which is drawn at random."""
    assert analysed_again(told=False) == analysed(told=False)


def test_many_values_are_compared_by_groups_of_neighbours():
    """40 values in 16 groups of 3 or 2, each called by the one in its middle."""
    splits = {split: tokens(0, 40, False, steps=3) for split in ("train", "valid", "test")}
    for part in splits.values():
        part.parameters["p"][:] = part.trajectory
    found = pd.DataFrame(analyse(splits, {"p": False, "q": False}, seed=0)["halves"])
    of_p = found[found["parameter"] == "p"]
    assert of_p["trajectories"].tolist() == [3] * 8 + [2] * 8
    assert of_p["value"].tolist()[:2] == [1, 4]
    assert of_p["value"].tolist()[-2:] == [36.5, 38.5]


def test_a_parameter_of_one_value_is_refused_where_only_the_data_tell():
    splits = {split: tokens(0, 3, True) for split in ("train", "valid", "test")}
    splits["train"].parameters["p"][:] = 2
    with pytest.raises(LilasError, match="p is 2 in every training trajectory"):
        analyse(splits, {"p": False, "q": False}, seed=0)


class Source:
    """Latents in memory: token (row, step, channel) at the centre of an odd and an even axis."""

    def __init__(self, copies=2, trajectories=3, space=(3, 4)):
        self.features = ["gamma", "mass", "boundary_x_first"]
        self.copies, self.trajectories = copies, trajectories
        self.rows = copies * trajectories
        self.steps = np.full(self.rows, 6)
        self.shape = (2, *space)
        mass = np.tile([1e5, 3e5, 0.12345], copies)
        gamma = np.tile([1.3, 1.4, 1.5], copies)
        self.labels = np.stack([gamma, np.log(mass), np.zeros(self.rows)], 1).astype(np.float32)

    def read(self, row, steps=slice(None)):
        rng = np.random.default_rng(row)
        states = rng.normal(size=(6, *self.shape)).astype(np.float32)
        if len(self.shape) == 3:
            states[:, :, 1, 2] = 100 * row + np.arange(6)[:, None] + [0.0, 0.5]
        return states[steps]

    def origin(self, row):
        return "file.hdf5", row


@pytest.mark.parametrize("copies", [1, 2])
def test_central_tokens_are_those_of_the_middle(copies):
    found = central_tokens(Source(), ["mass", "gamma"], {"mass": "log"}, copies=copies)
    assert len(found.values) == copies * 3 * 6
    np.testing.assert_allclose(found.values[6 + 4], [104.0, 104.5])
    assert found.trajectory[-1] == 2
    assert found.first_copy.sum() == 18
    assert found.parameters["mass"][[0, 6, 12]].tolist() == [1e5, 3e5, 0.12345]
    assert found.parameters["gamma"][[0, 6, 12]].tolist() == [1.3, 1.4, 1.5]


def test_central_tokens_of_three_dimensions():
    source = Source(space=(3, 4, 5))
    found = central_tokens(source, ["gamma"], {}, copies=1)
    np.testing.assert_array_equal(found.values[:6], source.read(0)[:, :, 1, 2, 2])


def test_values_survive_float32_and_its_logarithm():
    values = [1e6, 1e10, 0.1, 5.0, 3e5]
    raw = np.array(values, np.float32)
    assert in_own_unit(raw, "none").tolist() == values
    assert in_own_unit(np.log(raw.astype(float)).astype(np.float32), "log").tolist() == values


# --- Counterfactuals ----------------------------------------------------------------------------


class Drift(nn.Module):
    """A linear emulator: every state is the one before plus gamma, and noise if it has any."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.noise = noise

    def stepper(self, label, sampler, draws):
        def step(window):
            found = window.known.clone()
            count = int(window.mask[0].sum())
            noise = self.noise * draws.normal(found)
            for i in range(count, found.shape[2]):
                drift = label[:, 0].view(-1, 1, 1, 1)
                found[:, :, i] = found[:, :, i - 1] + drift + noise[:, :, i]
            return found

        return step


class Sampler:
    context, overlap, crop, seed, direction = 1, 1, None, 0, "forward"
    temperature, context_noise = 1.0, 0.0
    algorithm, guidance = DirectSettings(algorithm="direct"), None

    def __init__(self, members, batch_size=64):
        self.members, self.batch_size = members, batch_size


def compared(emulator, members=1, batch_size=64, values=(1.5, 1.3, 1.2), **options):
    return counterfactual.compare(
        Source(),
        emulator,
        **{
            "rows": [1],
            "column": 0,
            "values": values,
            "transform": "none",
            "stride": 2,
            "steps": range(0, 5),
            "settings": SETTINGS,
            "sampler": Sampler(members, batch_size),
            "device": torch.device("cpu"),
        }
        | options,
    )


@pytest.mark.parametrize("members", [1, 3])
def test_a_linear_emulator_has_the_closed_form(members):
    """After n states (a - b) n in each of 24 numbers; the members' noise is one and cancels."""
    found = compared(Drift(noise=0.5 if members > 1 else 0.0), members)
    rows = pd.DataFrame(found["distances"])
    assert sorted(set(rows["lead_time"])) == [2, 4, 6, 8]
    assert list(zip(rows["a"], rows["b"], strict=True))[:3] == [(1.2, 1.3), (1.2, 1.5), (1.3, 1.5)]
    states = rows["lead_time"] / 2
    expected = (rows["b"] - rows["a"]) * states * np.sqrt(24)
    np.testing.assert_allclose(rows["distance"], expected, rtol=1e-5)
    assert len(found["members"]) == (4 if members > 1 else 0)


def test_members_that_differ_in_noise_alone_are_apart_by_it():
    """Of n states of noise 0.5 in 24 numbers, two members: 0.5 √(2 n · 24) in the mean square."""
    rows = pd.DataFrame(compared(Drift(noise=0.5), 64)["members"]).set_index("lead_time")
    expected = 0.5 * np.sqrt(2 * np.arange(1, 5) * 24)
    np.testing.assert_allclose(rows["distance"], expected, rtol=0.05)


def test_batches_do_not_matter_and_noise_is_the_members():
    emulator, source = Drift(noise=1.0), Source()
    labels = counterfactual.changed_labels(source.labels[1], 0, [1.2, 1.2, 1.4], "none")
    options = {"row": 1, "steps": range(0, 5), "settings": SETTINGS, "device": torch.device("cpu")}
    whole, pieces = (
        counterfactual.roll_out(source, emulator, labels, sampler=Sampler(4, batch), **options)
        for batch in (64, 5)
    )
    np.testing.assert_array_equal(whole, pieces)
    # Under equal values there is no difference at all.
    np.testing.assert_array_equal(whole[0], whole[1])
    between, _ = counterfactual.distances(whole)
    assert (between[0, 1] == 0).all()
    assert (between[0, 2] == between[2, 0]).all()
    assert between[0, 2, 1] == pytest.approx(0.2 * np.sqrt(24), rel=1e-5)


def test_labels_change_in_the_parameter_alone():
    label = np.float32([1.4, np.log(1e5), 2.0])
    found = counterfactual.changed_labels(label, 1, [1e4, 1e6], "log")
    expected = [[1.4, np.log(1e4), 2.0], [1.4, np.log(1e6), 2.0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# --- Files, tables and figures ------------------------------------------------------------------


RECORD = {"stage": "counterfactual"}
NAMES = ("latent_parameters.json", "diffusion-s0/ab4/counterfactual.json")


def written(folder, told=True, members=3, record=RECORD):
    (folder / "diffusion-s0" / "ab4").mkdir(parents=True, exist_ok=True)
    facts = {"dataset": "flow", "autoencoder": "c4-s0", "compression": 4.0}
    write_analysis(folder / NAMES[0], facts, analysed(told=told), record)
    found = compared(Drift(noise=0.5), members, rows=[0, 2], values=(1.2, 1.3, 1.6))
    facts |= {"emulator": "diffusion-s0", "sampler": "ab4", "members": members}
    facts |= {"parameter": "gamma", "scale": "none", "known": [1.3, 1.5]}
    write_analysis(folder / NAMES[1], facts, found, record)
    return [read_analysis(folder / name) for name in NAMES]


def test_tables_have_the_numbers_of_the_files_and_the_papers_beside(tmp_path):
    tables = latent_tables(written(tmp_path), {"flow": [2, 8]}, {"flow": "euler_multi_quadrants"})
    rows = csv(tables["table15_latent_distance"], "b").set_index(["lead_time", "a", "b"])
    assert len(rows) == 2 * 9
    assert rows.loc[("8", "1.2", "1.6"), "value"] == pytest.approx(1.6 * np.sqrt(24), rel=1e-5)
    assert rows.loc[("8", "1.6", "1.2"), "value"] == rows.loc[("8", "1.2", "1.6"), "value"]
    assert rows.loc[("2", "1.3", "1.3"), "value"] == 0
    names = rows["cell"][rows["cell"] != ""]
    assert names.is_unique
    assert "flow/c4-s0/diffusion-s0/ab4/latent_distance:gamma:1.2:1.6/8-8" in set(names)
    text = markdown("title", tables["table15_latent_distance"])
    assert "from 1.3 to 1.5; 1.2, 1.6 lie outside" in text
    assert "rank correlation 1.00" in text
    assert "with the same noise, mean over 3 members and 2 test trajectories. In brackets" in text
    # Each value of p has 4 trajectories to train on, and there are 6 to test on.
    assert "over trajectories, too narrow" in markdown("", tables["tables16_17_bures_wasserstein"])
    assert "over test trajectories." in markdown("", tables["latent_parameters"])
    # The paper has no lead times 2 and 8 of it.
    assert "paper: the number" not in text
    tables = latent_tables(written(tmp_path), {"flow": [4]}, {"flow": "euler_multi_quadrants"})
    assert set(tables) == {
        *("table15_latent_distance", "tables16_17_bures_wasserstein", "latent_parameters"),
    }


def test_the_papers_numbers_stand_beside_those_of_its_data(tmp_path):
    """Table 15's at lead times 1 and 20, Table 16's of Rayleigh numbers."""
    one = written(tmp_path)[1]
    rows = one.tables["distances"]
    rows["lead_time"] = rows["lead_time"].map({2: 1, 4: 2, 6: 3, 8: 20})
    published = {"flow": "euler_multi_quadrants"}
    tables = latent_tables([one], {"flow": [1, 20]}, published)["table15_latent_distance"]
    found = csv(tables, "b").set_index(["lead_time", "a", "b"])["paper"]
    assert found["1", "1.2", "1.3"] == 26.61
    assert found["20", "1.6", "1.3"] == 66.19
    other = written(tmp_path)[0]
    for name in ("distances", "halves", "scales", "correlations", "predictions"):
        table = other.tables[name]
        table["parameter"] = table["parameter"].replace({"q": "Rayleigh"})
    distances_ = other.tables["distances"]
    for key in ("a", "b"):
        distances_[key] = distances_[key] * np.where(distances_["parameter"] == "Rayleigh", 1e6, 1)
    tables = latent_tables([other], {}, {"flow": "rayleigh_benard"})
    found = csv(tables["tables16_17_bures_wasserstein"], "b")
    found = found[found["parameter"] == "Rayleigh"].set_index(["a", "b"])["paper"]
    assert found["1e6", "1e7"] == 1.045
    assert found["1e8", "1e7"] == 0.965


def test_errors_are_roots_of_means_over_trajectories(tmp_path):
    one = written(tmp_path)[0]
    rows = one.tables["predictions"]
    own = rows["parameter"] == "p"
    rows.loc[own, "squared_error"] = [1.0, 1, 1, 1, 1, 4]
    rows.loc[own, "squared_error_of_mean"] = 6.0
    table = latent_tables([one], {}, {})["latent_parameters"][0]
    error, mean, explained = table.rows[0].cells
    assert error.value == pytest.approx(np.sqrt(1.5))
    assert mean.value == pytest.approx(np.sqrt(6))
    assert (mean.low, mean.high) == pytest.approx((np.sqrt(6), np.sqrt(6)))
    assert explained.value == pytest.approx(0.75)
    assert 0.5 < explained.low < 0.75 < explained.high < 0.84


def test_figures_have_a_panel_per_parameter_and_run(tmp_path):
    found = dict(latent_figures(written(tmp_path)))
    assert set(found) == {"latents_flow", "counterfactual_flow"}
    titles = [ax.get_title() for ax in found["latents_flow"].axes]
    assert [title for title in titles if title] == ["c4-s0: p", "c4-s0: q"]
    lines = found["counterfactual_flow"].axes[0].get_lines()
    assert [line.get_label() for line in lines] == [
        *("1.2, 1.3", "1.3, 1.6", "1.2, 1.6", "members at one value"),
    ]


def test_pairs_are_coloured_by_how_far_they_are_apart_in_the_labels_scale(tmp_path):
    """10 and 30 are nearer than 1 and 10 for a logarithm, and further for a difference."""
    one = written(tmp_path)[1]
    one.facts["scale"] = "log10"
    for key in ("a", "b"):
        one.tables["distances"][key] = one.tables["distances"][key].map({1.2: 1, 1.3: 10, 1.6: 30})
    lines = dict(latent_figures([one]))["counterfactual_flow"].axes[0].get_lines()
    assert [line.get_label() for line in lines][:3] == ["10, 30", "1, 10", "1, 30"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"members": [', '"others": [', "scales, rows with"),
        ('"known"', '"seen"', "facts with"),
        ('"distance": ', '"length": ', "distances, rows with"),
        ('"autoencoder"', '"encoder"', "facts with"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, old, new, message):
    written(tmp_path)
    path = tmp_path / NAMES[1]
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LilasError, match=message):
        read_analysis(path)


@pytest.fixture
def results(tmp_path):
    """A folder of results with both files, tables of them, and what they were made from."""
    folder = tmp_path / "results" / "study"
    run = folder / "flow" / "c4-s0"
    run.mkdir(parents=True)
    (run / "weights.txt").write_text("weights")
    record = provenance("counterfactual", {}, {"autoencoder": run / "weights.txt"})
    analyses = written(run, record=record)
    (folder / "tables").mkdir()
    for name, tables in latent_tables(analyses, {"flow": [2, 8]}, {}).items():
        csv(tables, "column").to_csv(folder / "tables" / f"{name}.csv", index=False)
    return folder


@pytest.mark.parametrize("number", [0, 1])
def test_files_are_as_registered(results, number):
    """But for the numbers that some rows lack, every row has what the catalogue says, no more."""
    value = read_json(results / "flow" / "c4-s0" / NAMES[number])
    artifact = next(a for a in ARTIFACTS if a.paths[0].endswith(NAMES[number].split("/")[-1]))
    assert set(artifact.attributes) == {"facts", "provenance"}
    found = {
        f"{name}.{key}"
        for name, rows in value.items()
        if isinstance(rows, list)
        for row in rows
        for key in row
        if key != "parameter"
    }
    assert found == {variable.name for variable in artifact.variables}


@pytest.mark.parametrize(
    "cell",
    [
        "flow/c4-s0/diffusion-s0/ab4/latent_distance:gamma:1.6:1.2/8-8",
        "flow/c4-s0/bures_wasserstein:p:1:4",
        "flow/c4-s0/parameter_error:q",
        "flow/c4-s0/parameter_error_of_mean:q",
        "flow/c4-s0/parameter_explained:q",
    ],
)
def test_a_cell_is_traced_to_its_file_and_what_that_was_made_from(results, cell):
    found = trace(cell, results)
    assert found.problems == []
    text = "\n".join(found.lines)
    assert "as the table has it" in text
    assert "weights.txt" in text
    assert (NAMES[1] if "latent_distance" in cell else NAMES[0]) in text


def test_a_table_that_is_stale_is_told(results):
    path = results / "tables" / "latent_parameters.csv"
    table = pd.read_csv(path)
    table["value"] += 0.01
    table.to_csv(path, index=False)
    problems = trace("flow/c4-s0/parameter_error:p", results).problems
    assert "the table is stale" in problems[0]
    path = results / "flow" / "c4-s0" / NAMES[1]
    path.write_text(path.read_text().replace('"gamma"', '"mass"'))
    with pytest.raises(LilasError, match="The table is stale"):
        trace("flow/c4-s0/diffusion-s0/ab4/latent_distance:gamma:1.6:1.2/8-8", results)


def test_files_are_inspected_by_their_tables(results):
    run = results / "flow" / "c4-s0"
    found = inspect(run / NAMES[0])
    assert any("Parameters predicted from central tokens" in line for line in found.lines)
    found.draw()
    found = inspect(run / NAMES[1])
    assert any(line.startswith("  members") and line.endswith("3") for line in found.lines)
    assert any("the paper's Table 15" in line for line in found.lines)
    found.draw()


# --- In the pipeline ----------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ab4", "back"])
def test_under_its_own_label_a_counterfactual_is_the_rollout(miniature, sampler):
    """With the same noise, whichever way in time: of a trajectory of each Rayleigh number."""
    study = read_study(miniature.study)
    folder = miniature.results / "convection" / "c16-s0"
    source = open_latents(folder / "latents" / "test.json", folder / "weights.safetensors")
    shape, features = source.shape, source.labels.shape[1]
    device = torch.device("cpu")
    weights = folder / "diffusion-s0" / "weights.safetensors"
    emulator, settings = load_emulator(weights, shape, features, device)
    store = xr.open_zarr(folder / "diffusion-s0" / sampler / "rollouts.zarr")
    warmth = {"temperature": store.attrs["temperature"]}
    entry = study.samplers[sampler].model_copy(update=warmth)
    for row in (0, 3):
        made = counterfactual.roll_out(
            source,
            emulator,
            source.labels[[row]],
            row=row,
            steps=rollout_steps(0, entry.context, 1, 8, entry.direction),
            settings=settings,
            sampler=entry,
            device=device,
        )
        kept = store["latent"].sel(trajectory=row).values
        np.testing.assert_allclose(made[0], kept, rtol=1e-3, atol=1e-3)


def test_a_stage_is_told_what_it_reads_and_nothing_else(tmp_path):
    """The seed is the predictor's; which runs there are, and what a table shows, is no run's."""
    values = read_yaml(MINIATURE)
    own = {"parameter": "Rayleigh", "values": [2e4, 1e5]}
    more = own | {"samplers": ["ab4"], "emulators": ["diffusion"], "lead_times": [8]}
    told = []
    for seed, asked in ((0, own), (1, more)):
        analysis = {"parameters": ["Rayleigh"], "seed": seed, "counterfactual": asked}
        study = make_study("study.yaml", values | {"latent_analysis": {"convection": analysis}})
        told.append([task(study, "convection") for task in (parameters_task, counterfactual_task)])
    assert told[0] == [{"parameters": ["Rayleigh"]}, {"counterfactual": own}]
    assert told[1] == [{"parameters": ["Rayleigh"], "seed": 1}, {"counterfactual": own}]


def test_an_analysis_is_planned_where_a_study_asks_and_makes_nothing_again(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    asked = "{parameter: Rayleigh, values: [2e4, 1e5], samplers: [ab4, direct]}"
    with open(twin.study, "a") as file:
        file.write(
            "latent_analysis:\n  convection:\n    parameters: [Rayleigh]\n"
            f"    counterfactual: {asked}\n"
        )
    counts = {"latent_parameters": 1, "counterfactual": 2, "tables": 1, "figures": 1, "report": 1}
    assert twin.planned().items() >= counts.items()
    assert set(twin.planned()) - set(counts) <= {"claims"}
    assert len(paths.counterfactuals(read_study(twin.study))) == 2
