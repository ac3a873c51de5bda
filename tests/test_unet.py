"""The UNet against the official code's outputs, closed forms and symmetries."""

import math
import warnings

import pytest
import torch

from lilas.errors import LilasError
from lilas.nn.unet import Block, UNet, kept_coordinates
from lilas.official.parity import relative_error
from lilas.official.unet_names import unet_constants, unet_names

SMALL = {"channels": (6, 8, 4), "blocks": (2, 1, 1), "axes": 3, "embedding": 5, "stride": (1, 2, 2)}


@pytest.mark.parametrize(
    ("blocks", "heads"), [((2,), {}), ((1, 3), {0: 2}), ((0, 2, 1, 3), {1: 2, 3: 4})]
)
def test_every_parameter_has_one_official_name(blocks, heads):
    options = SMALL | {"blocks": blocks, "channels": (8,) * len(blocks)}
    model = UNet(2, 3, attention_heads=heads, **options)
    names = unet_names(blocks, heads)
    assert set(names) == set(model.state_dict())
    assert len({*names.values(), *unet_constants(blocks)}) == len(names) + 2 * sum(blocks)
    assert unet_constants(blocks, "group") == []
    lists: dict[str, set[int]] = {}
    for name in names.values():
        half, level, index, *_ = name.split(".")
        lists.setdefault(f"{half}.{level}", set()).add(int(index))
    for name, indices in lists.items():
        assert indices == set(range(len(indices))), f"{name} leaves out a layer"


# --- Closed forms -----------------------------------------------------------------------------


