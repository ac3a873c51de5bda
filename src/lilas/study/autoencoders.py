"""What an autoencoder is: settings of each architecture."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lilas.settings import Model
from lilas.settings.values import Distinct, Kernel, PathText, Text, Width
from lilas.study.networks import TokenSettings, check_norm
from lilas.study.training import Train


class AutoencoderSettings(Model):
    """What an autoencoder of any architecture declares.

    Its implementation takes the settings, the channels of a state and the names of its space axes,
    and returns a `lilas.models.autoencoder.Autoencoder`.
    """

    implementation: ClassVar[str]
    # The settings that decide the factor.
    shrinking: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def factor(self) -> int | None:
        """Pixels per latent point along each axis; None where a given model has yet to say."""

    @property
    def named_axes(self) -> list[str]:
        """Space axes that the settings name."""
        return []

    @property
    def is_pixel_space(self) -> bool:
        """Whether every latent is its state."""
        return False


class TrainedAutoencoder(AutoencoderSettings):
    """What the trained architectures have in common."""

    latent_channels: Width = Field(description="Channels of the latent.")
    saturation: Literal["softclip", "softclip2", "tanh", "arcsinh", "rmsnorm", "none"] = Field(
        default="softclip2", description="Bound on the latent."
    )
    latent_noise: float = Field(
        default=0.0, ge=0, le=100, description="Noise added before decoding."
    )
    loss: Literal["mse", "mae", "vmse", "vrmse"] = Field(default="vmse", description="Loss.")
    similarity_weight: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="Weight of the latents' mean cosine similarity in the loss.",
    )
    train: Train | None = Field(
        default=None, description="Training; required where it is trained here."
    )

    @model_validator(mode="after")
    def _pairs(self) -> "TrainedAutoencoder":
        if not self.similarity_weight or self.train is None:
            return self
        told = f"similarity_weight {self.similarity_weight:g} is of pairs of states in a batch, and"
        if self.train.batch_size < 2:
            raise ValueError(f"{told} train.batch_size is 1; allowed: 0, or batches of at least 2")
        if self.train.micro_batch not in (None, self.train.batch_size):
            raise ValueError(
                f"{told} train.micro_batch takes it apart; allowed: 0, or micro_batch: null"
            )
        return self

    def options(self) -> dict[str, Any]:
        """Returns the settings that are of the network, by name."""
        trained = {"architecture", "loss", "similarity_weight", "train"}
        return {name: getattr(self, name) for name in type(self).model_fields.keys() - trained}


class DCAESettings(TrainedAutoencoder):
    """The paper's convolutional autoencoder."""

    architecture: Literal["dcae"] = Field(description="The network.")
    channels: list[Width] = Field(min_length=1, description="Channels at each level.")
    blocks: list[Width] = Field(description="Residual blocks at each level.")
    kernel_size: Kernel = Field(default=3, description="Convolution kernel.")
    patch_size: Width = Field(default=1, description="Patching before the first level.")
    pixel_shuffle: bool = Field(
        default=True, description="Space-to-depth down and depth-to-space up; else strided."
    )
    identity_init: bool = Field(
        default=True, description="Start down- and upsampling near the identity."
    )
    norm: Literal["layer", "group"] = Field(default="layer", description="Normalisation.")
    attention_heads: dict[int, Width] = Field(
        default={}, description="Attention heads by level; levels not named have none."
    )
    ffn_factor: Width = Field(default=1, description="Widening inside a block.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout inside a block.")
    periodic: Distinct[Text] = Field(
        default=[], description="Axes padded periodically; others zero."
    )
    checkpointing: bool = Field(default=False, description="Trade compute for memory.")

    implementation: ClassVar = "lilas.models.build:from_dcae"
    shrinking: ClassVar = ("channels", "patch_size")

    @model_validator(mode="after")
    def _levels(self) -> "DCAESettings":
        if len(self.blocks) != len(self.channels):
            raise ValueError(
                f"blocks has {len(self.blocks)} levels, channels has {len(self.channels)}; "
                "allowed: as many in both"
            )
        for level, heads in self.attention_heads.items():
            if level not in range(len(self.channels)) or self.channels[level] % heads:
                raise ValueError(
                    f"attention_heads {{{level}: {heads}}}: a level of {len(self.channels)}, and "
                    "heads that divide its channels"
                )
        check_norm(self.channels, self.norm)
        if self.train is not None and self.train.optimizer == "muon" and not self.attention_heads:
            raise ValueError(
                "train.optimizer muon trains matrices, and here are only convolutions; allowed: "
                "another optimizer, or attention_heads"
            )
        return self

    @property
    def factor(self) -> int:
        """Pixels per latent point along each axis."""
        return self.patch_size * 2 ** (len(self.channels) - 1)

    @property
    def named_axes(self) -> list[str]:
        """Axes that are padded periodically."""
        return self.periodic


class ViTSettings(TrainedAutoencoder):
    """An autoencoder of two transformers on patches."""

    architecture: Literal["vit"] = Field(description="The network.")
    transformer: TokenSettings = Field(description="Both transformers.")
    patch_size: Width = Field(default=1, description="Pixels per token along each axis.")

    implementation: ClassVar = "lilas.models.build:from_vit"
    shrinking: ClassVar = ("patch_size",)

    @property
    def factor(self) -> int:
        """Pixels per latent point along each axis."""
        return self.patch_size


class IdentitySettings(AutoencoderSettings):
    """Pixel space: every latent is its state."""

    architecture: Literal["identity"] = Field(description="No network.")

    implementation: ClassVar = "lilas.models.build:from_identity"

    @property
    def factor(self) -> int:
        """Pixels per latent point along each axis."""
        return 1

    @property
    def is_pixel_space(self) -> bool:
        """Whether every latent is its state."""
        return True


class GivenAutoencoder(AutoencoderSettings):
    """An autoencoder whose weights are taken as they are, which decide everything about it.

    With `architecture: identity` it is pixel space, with the statistics of that model.
    """

    model: PathText = Field(
        min_length=1,
        description="Whose weights are taken: the folder of a bundle or of a run, or a file of "
        "weights, that LILAS wrote; the id of a released run of the paper, or the folder or zip of "
        "such a run.",
    )
    architecture: Literal["identity"] | None = Field(
        default=None, description="`identity` for the statistics of a pixel-space model alone."
    )

    @property
    def factor(self) -> int | None:
        """Pixels per latent point along each axis; None where the weights have yet to say."""
        return 1 if self.is_pixel_space else None

    @property
    def is_pixel_space(self) -> bool:
        """Whether every latent is its state."""
        return self.architecture == "identity"


# Those of LILAS; plug-ins add theirs.
OURS = (DCAESettings, ViTSettings, IdentitySettings)
