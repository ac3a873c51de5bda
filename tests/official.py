"""The official code's outputs on small seeded models, and its state in our modules' names."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

DATA = Path(__file__).parent / "data" / "lola_1.1.0"


class Run:
    """A run folder as the official trainers write it, with what its model computes."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
        self.state: dict[str, Tensor] = torch.load(folder / "state.pth", weights_only=True)
        with np.load(folder / "expected.npz") as arrays:
            self.expected = {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def runs(kind: str) -> list[Path]:
    return sorted((DATA / "runs" / kind).iterdir())


def relative_error(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def autoencoder_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official names count layers by level; ours count them through."""
    renamed: dict[str, Tensor] = {}
    for part, inside in (("encoder", "descent"), ("decoder", "ascent")):
        prefix = f"{part}.{inside}."
        keys = [key.removeprefix(prefix).split(".") for key in state if key.startswith(prefix)]
        places = list(dict.fromkeys((int(level), int(index)) for level, index, *_ in keys))
        for level, index, *rest in keys:
            place = places.index((int(level), int(index)))
            name = ".".join(rest)
            if name == "norm.eps":
                continue
            if rest[0] in ("0", "1"):
                name = f"conv.{rest[1]}"
            elif len(rest) == 1 and part == "encoder" and level != "0" and index == "0":
                name = f"conv.{name}"
            for old, new in (
                ("ffn.0.", "conv1."),
                ("ffn.3.", "conv2."),
                ("attn.0.in_proj_", "attention.qkv."),
                ("attn.0.out_proj.", "attention.out."),
            ):
                name = name.replace(old, new)
            renamed[f"{part}.layers.{place}.{name}"] = state[
                prefix + ".".join([level, index, *rest])
            ]
    return renamed


def emulator_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official names of transformer and embeddings in ours."""
    renamed = {}
    for key, value in state.items():
        if key.endswith("freqs"):
            continue
        name = key.removeprefix("backbone.").removeprefix("backbone.")
        for old, new in (
            ("in_proj.", "transformer.embed."),
            ("out_proj.", "transformer.project."),
            ("positional_embedding.2.", "transformer.position."),
            ("blocks.", "transformer.blocks."),
            ("ada_zero.", "modulation."),
            ("msa.qkv_proj.", "attention.qkv."),
            ("msa.y_proj.", "attention.out."),
            ("time_embedding.1.", "noise.0."),
            ("time_embedding.3.", "noise.2."),
            ("label_embedding.", "label."),
        ):
            name = name.replace(old, new)
        renamed[name] = value
    return renamed
