"""Sweeps: entries by brute force, names that last, mistakes told; and studies without emulators."""

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lilas.errors import LilasError
from lilas.study import paths
from lilas.study.read import make_study, read_study, read_swept
from lilas.study.study import Study
from lilas.study.sweep import expanded
from lilas.study.yaml import read_yaml

MINIATURE = Path(__file__).parent / "data" / "miniature.yaml"


def values() -> Any:
    """The miniature, each entry its own, and c16 without settings of a dataset."""
    found = json.loads(json.dumps(read_yaml(MINIATURE)))
    del found["autoencoders"]["c16"]["per_dataset"]
    return found


def swept(entry: str = "autoencoders.c16", **crossed: Any) -> Study:
    return make_study("study.yaml", values() | {"sweep": {entry: crossed}})


OPTIMIZERS = {
    "adam": {"optimizer": "adam", "betas": [0.9, 0.99]},
    "soap": {"optimizer": "soap", "precondition_every": 2},
}


def test_a_sweep_is_every_combination_written_by_hand():
    """Against the study that one would write without it."""
    crossed = {
        "train": OPTIMIZERS,
        "identity_init": [True, False],
        "train.learning_rate": [0.001, 3e-5, 1],
    }
    by_hand = values()
    base = by_hand["autoencoders"].pop("c16")
    made = {}
    for (name, optimizer), identity, (text, rate) in itertools.product(
        OPTIMIZERS.items(), (True, False), {"0p001": 1e-3, "3em05": 3e-5, "1": 1}.items()
    ):
        one = copy.deepcopy(base)
        one["identity_init"] = identity
        one["train"] = one["train"] | optimizer | {"learning_rate": rate}
        part = "true" if identity else "false"
        made[f"c16_identity_init_{part}_{name}_learning_rate_{text}"] = one
    by_hand["autoencoders"] = made | by_hand["autoencoders"]
    for emulator in ("diffusion", "solver"):
        by_hand["emulators"][emulator]["autoencoders"] = list(made)
    found = swept(**crossed)
    assert found == make_study("study.yaml", by_hand)
    assert len(paths.rollouts(found)) == 12 * 3 + 1
    assert list(found.autoencoders) == [*made, "pixel"]
    assert found.sweep == {}
    # What was expanded is a study as others are.
    assert Study.model_validate(found.model_dump(mode="json")) == found


def test_names_last_when_values_are_added_and_put_in_another_order():
    crossed = {"identity_init": [True, False], "train.learning_rate": [1e-3, 3e-3]}
    before = swept(**crossed).autoencoders
    more = {"train.learning_rate": [1e-2, 3e-3, 1e-3], "identity_init": [False, True]}
    after = swept(**more).autoencoders
    assert len(after) == len(before) + 2
    assert {name: after[name] for name in before} == before


def test_emulators_and_samplers_are_swept_too():
    found = swept("emulators.diffusion", **{"network.blocks": [1, 2], "seeds": {"two": [0, 1]}})
    made = ["diffusion_blocks_1_two", "diffusion_blocks_2_two"]
    assert list(found.emulators) == [*made, "solver", "pixel_solver"]
    assert [found.emulators[name].seeds for name in made] == [[0, 1]] * 2
    study = values()
    study["emulators"]["diffusion"]["per_dataset"] = {"convection": {"samplers": ["ab4", "back"]}}
    study["sweep"] = {"samplers.ab4": {"steps": [4, 8]}}
    found = make_study("study.yaml", study)
    names = ["ab4_steps_4", "ab4_steps_8", "back"]
    assert found.emulators["diffusion"].samplers == names
    assert found.resolve("emulators", "diffusion", "convection").samplers == names
    assert [found.samplers[name].algorithm.steps for name in names] == [4, 8, 4]


def test_two_sweeps_meet():
    """An emulator that is swept refers to all that a swept autoencoder became."""
    study = values()
    study["sweep"] = {
        "emulators.solver": {"train.learning_rate": [1e-3, 2e-3]},
        "autoencoders.c16": {"latent_channels": [4, 2]},
    }
    found = make_study("study.yaml", study)
    both = ["c16_latent_channels_4", "c16_latent_channels_2"]
    for name in ("solver_learning_rate_0p001", "solver_learning_rate_0p002", "diffusion"):
        assert found.emulators[name].autoencoders == both


def test_a_latent_analysis_of_a_swept_entry_is_of_all_that_it_became():
    study = values()
    own = {"parameter": "Rayleigh", "values": [2e4, 1e5], "emulators": ["diffusion", "solver"]}
    asked = {"autoencoders": ["c16"], "counterfactual": own | {"samplers": ["ab4"]}}
    study["latent_analysis"] = {"convection": asked}
    study["sweep"] = {
        "autoencoders.c16": {"latent_channels": [4, 2]},
        "emulators.diffusion": {"network.blocks": [1, 2]},
        "samplers.ab4": {"members": [2, 3]},
    }
    found = make_study("study.yaml", study).latent_analysis["convection"]
    assert found.autoencoders == ["c16_latent_channels_4", "c16_latent_channels_2"]
    assert found.counterfactual.emulators == ["diffusion_blocks_1", "diffusion_blocks_2", "solver"]
    assert found.counterfactual.samplers == ["ab4_members_2", "ab4_members_3"]


