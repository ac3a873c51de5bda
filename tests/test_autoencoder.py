"""Autoencoders against the official code's outputs, and what must hold of any."""

import math

import pytest
import torch

from lilas.errors import LilasError
from lilas.models.autoencoder import SATURATIONS, make_dcae, make_identity
from lilas.models.build import make_autoencoder
from lilas.models.losses import LOSSES, similarity
from lilas.nn.dcae import Down, Up
from lilas.nn.layers import depth_to_space, space_to_depth
from lilas.official.parity import relative_error
from lilas.study.autoencoders import ViTSettings


def test_paper_size():
    with torch.device("meta"):
        model = make_dcae(
            4,
            64,
            channels=(64, 128, 256, 512, 768, 1024),
            blocks=(3,) * 6,
            periodic=(False, False),
            norm="layer",
            ffn_factor=1,
            dropout=0.05,
            checkpointing=False,
        )
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 313.1
    assert model.compression == 64


@pytest.mark.parametrize("space", [(8,), (8, 12), (4, 8, 12)])
def test_depth_to_space_undoes_space_to_depth(space):
    x = torch.randn(2, 3, *space)
    size = (2, 4, 2)[: len(space)]
    deep = space_to_depth(x, size)
    assert torch.equal(depth_to_space(deep, size), x)
    # The channel is the slowest: its block's first point leads.
    assert torch.equal(
        deep[:, size[0]] if len(space) == 1 else deep[:, 0],
        (
            x[:, 1, :: size[0]]
            if len(space) == 1
            else x[:, 0][(slice(None), *[slice(None, None, s) for s in size])]
        ),
    )


def small(**changes):
    options = {
        "channels": (8, 16),
        "blocks": (1, 1),
        "periodic": (True, False),
        "norm": "layer",
        "ffn_factor": 1,
        "dropout": 0.0,
        "checkpointing": False,
    } | changes
    torch.manual_seed(0)
    return make_dcae(3, 4, **options)


def test_periodic_padding_commutes_with_rolls():
    x = torch.randn(1, 3, 16, 8)
    model = small()
    rolled = model.encode(x.roll(4, dims=2))
    assert torch.allclose(rolled, model.encode(x).roll(2, dims=2), atol=1e-5)
    zeros = small(periodic=(False, False))
    assert not torch.allclose(zeros.encode(x.roll(4, 2)), zeros.encode(x).roll(2, 2), atol=1e-3)


def test_checkpointing_changes_no_gradient():
    x = torch.randn(2, 3, 8, 8)
    gradients = []
    for checkpointing in (False, True):
        model = small(checkpointing=checkpointing).train()
        LOSSES["vmse"](model.decode(model.encode(x)), x).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", ["softclip", "softclip2", "tanh"])
def test_saturation_is_bounded_and_near_identity_at_zero(name):
    z = torch.tensor([-1e4, -1e-4, 0.0, 1e-4, 1e4])
    y = SATURATIONS[name](z)
    assert y.abs().max() <= 5
    assert y[-1] > 4.99
    assert torch.allclose(y[1:4], z[1:4], rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("softclip", 5.0, 2.5),
        ("softclip", -15.0, -3.75),
        ("softclip2", 5.0, 5 / math.sqrt(2)),
        ("tanh", 5 * math.atanh(0.5), 2.5),
        ("arcsinh", math.sinh(3.0), 3.0),
        ("rmsnorm", 4.0, 1.0),
        ("none", 7.0, 7.0),
    ],
)
def test_saturations_by_hand(name, at, value):
    assert SATURATIONS[name](torch.full((2, 3), at)).flatten()[0].item() == pytest.approx(value)


