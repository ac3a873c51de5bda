"""Fast networks with the same numbers: against their plain twins, compiled, and kept constants."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lilas.draws import Draws
from lilas.models.methods import Backbone, Diffusion
from lilas.models.rollout import Window
from lilas.nn import vit
from lilas.nn.dcae import Decoder, Encoder
from lilas.nn.layers import Conv
from lilas.nn.vit import Transformer
from lilas.official.parity import relative_error
from lilas.study.entries import SamplerEntry
from plain import PlainBackbone, PlainDecoder, PlainEncoder, PlainTransformer

TRANSFORMER = {"channels": 24, "blocks": 2, "heads": 2}
AUTOENCODER = {"channels": (8, 16), "blocks": (1, 2)}
ONCE = {"norm": "layer", "ffn_factor": 1, "dropout": 0.0, "checkpointing": False}


def drawn(network: nn.Module) -> nn.Module:
    """Draws all parameters anew, so that nothing is near zero and every term counts."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        draw = torch.randn(parameter.shape, generator=generator)
        parameter.data = draw * (parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3)
    return network


def assert_equal(network: nn.Module, plain: nn.Module, *inputs: torch.Tensor | None) -> None:
    """Outputs to 1e-5 and gradients, by the input's too, to 1e-4."""
    plain.load_state_dict(drawn(network).state_dict())
    found = []
    for model in (network, plain):
        x = inputs[0].clone().requires_grad_()
        y = model(x, *inputs[1:])
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        (y * weight).sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()} | {"x": x.grad}
        found.append((y.detach(), gradients))
    (y, gradients), (plain_y, plain_gradients) = found
    assert relative_error(y, plain_y) < 1e-5
    for name, gradient in plain_gradients.items():
        assert relative_error(gradients[name], gradient) < 1e-4, name


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embedding": None},
        {"patch_size": (2, 1), "qk_norm": False, "rope": False},
        {"patch_size": (1, 2), "unpatch_size": (3, 1), "attention_window": (3, 1)},
        {"axes": 3, "patch_size": (1, 2, 1), "attention_window": (1, 3, 5), "embedding": None},
        {"axes": 3, "ffn_factor": 2},
    ],
)
def test_transformers_equal_their_plain_twins(changes):
    options = {"axes": 2, "embedding": 8} | TRANSFORMER | changes
    sizes = (4, 6, 5)[: options["axes"]]
    vector = None if options["embedding"] is None else draw(2, 8)
    assert_equal(
        Transformer(3, 2, **options), PlainTransformer(3, 2, **options), draw(2, 3, *sizes), vector
    )


def backbone(states: int, features: int, space: int, noisy: bool, **options) -> Backbone:
    network = Transformer(2 * states, states, axes=1 + space, **options)
    return Backbone(network, features, options["embedding"], noisy)


@pytest.mark.parametrize(("space", "noisy"), [(1, True), (2, True), (2, False)])
def test_backbones_equal_their_plain_twins(space, noisy):
    mask = torch.tensor([[1, 0, 0], [1, 1, 0]]).view(2, 1, 3, *[1] * space)
    inputs = draw(2, 2, 3, *(4, 6)[:space]), mask, 10 * draw(2) if noisy else None, draw(2, 3)
    options = TRANSFORMER | {"embedding": 8, "patch_size": (1, 2, 2)[: 1 + space]}
    models = (kind(2, 3, space, noisy, **options) for kind in (backbone, PlainBackbone))
    assert_equal(*models, *inputs)