def test_what_is_given_is_not_changed():
    study = values() | {"sweep": {"autoencoders.c16": {"train": OPTIMIZERS}}}
    before = copy.deepcopy(study)
    expanded(study)
    assert study == before


def test_a_sweep_is_read_from_a_file_with_anchors(tmp_path):
    """Entries that share a mapping by an anchor are apart once they are swept."""
    text = MINIATURE.read_text().replace("convection: {train: {optimizer: soap, ", "convection: {")
    text = text.replace("precondition_every: 2}}", "dropout: 0.1}")
    (tmp_path / "study.yaml").write_text(
        f"{text}\nsweep:\n  autoencoders.c16: {{train.learning_rate: [1e-2, 3e-3]}}\n"
    )
    found = read_study(tmp_path / "study.yaml")
    rates = {
        name: e.model.train.learning_rate for name, e in found.autoencoders.items() if e.is_trained
    }
    assert rates == {"c16_learning_rate_0p01": 0.01, "c16_learning_rate_0p003": 0.003}
    assert found.emulators["diffusion"].model.train.learning_rate == 1e-3


RATES = {"train.learning_rate": [1e-3, 3e-3]}
# What is wrong, and words of the one line that says so.
MISTAKES = [
    (3, ["sweep: expected a mapping"]),
    ({"c16": RATES}, ["sweep.c16: is no entry", "autoencoders.NAME"]),
    ({"datasets.convection": RATES}, ["sweep.datasets.convection", "autoencoders.NAME"]),
    ({"autoencoders.c61": RATES}, ["sweep.autoencoders.c61: unknown 'c61', did you mean 'c16'"]),
    ({"autoencoders.c16": {}}, ["sweep.autoencoders.c16: expected a mapping from keys"]),
    ({"autoencoders.c16": {"loss": []}}, ["sweep.autoencoders.c16.loss", "at least one"]),
    ({"autoencoders.c16": {"loss": {}}}, ["sweep.autoencoders.c16.loss", "at least one"]),
    ({"autoencoders.c16": {"loss": "mse"}}, ["sweep.autoencoders.c16.loss", "found 'mse'"]),
    (
        {"autoencoders.c16": {"train.learning_rate": [1e-3, 2e-3, 1e-3]}},
        ["sweep.autoencoders.c16.train.learning_rate: 0.001 is there twice"],
    ),
    (
        {"autoencoders.c16": {"dropout": {"none": 0, "off": 0.0}}},
        ["sweep.autoencoders.c16.dropout: 0.0 is there twice"],
    ),
    (
        {"autoencoders.c16": {"train.weight_decay": [1e-3, "0p001"]}},
        ["c16.train.weight_decay: two values make the name 'weight_decay_0p001'"],
    ),
    (
        {"autoencoders.c16": {"identity_init": [True, "true"]}},
        ["sweep.autoencoders.c16.identity_init: two values make the name 'identity_init_true'"],
    ),
    (
        {"autoencoders.c16": {"loss": {1: "mse", "1": "mae"}}},
        ["sweep.autoencoders.c16.loss: two values make the name '1'"],
    ),
    (
        # Of four combinations two would have one name.
        {
            "autoencoders.c16": {
                "dropout": {"x": 0.1, "x_y": 0.2},
                "loss": {"y_z": "mse", "z": "mae"},
            }
        },
        ["sweep.autoencoders.c16: makes two entries 'c16_x_y_z'", "{NAME: value}"],
    ),
    (
        {"autoencoders.c16": {"identity_initt": [True, False]}},
        ["sweep.autoencoders.c16.identity_initt: unknown key, did you mean 'identity_init'"],
    ),
    (
        {"autoencoders.c16": {"train.learning_rat": [1e-3, 2e-3]}},
        ["sweep.autoencoders.c16.train.learning_rat: unknown key, did you mean 'learning_rate'"],
    ),
    (
        {"autoencoders.c16": {"trian.learning_rate": [1e-3, 2e-3]}},
        ["sweep.autoencoders.c16.trian: unknown key, did you mean 'train'"],
    ),
    (
        {"autoencoders.c16": {"train.learning_rate": [1e-3, 7]}},
        ["sweep.autoencoders.c16.train.learning_rate: ", "found 7"],
    ),
    (
        {"autoencoders.c16": {"train": {"muon": {"optimizer": "mouon"}}}},
        ["sweep.autoencoders.c16.train.optimizer: ", "did you mean 'muon'"],
    ),
    (
        # Which of the combinations it is, the name of the entry says.
        {"autoencoders.c16": {"train.betas": {"two": [0.9, 0.9]}, "train.optimizer": ["psgd"]}},
        ["autoencoders.c16_two_optimizer_psgd.train: betas [0.9, 0.9]: psgd takes 1"],
    ),
    (
        {"autoencoders.c16": {"train": OPTIMIZERS, "train.optimizer": ["adam", "soap"]}},
        ["sweep.autoencoders.c16: sets train.optimizer twice"],
    ),
    (
        {"autoencoders.c16": {"latent_channels.x": [1]}},
        ["sweep.autoencoders.c16.latent_channels.x: latent_channels is 4"],
    ),
    (
        {"autoencoders.c16": {"loss": ["mse"], "train": {"a": {"steps": 2}}}},
        ["sweep.autoencoders.c16.train: validate_every 4"],
    ),
    ({"autoencoders.c16": {"channels": [[8, 16, 16]]}}, ["no name", "{NAME: value}"]),
    ({"autoencoders.c16": {"loss": {"a-b": "mse"}}}, ["'a-b' is no name", "{NAME: value}"]),
    (
        {"autoencoders.c16": {"seeds": {f"s{i}": [i] for i in range(1001)}}},
        ["sweep.autoencoders.c16: makes 1001 entries; allowed: at most 1000"],
    ),
    (
        {"autoencoders.c16": {"loss": {"x" * 70: "mse"}}},
        ["sweep.autoencoders.c16: makes the name", "of 74 char", "at most 64"],
    ),
]