def identity(conv) -> None:
    """Makes a convolution hand on its first input channels as they are."""
    conv.weight.data.zero_()
    conv.bias.data.zero_()
    centre = tuple(size // 2 for size in conv.weight.shape[2:])
    for i in range(min(conv.weight.shape[:2])):
        conv.weight.data[(i, i, *centre)] = 1


def plain(inputs: int, outputs: int, **options) -> UNet:
    """A UNet whose blocks do nothing (c = 0) and whose convolutions hand channels on."""
    model = UNet(inputs, outputs, embedding=5, **options)
    for conv in (model.first, *model.down, *model.merge, model.last):
        identity(conv)
    for block in model.modules():
        if isinstance(block, Block):
            block.modulation[-1].weight.data.zero_()
            block.modulation[-1].bias.data.zero_()
    return model


@torch.inference_mode()
def test_the_network_sees_the_state_then_coordinates_then_the_mask():
    model = plain(2, 7, channels=(7,), blocks=(1,), axes=3, stride=(1, 2, 2))
    x = torch.randn(2, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(3) < 2).view(1, 1, 3, 1, 1).expand(2, -1, -1, -1, -1)
    y = model(x, torch.ones(2, 5), mask)
    assert torch.equal(y[:, :2], x)
    for i in range(3):
        for j in range(5):
            for k in range(4):
                point = torch.tensor([i - 1, j / 2 - 1, 2 * k / 3 - 1])
                assert torch.allclose(y[:, 2:5, i, j, k], point, atol=1e-6)
    assert torch.equal(y[:, 5:], mask.expand_as(x).float())


@pytest.mark.parametrize("size", [(7, 13), (8, 12), (1, 6)])
@torch.inference_mode()
def test_going_down_takes_every_other_point_and_going_up_repeats_it(size):
    """Down twice and up twice is x[4 floor(i / 4)] in space, whatever sizes are cropped."""
    model = plain(2, 2, channels=(2, 2, 2), blocks=(1, 1, 1), axes=3, stride=(1, 2, 2))
    x = torch.randn(1, 2, 5, *size, generator=torch.Generator().manual_seed(0))
    y = model(x, torch.ones(1, 5), torch.ones(1, 1, 5, 1, 1))
    rows, columns = (4 * (torch.arange(n) // 4) for n in size)
    assert torch.equal(y, x[..., rows, :][..., columns])


@torch.inference_mode()
def test_going_up_sees_what_the_level_had_on_the_way_down():
    """Of the two halves side by side, the second is the finer level's own: y = x."""
    model = plain(2, 2, channels=(2, 2, 2), blocks=(1, 1, 1), axes=2, stride=(2, 2))
    for merge in model.merge:
        merge.weight.data = merge.weight.data.roll(2, 1)
    x = torch.randn(1, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x, torch.ones(1, 5), torch.ones_like(x)), x)


def make_block(**changes) -> Block:
    torch.manual_seed(0)
    options = {"kernel": 3, "periodic": (False,) * 2, "embedding": 5, "norm": "layer"}
    options |= {"heads": None, "ffn_factor": 2, "dropout": 0.0, "checkpointing": False}
    return Block(8, **options | changes)


@pytest.mark.parametrize("heads", [None, 2])
@pytest.mark.parametrize(("norm", "alike"), [("layer", (0, 2, 3)), ("group", (0, 1))])
def test_blocks_see_what_the_normalisation_leaves(norm, alike, heads):
    """`layer` takes away each point's mean and scale, `group` (here) each channel's.

    The block is (x + c y) / sqrt(1 + c^2), c the last third of the modulation.
    """
    generator = torch.Generator().manual_seed(1)
    block = make_block(norm=norm, heads=heads)
    block.modulation[-1].weight.data.mul_(1e2)
    vector = 10 * torch.randn(2, 5, generator=generator)
    c = block.modulation(vector)[:, 16:, None, None]
    x = torch.randn(2, 8, 6, 5, generator=generator)
    shape = [n if axis in alike else 1 for axis, n in enumerate(x.shape)]
    scale = 1 + torch.rand(shape, generator=generator)
    shift = torch.randn(shape, generator=generator)

    def added(x):
        return block(x, vector) * torch.sqrt(1 + c * c) - x

    y = added(x)
    assert y.abs().mean() > 0.1
    assert relative_error(added(scale * x + shift), y) < 1e-3
    assert relative_error(added(scale * x.roll(1, 3) + shift), y) > 0.1


def test_modulation_scales_and_shifts_the_normalised_state():
    """Convolutions that hand on: y = silu((a + 1) norm(x) + b), each of a, b, c its third."""
    block = make_block(ffn_factor=1)
    identity(block.conv1)
    identity(block.conv2)
    block.modulation[-1].weight.data.zero_()
    block.modulation[-1].bias.data = torch.arange(24.0) / 10
    x = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    a, b, c = (torch.arange(8.0).view(8, 1, 1) / 10 + start for start in (0, 0.8, 1.6))
    z = (a + 1) * (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) + b
    expected = (x + c * z * z.sigmoid()) / torch.sqrt(1 + c * c)
    assert relative_error(block(x, torch.ones(1, 5)), expected) < 1e-4


def test_training_starts_near_the_identity():
    torch.manual_seed(0)
    model = UNet(2, 2, **SMALL)
    for conv in (*model.down, *model.merge):
        outputs, inputs, *_ = conv.weight.shape
        residual = conv.weight.detach().clone()
        for i in range(outputs):
            residual[i, i % inputs, 1, 1, 1] -= 1
        bound = 1 / math.sqrt(27 * inputs)
        assert 0.8e-2 * bound < residual.abs().max() < 1.01e-2 * bound
    for block in (block for block in model.modules() if isinstance(block, Block)):
        bound = 1 / math.sqrt(5)
        assert 0.8e-2 * bound < block.modulation[-1].weight.abs().max() < 1.01e-2 * bound
        for conv in (block.conv1, block.conv2):
            assert conv.weight.abs().max() > 0.8 / math.sqrt(27 * conv.weight.shape[1])
    for conv in UNet(2, 2, identity_init=False, **SMALL).down:
        assert conv.weight.abs().max() < 1 / math.sqrt(27 * conv.weight.shape[1])


# --- Symmetries -------------------------------------------------------------------------------


def small(**changes) -> UNet:
    torch.manual_seed(0)
    model = UNet(2, 2, **SMALL | changes)
    for block in (block for block in model.modules() if isinstance(block, Block)):
        block.modulation[-1].weight.data.mul_(1e2)
    return model


def batch(*size: int):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 2, *size, generator=generator)
    known = (torch.arange(size[0]) < 2).view(1, 1, -1, 1, 1)
    return x, torch.randn(2, 5, generator=generator), known.expand(2, 1, *size)


@pytest.mark.parametrize("periodic", [True, (False, True, True), (True, False, True)])
@torch.inference_mode()
def test_periodic_axes_have_no_origin(periodic):
    """Blind to coordinates, a shift by the coarsest level's spacing shifts the window."""
    model = small(periodic=periodic, attention_heads={2: 2}).double()
    x, vector, mask = batch(5, 8, 12)
    x, vector = x.double(), vector.double()
    shifts = {2: 1, 3: 4, 4: 4}

    def error(axis):
        y = model(x, vector, mask).roll(shifts[axis], axis)
        shifted = model(x.roll(shifts[axis], axis), vector, mask.roll(shifts[axis], axis))
        return relative_error(shifted, y)

    assert min(error(axis) for axis in shifts) > 1e-3
    model.first.weight.data[:, 2:5] = 0
    for axis, wraps in zip(shifts, (periodic,) * 3 if periodic is True else periodic, strict=True):
        assert error(axis) < 1e-12 if wraps else error(axis) > 1e-3, axis


@pytest.mark.parametrize("axis", [2, 3, 4])
@torch.inference_mode()
def test_only_periodic_axes_reach_the_other_end(axis):
    """One level of six convolutions of kernel 3 sees six points to either side."""
    x, vector, mask = batch(*(15 if axis == i else 2 for i in (2, 3, 4)))
    changed = x.clone()
    changed.select(axis, 14).add_(1)
    for wraps in (False, True):
        periodic = [wraps if axis == i else True for i in (2, 3, 4)]
        model = small(channels=(6,), blocks=(1,), periodic=periodic)
        difference = (model(changed, vector, mask) - model(x, vector, mask)).abs()
        reached = difference.amax([i for i in range(5) if i != axis]) > 0
        assert reached.nonzero().flatten().tolist() == [*range(6 * wraps), *range(8, 15)]


def gradients(model, x, vector, mask):
    torch.manual_seed(2)
    model.zero_grad()
    model(x, vector, mask).square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def test_checkpointing_changes_no_gradient():
    options = {"dropout": 0.1, "attention_heads": {1: 2}, "norm": "group"}
    first, second = (
        gradients(small(checkpointing=on, **options), *batch(3, 5, 6)) for on in (False, True)
    )
    assert all(gradient.abs().max() > 0 for gradient in first)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_coordinates_are_made_once_and_serve_training_after_a_rollout():
    kept_coordinates.cache_clear()
    model = small()
    with torch.inference_mode():
        model(*batch(3, 5, 6))
    gradients(model, *batch(3, 5, 6))
    assert kept_coordinates.cache_info().misses == 1
    shape = ((3, 5, 6), torch.float32, torch.device("cpu"))
    assert not kept_coordinates(*shape).is_inference()
    model.double()(*(u.double() for u in batch(3, 5, 6)))
    assert kept_coordinates.cache_info().misses == 2


def test_compiles_without_graph_breaks():
    model = small(attention_heads={2: 2}, periodic=(False, True, True))
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for size in ((3, 5, 6), (5, 8, 7)):
            arguments = batch(*size)
            with torch.inference_mode():
                assert relative_error(compiled(*arguments), model(*arguments)) < 1e-5
            expected = gradients(model, *arguments)
            for a, b in zip(gradients(compiled, *arguments), expected, strict=True):
                assert relative_error(a, b) < 1e-4


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": 4, "stride": (1, 2, 2, 2)}, "4 axes"),
        ({"stride": (2, 2)}, "allowed: 3 values"),
        ({"periodic": (True, True)}, "allowed: 3 values"),
        ({"blocks": (1, 1)}, "3 levels"),
        ({"attention_heads": {3: 2}}, "allowed: 0 to 2"),
        ({"attention_heads": {0: 4}}, "4 heads of 6 channels"),
        ({"kernel_size": 2}, "odd"),
        ({"norm": "batch"}, "allowed: layer"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_refuses(change, message):
    with pytest.raises(LilasError, match=message):
        UNet(2, 2, **SMALL | change)