def test_losses_and_their_gradients_in_closed_form():
    """With d = y - x over P points and V = var(x) + 0.01, each mean over batch and field."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.double) for _ in range(2))
    y.requires_grad_()
    d, points, fields = (y - x).detach(), 20, 6
    v = x.flatten(2).var(2)[..., None, None] + 1e-2
    root = (d.square().mean((2, 3), keepdim=True) / v).sqrt()
    expected = {
        "mse": (d.square().mean(), 2 * d / d.numel()),
        "mae": (d.abs().mean(), d.sign() / d.numel()),
        "vmse": ((d.square() / v).mean(), 2 * d / (v * points * fields)),
        "vrmse": (root.mean(), d / (v * root * points * fields)),
    }
    for name, (value, gradient) in expected.items():
        loss = LOSSES[name](y, x)
        assert loss.item() == pytest.approx(value.item(), rel=1e-12), name
        assert relative_error(torch.autograd.grad(loss, y)[0], gradient) < 1e-12, name


def test_a_study_can_ask_for_transformers():
    network = {"channels": 16, "blocks": 2, "heads": 2}
    entry = ViTSettings(architecture="vit", latent_channels=4, patch_size=4, transformer=network)
    torch.manual_seed(0)
    model = make_autoencoder(entry, 3, ("x", "y")).eval()
    x = torch.randn(2, 3, 8, 16)
    z = model.encode(x)
    assert (z.shape[1:], model.compression) == (model.latent_shape((3, 8, 16)), 12)
    assert z.abs().max() < 5
    # Far tokens matter: a convolution of so few layers would not see them.
    changed = x.clone()
    changed[..., -1, -1] += 10
    assert (model.encode(changed) - z).abs().amax((1, 2))[:, 0].min() > 1e-6
    assert model.decode(z).shape == x.shape


def test_identity_is_pixel_space():
    model = make_identity(3, 2)
    x = torch.randn(2, 3, 8, 4)
    assert torch.equal(model.decode(model.encode(x)), x)
    assert model.compression == 1
    assert list(model.state_dict()) == []
    assert model.latent_shape((3, 8, 4)) == (3, 8, 4)


@pytest.mark.parametrize("shuffle", [True, False])
def test_levels_start_near_the_identity(shuffle):
    """Down then up gives the state back, or its every other point where it is strided."""
    torch.manual_seed(0)
    x = torch.randn(1, 4, 16, 16)
    down, up = (
        layer(a, b, 3, (False, False), shuffle) for layer, a, b in ((Down, 4, 16), (Up, 16, 4))
    )
    blurred = x[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    errors = []
    for near in (False, True):
        for layer in (down, up):
            torch.nn.init.zeros_(layer.conv.bias)
            if near:
                layer.conv.start_near_identity()
        errors.append(relative_error(up(down(x)), x if shuffle else blurred))
    assert errors[1] < 0.05 < 0.5 < errors[0]


def test_compiles_without_graph_breaks():
    x = torch.randn(2, 3, 8, 8)
    model = small(attention_heads={1: 2}, saturation="rmsnorm")
    compiled = torch.compile(
        lambda x: model.decode(model.encode(x)), fullgraph=True, backend="eager"
    )
    assert relative_error(compiled(x), model.decode(model.encode(x))) < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, "kernel"),
        ({"norm": "batch"}, "batch"),
        ({"channels": (1, 8)}, "1 channels"),
        ({"channels": (24, 24), "norm": "group"}, "24 channels"),
        ({"attention_heads": {2: 2}}, "level 2"),
    ],
)
def test_refuses_what_it_cannot_build(changes, message):
    with pytest.raises(LilasError, match=message):
        small(**changes)


@pytest.mark.parametrize("shuffle", [True, False])
def test_refuses_a_grid_that_its_factor_does_not_divide(shuffle):
    with pytest.raises(LilasError, match="grid of"):
        small(pixel_shuffle=shuffle).encode(torch.randn(1, 3, 9, 8))


def test_one_latent_has_no_similarity():
    with pytest.raises(LilasError, match="batch"):
        similarity(torch.randn(1, 4, 2, 2))
