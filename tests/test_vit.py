"""The transformer with and without modulation, in patches and windows, and as an autoencoder."""

import itertools

import pytest
import torch
from torch import nn

from lilas.errors import LilasError
from lilas.models.autoencoder import Autoencoder
from lilas.models.losses import LOSSES
from lilas.nn.vit import Transformer, make_decoder, make_encoder
from lilas.official.parity import relative_error


def transformer(**changes) -> Transformer:
    torch.manual_seed(0)
    options = {"channels": 16, "blocks": 2, "heads": 2, "axes": 2, "embedding": None} | changes
    return Transformer(3, 2, **options).eval()


def sees(model: Transformer, x: torch.Tensor) -> torch.Tensor:
    """Which point of the output depends on which of the input, by its gradient: (out, in)."""
    x = x.clone().requires_grad_()
    y = model(x).sum(1).flatten()
    rows = [
        torch.autograd.grad(value, x, retain_graph=True)[0].abs().sum(1).flatten() for value in y
    ]
    return torch.stack(rows) > 0


@pytest.mark.parametrize(("sizes", "window"), [((6, 5), (3, 5)), ((2, 4, 3), (1, 3, 3))])
def test_a_token_sees_its_window_and_nothing_else(sizes, window):
    model = transformer(axes=len(sizes), blocks=1, attention_window=window)
    points = list(itertools.product(*map(range, sizes)))
    expected = [
        [
            all(abs(a - b) <= (w - 1) / 2 for a, b, w in zip(i, j, window, strict=True))
            for j in points
        ]
        for i in points
    ]
    assert torch.equal(sees(model, torch.randn(1, 3, *sizes)), torch.tensor(expected))


def test_a_window_as_wide_as_the_grid_is_no_window():
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    assert relative_error(transformer(attention_window=(7, 11))(x), transformer()(x)) < 1e-5
    assert relative_error(transformer(attention_window=(7, 9))(x), transformer()(x)) > 1e-5


def test_free_parameters_are_a_modulation_that_no_vector_changes():
    """A modulated network whose modulation returns the free parameters computes the same."""
    x, vector = torch.randn(2, 3, 4, 6), torch.randn(2, 8)
    free, modulated = transformer(), transformer(embedding=8)
    state = free.state_dict()
    for i, block in enumerate(modulated.blocks):
        constant = state.pop(f"blocks.{i}.modulation")
        assert constant.shape == (4, 16)
        nn.init.zeros_(block.modulation[-1].weight)
        block.modulation[-1].bias.data = constant.flatten()
    modulated.load_state_dict(state, strict=False)
    assert relative_error(modulated(x, vector), free(x)) < 1e-5


def make_vit(latent_channels: int = 6, *, axes: int = 2, patch_size: int = 4) -> Autoencoder:
    torch.manual_seed(0)
    options = {"axes": axes, "patch_size": patch_size, "channels": 48, "blocks": 1, "heads": 2}
    return Autoencoder(
        make_encoder(3, latent_channels, **options),
        make_decoder(3, latent_channels, **options),
        pixel_channels=3,
        latent_channels=latent_channels,
        factor=patch_size,
        spatial=axes,
        saturation="none",
    )


@pytest.mark.parametrize(("axes", "patch", "compression"), [(2, 4, 8.0), (3, 2, 4.0)])
def test_compresses_as_it_says(axes, patch, compression):
    model = make_vit(axes=axes, patch_size=patch)
    x = torch.randn(2, 3, *(8, 12, 4)[:axes])
    z = model.encode(x)
    assert z.shape[1:] == model.latent_shape(x.shape[1:])
    assert x.numel() / z.numel() == model.compression == compression
    assert model.decode(z).shape == x.shape


def test_decoding_undoes_encoding_where_both_are_orthogonal():
    """With blocks that pass their input on, encoder and decoder are linear maps of patches."""
    model = make_vit(48)
    rotations = [torch.linalg.qr(torch.randn(48, 48))[0] for _ in range(2)]
    weights = (*rotations, rotations[1].T, rotations[0].T)
    for network, (first, last) in zip(
        (model.encoder, model.decoder), (weights[:2], weights[2:]), strict=True
    ):
        for layer, weight in ((network.embed, first), (network.project, last)):
            layer.weight.data, layer.bias.data = weight, torch.zeros(48)
        nn.init.zeros_(network.position.weight)
        nn.init.zeros_(network.position.bias)
        nn.init.zeros_(network.blocks[0].modulation)
    x = torch.randn(2, 3, 8, 12)
    z = model.encode(x)
    assert torch.allclose(z.norm(), x.norm())
    assert relative_error(model.decode(z), x) < 1e-5


def test_the_autoencoder_trains_through_every_parameter():
    model = make_vit()
    generator = torch.Generator().manual_seed(1)
    phase = 6 * torch.rand(8, 3, 1, 1, generator=generator)
    x = torch.sin(torch.arange(16.0)[:, None] / 3 + torch.arange(16.0) / 5 + phase)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = LOSSES["vmse"](model.decode(model.encode(x)), x)
        optimizer.zero_grad()
        loss.backward()
        assert all((p.grad != 0).any() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_window": (3, 4)}, "odd"),
        ({"attention_window": (3,)}, "one per axis"),
        ({"patch_size": (1, 2, 2)}, "one per axis"),
        ({"unpatch_size": (1, 2, 2)}, "one per axis"),
    ],
)
def test_refuses_what_it_cannot_build(changes, message):
    with pytest.raises(LilasError, match=message):
        transformer(**changes)


def test_takes_a_vector_where_it_has_a_modulation():
    x, vector = torch.randn(2, 3, 4, 6), torch.randn(2, 8)
    for model, given in ((transformer(), vector), (transformer(embedding=8), None)):
        with pytest.raises(LilasError, match="modulation vector"):
            model(x, given)