@pytest.mark.parametrize(("sweep", "words"), MISTAKES)
def test_a_mistake_in_a_sweep_is_told_in_one_line(sweep, words):
    with pytest.raises(LilasError) as error:
        make_study("study.yaml", values() | {"sweep": sweep})
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 300
    for word in words:
        assert word in message, message


def test_a_mistake_in_the_base_is_told_of_the_base():
    study = values() | {"sweep": {"autoencoders.c16": RATES}}
    study["autoencoders"]["c16"]["latent_channel"] = 4
    with pytest.raises(
        LilasError, match=r"study\.yaml: autoencoders\.c16\.latent_channel: unknown key"
    ):
        make_study("study.yaml", study)


def test_a_name_that_is_taken_is_refused():
    study = values() | {"sweep": {"autoencoders.c16": {"loss": ["mse", "mae"]}}}
    study["autoencoders"]["c16_loss_mae"] = study["autoencoders"]["c16"]
    with pytest.raises(
        LilasError, match=r"sweep\.autoencoders\.c16: makes an entry 'c16_loss_mae'"
    ):
        make_study("study.yaml", study)
    study = values() | {"sweep": {"autoencoders.c16": RATES}}
    study["autoencoders"]["c16"] = 3
    with pytest.raises(LilasError, match=r"sweep\.autoencoders\.c16: expected a mapping"):
        make_study("study.yaml", study)


def test_settings_of_a_dataset_that_would_undo_a_sweep_are_refused():
    study = values() | {"sweep": {"autoencoders.c16": RATES}}
    study["autoencoders"]["c16"]["per_dataset"] = {"convection": {"train": {"steps": 6}}}
    assert len(make_study("study.yaml", study).autoencoders) == 3
    study["autoencoders"]["c16"]["per_dataset"]["convection"]["train"]["learning_rate"] = 1e-4
    with pytest.raises(LilasError, match=re.escape("train.learning_rate: per_dataset.convection")):
        make_study("study.yaml", study)


def test_emulators_of_a_swept_entry_that_the_sweep_took_are_told():
    study = values() | {"sweep": {"autoencoders.c16": RATES}}
    study["emulators"]["diffusion"]["autoencoders"] = ["c16_learning_rate_0p001"]
    assert make_study("study.yaml", study).emulators["diffusion"].autoencoders == [
        "c16_learning_rate_0p001"
    ]


def test_what_a_sweep_made_is_told_without_validating_the_study_again(tmp_path, monkeypatch):
    study = values() | {"sweep": {"autoencoders.c16": RATES}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.setattr(Study, "model_validate", None)
    made = ["c16_learning_rate_0p001", "c16_learning_rate_0p003"]
    found = read_swept(tmp_path / "study.yaml")
    assert found == {"autoencoders": made, "emulators": [], "samplers": []}


def test_a_study_may_have_no_emulators():
    study = {key: part for key, part in values().items() if key in ("datasets", "autoencoders")}
    found = make_study("study.yaml", study)
    assert (found.emulators, found.samplers, paths.rollouts(found)) == ({}, {}, [])
    assert yaml.safe_load(yaml.safe_dump(found.model_dump(mode="json")))["emulators"] == {}
