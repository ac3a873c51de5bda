"""Every option of a model reaches the model: none is read from a study and then forgotten."""

import json
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
import yaml
from pydantic import BaseModel
from torch import Tensor, nn

from lilas.models.build import make_autoencoder, make_emulator
from lilas.models.losses import LOSSES
from lilas.study.read import read_study
from lilas.study.study import Study

OPTIONS = Path(__file__).parent / "data" / "options.yaml"
# What says how a model is trained and where it is used, or which model it is; not how it is made.
ELSEWHERE = {
    *("architecture", "method", "train", "window"),
    *("context_rate", "context_at_least", "context_forward", "unroll"),
}
# Options by entry, or by the part of an entry, that do not matter to its model.
IDLE = {
    "autoencoders.dcae": {"loss", "similarity_weight"},
    "autoencoders.vit": {"loss", "similarity_weight"},
    # Of log_logit alone.
    "emulators.flow.diffusion": {"logit_scale", "logit_shift"},
}
# Another value of each option, by the longest end of its key that is here.
CHANGED = {
    "latent_channels": 6,
    "channels": [8, 32],
    "transformer.channels": 32,
    "transformer.network.channels": 32,
    **dict.fromkeys([f"{m}.network.channels" for m in ("flow", "solver", "ensemble")], 32),
    "blocks": [1, 2],
    "transformer.blocks": 2,
    "transformer.network.blocks": 2,
    **dict.fromkeys([f"{m}.network.blocks" for m in ("flow", "solver", "ensemble")], 2),
    "heads": 4,
    "ffn_factor": 2,
    "embedding": 32,
    "patch_size": 4,
    "network.patch_size": [2, 2],
    "attention_window": [3, 3, 3],
    "vit.transformer.attention_window": [3, 3],
    "qk_norm": False,
    "rope": False,
    "dropout": 0.5,
    "checkpointing": True,
    "kernel_size": 5,
    "pixel_shuffle": False,
    "identity_init": False,
    "norm": "group",
    "attention_heads": {1: 2},
    "periodic": ["x"],
    "unet.network.periodic": True,
    "saturation": "tanh",
    "latent_noise": 0.1,
    "stride": [2, 2, 2],
    "loss": "vmse",
    "ensemble.loss": "energy",
    "fair": 0.5,
    "members": 3,
    "noise": "modulation",
    "context_noise": 0.2,
    "schedule": "log_linear",
    "sigma_min": 1e-2,
    "sigma_max": 1e2,
    "logit_scale": 2.0,
    "logit_shift": 0.5,
    "prior": "kumaraswamy",
    "prior_parameters": [2.0, 3.0],
}


def changed(key: str) -> Any:
    ends = [end for end in CHANGED if f".{key}".endswith(f".{end}")]
    assert ends, f"{key}: say in CHANGED what else it may be, or in IDLE that it does not matter"
    return CHANGED[max(ends, key=len)]


def options() -> list[str]:
    """The keys of all options, such as emulators.unet.network.dropout."""

    def inside(key: str, entry: BaseModel) -> list[str]:
        found = []
        for name in type(entry).model_fields:
            value = getattr(entry, name)
            if name in ELSEWHERE or name in IDLE.get(key, ()):
                continue
            part = isinstance(value, BaseModel)
            found += inside(f"{key}.{name}", value) if part else [f"{key}.{name}"]
        return found

    study = read_study(OPTIONS)
    return [
        key
        for kind in ("autoencoders", "emulators")
        for name, entry in getattr(study, kind).items()
        for key in inside(f"{kind}.{name}", entry.model)
    ]


def model(study: Study, kind: str, name: str) -> nn.Module:
    """The model of an entry, made from seed 0."""
    torch.manual_seed(0)
    if kind == "autoencoders":
        return make_autoencoder(study.autoencoders[name].model, 4, ["x", "y"])
    return make_emulator(study.emulators[name].model, 4, 1, 2)


def told(value: Any) -> Any:
    """What tells one model from another: modules, weights, attributes and theirs."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.flatten().tolist()
    if isinstance(value, dict):
        return {key: told(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [told(each) for each in value]
    if isinstance(value, FunctionType | type) or not hasattr(value, "__dict__"):
        return value
    return type(value), told(vars(value))


@pytest.mark.parametrize("key", options())
def test_an_option_reaches_its_model(tmp_path, key):
    kind, name, *parents, last = key.split(".")
    # By way of JSON, since entries share what YAML's anchors name.
    values = json.loads(json.dumps(yaml.safe_load(OPTIONS.read_text())))
    inside = values[kind][name]
    for parent in parents:
        inside = inside.setdefault(parent, {})
    inside[last] = changed(key)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    study, other = read_study(OPTIONS), read_study(tmp_path / "study.yaml")
    assert told(model(study, kind, name)) != told(model(other, kind, name))


@pytest.mark.parametrize("kind", ["autoencoders", "emulators"])
def test_the_same_options_make_the_same_model(kind):
    first, second = read_study(OPTIONS), read_study(OPTIONS)
    for name in getattr(first, kind):
        assert told(model(first, kind, name)) == told(model(second, kind, name))


@pytest.mark.parametrize("loss", ["vmse", "vrmse"])
def test_a_solvers_loss_takes_each_state_for_a_sample(loss):
    """Of states whose variance grows a hundredfold in time, each is divided by its own."""
    study = read_study(OPTIONS)
    solver = make_emulator(
        study.emulators["solver"].model.model_copy(update={"loss": loss}), 4, 1, 2
    ).eval()
    generator = torch.Generator().manual_seed(0)
    growth = torch.tensor([0.1, 1.0, 10.0]).view(1, 1, 3, 1, 1)
    x = growth * torch.randn(2, 4, 3, 4, 4, generator=generator)
    label, mask = torch.randn(2, 1, generator=generator), torch.tensor([[1, 0, 0], [1, 1, 0]])
    with torch.no_grad():
        found = solver.loss(x, label, mask, None)
        y = solver.predict(x, label, mask)
    states = [
        LOSSES[loss](y[b : b + 1, :, t], x[b : b + 1, :, t]) for b in (0, 1) for t in range(3)
    ]
    assert found == pytest.approx(torch.stack(states).mean().item(), rel=1e-5)
