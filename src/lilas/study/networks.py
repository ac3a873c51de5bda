"""Settings of the networks that emulators learn with."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from lilas.settings import Model, choice
from lilas.settings.values import Even, Kernel, Odd, Positive, Width


def check_norm(channels: Sequence[int], norm: str) -> None:
    """Refuses a normalisation of so many channels at each level, as `lilas.nn.layers` has it.

    Raises:
        ValueError: which level, and what is allowed.
    """
    for level, count in enumerate(channels):
        if norm == "layer" and count == 1:
            raise ValueError(
                f"channels {count} at level {level}: norm layer has nothing to compare; "
                "allowed: at least 2"
            )
        if norm == "group" and count > 16 and count % 16:
            raise ValueError(
                f"channels {count} at level {level}: norm group is of less than 16 or a multiple "
                "of 16; allowed: such channels, or norm layer"
            )


class TokenSettings(Model):
    """What all transformers have."""

    channels: Width = Field(description="Width.")
    blocks: Width = Field(description="Transformer blocks.")
    heads: Width = Field(description="Attention heads.")
    ffn_factor: Width = Field(default=4, description="Widening of the feed-forward layers.")
    attention_window: list[Odd] | None = Field(
        default=None,
        description="Tokens that attention reaches along time and each space axis; null is all.",
    )
    qk_norm: bool = Field(default=True, description="RMS norm of queries and keys.")
    rope: bool = Field(default=True, description="Learned rotary positions.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout.")
    checkpointing: bool = Field(default=False, description="Trade compute for memory.")

    @model_validator(mode="after")
    def _divides(self) -> "TokenSettings":
        if self.channels % (2 * self.heads):
            raise ValueError(f"channels {self.channels} must divide into {self.heads} even heads")
        return self


class TransformerSettings(TokenSettings):
    """The transformer over space-time tokens."""

    architecture: Literal["transformer"] = Field(
        default="transformer", description="The network; the paper's, and the default."
    )
    embedding: Even = Field(default=256, description="Width of time and label embeddings.")
    patch_size: list[Positive] | None = Field(
        default=None, description="Patch along each space axis; null is 1."
    )


class UNetSettings(Model):
    """The convolutional network over windows, in levels."""

    architecture: Literal["unet"] = Field(description="The network.")
    channels: list[Width] = Field(min_length=1, description="Channels at each level.")
    blocks: list[Width] = Field(min_length=1, description="Residual blocks at each level.")
    kernel_size: Kernel = Field(default=3, description="Convolution kernel.")
    stride: list[Positive] | None = Field(
        default=None,
        description="Shrinking between levels along time and each space axis; null is 1 in time, "
        "2 in space.",
    )
    embedding: Even = Field(default=256, description="Width of time and label embeddings.")
    ffn_factor: Width = Field(default=1, description="Widening inside a block.")
    norm: Literal["layer", "group"] = Field(default="layer", description="Normalisation.")
    attention_heads: dict[int, Width] = Field(
        default={}, description="Attention heads by level; levels not named have none."
    )
    periodic: bool = Field(default=False, description="Periodic padding of all axes, else zeros.")
    identity_init: bool = Field(default=True, description="Start downsampling near the identity.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout inside a block.")
    checkpointing: bool = Field(default=False, description="Trade compute for memory.")

    @model_validator(mode="after")
    def _levels(self) -> "UNetSettings":
        if len(self.blocks) != len(self.channels):
            raise ValueError(
                f"blocks has {len(self.blocks)} levels, channels has {len(self.channels)}; "
                "allowed: as many in both"
            )
        for level, heads in self.attention_heads.items():
            if level not in range(len(self.channels)):
                raise ValueError(f"attention_heads: level {level}, of {len(self.channels)} levels")
            if self.channels[level] % heads:
                raise ValueError(
                    f"attention_heads {{{level}: {heads}}}: they must divide the level's "
                    f"{self.channels[level]} channels"
                )
        check_norm(self.channels, self.norm)
        return self


Network = choice([TransformerSettings, UNetSettings], "architecture", default="transformer")