@pytest.mark.parametrize(
    ("sizes", "changes"),
    [
        ((8,), {"periodic": (True,)}),
        ((8, 12), {"kernel_size": 5, "patch_size": 2}),
        ((8, 12), {"attention_heads": {1: 2}, "ffn_factor": 2}),
        ((8, 12), {"norm": "group", "pixel_shuffle": False}),
        ((4, 6, 8), {"periodic": (False, True, True)}),
        ((4, 6, 8), {"attention_heads": {1: 2}, "pixel_shuffle": False}),
    ],
)
def test_autoencoders_equal_their_plain_twins(sizes, changes):
    options = AUTOENCODER | {"periodic": (True, False, False)[: len(sizes)]} | changes
    factor = 2 * options.get("patch_size", 1)
    assert_equal(Encoder(3, 4, **ONCE | options), PlainEncoder(3, 4, **options), draw(2, 3, *sizes))
    latents = draw(2, 4, *[n // factor for n in sizes])
    assert_equal(Decoder(3, 4, **ONCE | options), PlainDecoder(3, 4, **options), latents)


def networks() -> list[tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    """A backbone with local attention and an autoencoder with attention, and inputs of each."""
    options = TRANSFORMER | {"embedding": 8, "attention_window": (3, 3, 1)}
    network = backbone(2, 3, 2, True, **options)
    mask = torch.tensor([[1, 0, 0], [1, 1, 0]]).view(2, 1, 3, 1, 1)
    options = ONCE | AUTOENCODER | {"periodic": (True, False), "attention_heads": {1: 2}}
    autoencoder = nn.Sequential(Encoder(3, 4, **options), Decoder(3, 4, **options))
    return [
        (drawn(network), (draw(2, 2, 3, 4, 6), mask, draw(2), draw(2, 3))),
        (drawn(autoencoder), (draw(2, 3, 8, 12),)),
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["backbone", "autoencoder"])
def test_steps_and_inference_compile_once_and_whole(which):
    """One graph each; neither a second call nor changed weights compile anything again."""
    network, inputs = networks()[which]
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="aot_eager")

    def step(model: nn.Module) -> list[torch.Tensor]:
        y = model(*inputs)
        return [y.detach(), *torch.autograd.grad(y.square().mean(), list(model.parameters()))]

    def infer(model: nn.Module) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [model(*inputs)]

    for task in (step, infer):
        task(compiled)
        with torch.compiler.set_stance("fail_on_recompile"):
            for _ in range(2):
                for a, b in zip(task(compiled), task(network), strict=True):
                    assert relative_error(a, b) < 1e-4
                for parameters in zip(network.parameters(), compiled.parameters(), strict=True):
                    change = 0.1 * torch.randn_like(parameters[0])
                    for parameter in parameters:
                        parameter.data += change


def test_a_compiled_method_is_the_method():
    """As the stage compiles it: the backbone alone, its loss around it."""
    x, label, mask = draw(2, 2, 3, 4, 6), draw(2, 3), torch.arange(3).expand(2, 3) < 1
    found = []
    for compiles in (False, True):
        torch.compiler.reset()
        network = drawn(backbone(2, 3, 2, True, **TRANSFORMER, embedding=8))
        method = Diffusion(network)
        if compiles:
            network.compile(fullgraph=True, backend="aot_eager")
        loss = method.loss(x, label, mask, Draws(0, range(2)))
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in method.parameters())])
    for a, b in zip(*found, strict=True):
        assert relative_error(a, b) < 1e-4


def test_compiled_sampling_is_sampling():
    """As a rollout compiles it: the backbone alone, sixteen steps around it."""
    x, label, mask = draw(2, 2, 3, 4, 6), draw(2, 3), torch.arange(3).expand(2, 3) < 1
    method = Diffusion(drawn(backbone(2, 3, 2, True, **TRANSFORMER, embedding=8)))
    sampler, found = SamplerEntry(algorithm="ab", steps=16), []
    for compiles in (False, True):
        torch.compiler.reset()
        if compiles:
            method.backbone.compile(fullgraph=True, backend="aot_eager")
        step = method.stepper(label, sampler, Draws(0, range(2)))
        found.append(step(Window(x, mask, 0)))
    assert relative_error(*found) < 1e-4


@pytest.mark.parametrize("points", [2, 16])
def test_convolutions_choose_their_layout(points):
    """Channels last in memory where the map is larger than the weight, else channel-first."""
    x = draw(2, 8, points, points)
    conv = Conv(8, 8, 3, (False, False))
    last = x.numel() > conv.weight.numel()
    assert last == (points == 16)
    y = conv(x)
    assert y.is_contiguous(memory_format=torch.channels_last) == last
    assert y.is_contiguous() != last
    assert relative_error(y, F.conv2d(x, conv.weight, conv.bias, padding=1)) < 1e-5


