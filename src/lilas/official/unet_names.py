"""Names of a UNet's parameters in the official code 1.1.0."""

from collections.abc import Collection, Iterator, Sequence

MODULATION = {"modulation.0": "ada_zero.0", "modulation.2": "ada_zero.2"}
CONVOLUTIONS = {"conv1": "ffn.0", "conv2": "ffn.3"}
ATTENTION = {"attention.qkv": "attn.in_proj_", "attention.out": "attn.out_proj."}


def unet_names(blocks: Sequence[int], attention_levels: Collection[int] = ()) -> dict[str, str]:
    """Returns the official name of each parameter of `lilas.nn.unet.UNet`.

    The official names begin after `backbone.backbone.` in a diffusion model, and after
    `backbone.` in a neural solver. Turned round, the mapping takes official weights to ours.

    Args:
        blocks: Residual blocks at each level.
        attention_levels: Levels whose blocks have attention.
    """
    top = len(blocks) - 1
    layers = {"first": "descent.0.0", "last": f"ascent.{top}.{blocks[0] + bool(top)}"}
    for level in range(top):
        layers[f"down.{level}"] = f"descent.{level + 1}.0"
        layers[f"merge.{level}"] = f"ascent.{top - level}.0"
    names: dict[str, str] = {}
    for ours, theirs, level in _blocks(blocks):
        layers |= {f"{ours}.{a}": f"{theirs}.{b}" for a, b in (MODULATION | CONVOLUTIONS).items()}
        if level in attention_levels:
            for kind in ("weight", "bias"):
                names |= {f"{ours}.{a}.{kind}": f"{theirs}.{b}{kind}" for a, b in ATTENTION.items()}
    for ours, theirs in layers.items():
        names |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
    return names


def unet_constants(blocks: Sequence[int], norm: str = "layer") -> list[str]:
    """Returns the official names of the constants in the weights: the eps of every `layer` norm.

    Each is a scalar, 1e-5; `group` norms have none.
    """
    return [f"{theirs}.norm.eps" for _, theirs, _ in _blocks(blocks) if norm == "layer"]


def _blocks(blocks: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Yields the name, official name and level of every block.

    The official code counts the levels up from the coarsest; each level's list of layers begins
    with a convolution, but for the coarsest on the way up.
    """
    top = len(blocks) - 1
    for level, depth in enumerate(blocks):
        for i in range(depth):
            yield f"descent.{level}.{i}", f"descent.{level}.{i + 1}", level
            yield f"ascent.{level}.{i}", f"ascent.{top - level}.{i + (level < top)}", level
