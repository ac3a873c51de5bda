"""Small networks of every kind and all that they compute, to compare devices and precisions."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lilas.devices import arithmetic
from lilas.draws import Draws
from lilas.evaluation.field_scores import evaluate
from lilas.models.autoencoder import make_dcae, make_vit
from lilas.models.ensemble import Ensemble
from lilas.models.methods import Backbone, Diffusion, Flow, Solver
from lilas.models.rollout import rollout
from lilas.nn.unet import UNet
from lilas.nn.vit import Transformer
from lilas.study.entries import SamplerEntry


def networks(checkpointing: bool = False) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Yields networks by name, and a batch of states or windows for each."""
    torch.manual_seed(0)
    options = {"dropout": 0.0, "checkpointing": checkpointing}
    convolutions = options | {"norm": "layer", "ffn_factor": 1, "blocks": (2, 2, 2)}
    flat = {"channels": (32, 64, 128), "attention_heads": {2: 4}, "periodic": (True, False)}
    deep = {"channels": (16, 32, 64), "periodic": (False,) * 3}
    tokens = options | {"channels": 64, "blocks": 3, "heads": 4}
    made = (
        ("autoencoder, 2-D", make_dcae(4, 8, **convolutions, **flat), (4, 64, 32)),
        ("autoencoder, 3-D", make_dcae(4, 8, **convolutions, **deep), (4, 16, 16, 16)),
        (
            "autoencoder, transformer",
            make_vit(4, 16, spatial=2, patch_size=4, **tokens),
            (4, 64, 32),
        ),
        (
            "diffusion, transformer",
            Diffusion(Backbone(Transformer(16, 8, axes=3, embedding=64, **tokens), 3, 64, True)),
            (8, 5, 16, 8),
        ),
        (
            "diffusion, UNet",
            Diffusion(
                Backbone(
                    UNet(
                        *(8, 8),
                        axes=3,
                        embedding=64,
                        channels=(32, 64),
                        blocks=(2, 2),
                        stride=(1, 2, 2),
                        **options,
                    ),
                    *(3, 64, True),
                )
            ),
            (8, 5, 16, 8),
        ),
        (
            "flow",
            Flow(
                Backbone(Transformer(16, 8, axes=3, embedding=64, **tokens), 3, 64, True),
                schedule="rectified",
            ),
            (8, 5, 16, 8),
        ),
        *(
            (
                f"ensemble, {noise}",
                Ensemble(Backbone(Transformer(16, 8, axes=3, embedding=64, **tokens), 3, 64, own)),
                (8, 5, 16, 8),
            )
            for noise, own in (("field", False), ("modulation", True))
        ),
        (
            "solver, local transformer",
            Solver(
                Backbone(
                    Transformer(16, 8, axes=3, embedding=64, attention_window=(5, 7, 7), **tokens),
                    *(3, 64, False),
                ),
                loss="vmse",
            ),
            (8, 5, 16, 8),
        ),
    )
    for name, model, shape in made:
        yield name, model, torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


def computed(model: nn.Module, x: Tensor, precision: str = "float32") -> dict[str, Tensor]:
    """Returns what a model makes of a batch, on the model's device: each by name, on the CPU.

    The loss and the gradient of all weights; of an autoencoder the latents and the states decoded
    from them; of an emulator a window of 16 steps, a rollout and its scores against the batch.
    """
    emulator = hasattr(model, "stepper")
    draws = Draws(0, range(len(x)))
    label = torch.linspace(-1, 1, 3 * len(x), device=x.device).view(len(x), 3)
    model.train().zero_grad(set_to_none=True)
    with arithmetic(precision, x.device):
        if emulator:
            mask = (torch.arange(x.shape[2], device=x.device) < 1).expand(len(x), -1)
            loss = model.loss(x, label, mask, draws)
        else:
            loss = model.loss(x, "vmse", 0.0, draws)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    found = {"loss": loss, "gradient": gradient}
    model.eval()
    with torch.no_grad(), arithmetic(precision, x.device):
        if emulator:
            sampler = SamplerEntry(algorithm="ab", order=3, steps=16)
            step = model.stepper(label, sampler, Draws(0, range(len(x))))
            made = rollout(step, x[:, :, :1], states=9, window=5, overlap=1)
            found |= {"window": made[:, :, :5], "rollout": made}
            members = found["window"].transpose(1, 2)[None].float()
            scores = evaluate(x.transpose(1, 2), members, spatial=x.ndim - 3)
            found |= {f"score {name}": scores[name] for name in ("vrmse", "mae")}
        else:
            found["latents"] = model.encode(x)
            found["states"] = model.decode(found["latents"])
    return {name: values.detach().float().cpu() for name, values in found.items()}