def test_autoencoders_compile_with_their_own_layouts():
    """The compiler is told to leave them; a backend that takes no options is told nothing."""
    x, found = draw(2, 3, 8, 12), []

    def look(_: torch.fx.Graph) -> None:
        found.append(torch._inductor.config.layout_optimization)
        raise InterruptedError("Seen before any code is generated.")

    for kind, given in ((Encoder, x), (Decoder, draw(2, 4, 4, 6))):
        network = drawn(kind(3, 4, **ONCE | AUTOENCODER, periodic=(True, False)))
        expected = network(given)
        network.compile(backend="eager", fullgraph=True)
        assert relative_error(network(given), expected) < 1e-5
        torch.compiler.reset()
        with torch._inductor.config.patch(layout_optimization=True):
            network.compile(options={"pre_grad_custom_pass": look})
            with pytest.raises(torch._dynamo.exc.BackendCompilerFailed):
                network(given)
    assert found == [False, False]


def test_another_grid_compiles_once_more_another_batch_never_again():
    network, (x, mask, noise, label) = networks()[0]
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")

    def inputs(batch: int, points: int) -> tuple[torch.Tensor, ...]:
        parts = x[..., :points], mask, noise, label
        return tuple(part.repeat(batch, *[1] * (part.ndim - 1)) for part in parts)

    for batch, points in ((1, 6), (2, 6), (1, 4), (1, 5)):
        given = inputs(batch, points)
        assert relative_error(compiled(*given), network(*given)) < 1e-5
    with torch.compiler.set_stance("fail_on_recompile"):
        compiled(*inputs(3, 6))


def test_constants_of_a_grid_are_made_once():
    """Also where they are first needed in inference, whose tensors refuse gradients."""
    model = Transformer(3, 2, axes=2, embedding=None, attention_window=(3, 3), **TRANSFORMER)
    x = draw(1, 3, 7, 11)
    before = vit._make_grid.cache_info().misses
    with torch.inference_mode():
        first = model(x)
    model(x).sum().backward()
    assert torch.equal(copy.deepcopy(model)(x), first)
    assert vit._make_grid.cache_info().misses == before + 1
    grid = vit.make_grid((7, 11), 24, (3, 3), x.device)
    assert vit.make_grid((7, 11), 24, (3, 3), x.device).mask is grid.mask


def test_compiled_graphs_hold_the_constants():
    names = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]):
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    network, inputs = networks()[0]
    torch.compiler.reset()
    torch.compile(network, fullgraph=True, backend=backend)(*inputs)
    assert any("scaled_dot_product_attention" in name for name in names)
    assert not any(part in name for name in names for part in ("arange", "kron"))


def swap(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.data.copy_(state[name])


def assign(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.data = state[name].clone()


def step(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """A step of gradient descent whose gradient leads to the new weights."""
    for name, parameter in model.named_parameters():
        parameter.grad = parameter.detach() - state[name]
    torch.optim.SGD(model.parameters(), 1.0).step()


@pytest.mark.parametrize(
    "change", [lambda model, state: model.load_state_dict(state), swap, assign, step]
)
@torch.no_grad()
def test_inference_follows_the_weights(change):
    """Whoever changes them, however: nothing that depends on weights outlives a call."""
    options = TRANSFORMER | {"axes": 2, "embedding": None}
    model, plain = Transformer(3, 2, **options), PlainTransformer(3, 2, **options)
    x, drawn_state = draw(1, 3, 4, 6), drawn(copy.deepcopy(model)).state_dict()
    before = model(x)
    change(model, drawn_state)
    plain.load_state_dict(drawn_state)
    assert relative_error(model(x), plain(x)) < 1e-5
    assert relative_error(before, plain(x)) > 1e-2


@pytest.mark.parametrize("which", [0, 1], ids=["backbone", "autoencoder"])
def test_networks_store_their_parameters_alone(which):
    network, inputs = networks()[which]
    y = network(*inputs)
    assert list(network.state_dict()) == [name for name, _ in network.named_parameters()]
    for again in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(again(*inputs), y)


@pytest.mark.parametrize("which", [0, 1], ids=["backbone", "autoencoder"])
def test_bfloat16_is_near_float32(which):
    network, inputs = networks()[which]
    with torch.autocast("cpu", torch.bfloat16):
        y = network(*inputs)
    y.float().sum().backward()
    assert relative_error(y, network(*inputs)) < 0.05
