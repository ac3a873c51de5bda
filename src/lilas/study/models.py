"""The sections `autoencoders`, `emulators` and `samplers` of a study."""

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from lilas.study.base import Even, Model, Name, Odd, Positive, PositiveNumber


class Train(Model):
    """One training, of an autoencoder or an emulator."""

    steps: Positive = Field(description="Optimiser steps.")
    batch_size: Positive = Field(description="States or windows per step.")
    optimizer: Literal["adam", "adamw", "psgd", "soap", "muon"] = Field(
        description="Optimiser; `muon` is Muon on matrices, AdamW on the rest."
    )
    learning_rate: float = Field(gt=0, description="Peak learning rate.")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] | None = Field(
        default=None,
        description="Momentum factors: two of adam and adamw, one of psgd, three of soap (the last "
        "is the preconditioner's) and of muon (momentum, AdamW's two); null takes the paper's.",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Weight decay; decoupled, except for adam."
    )
    precondition_every: Positive | None = Field(
        default=None,
        description="Steps between preconditioner updates, of psgd in the long run; null takes the "
        "paper's: 64 for psgd, 16 for soap.",
    )
    precondition_size: Positive = Field(
        default=4096, description="Longest axis with a full preconditioner (psgd, soap)."
    )
    schedule: Literal["cosine", "linear", "exponential", "constant"] = Field(
        default="cosine", description="Decay of the learning rate over the steps."
    )
    warmup: int = Field(default=0, ge=0, description="Steps of linear warm-up.")
    clip: float | None = Field(default=1.0, gt=0, description="Gradient norm; null is none.")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="Decay of the weights' average; 0 is no average."
    )
    validate_every: Positive = Field(description="Steps between validations.")
    validation_batches: Positive = Field(default=4, description="Batches of a validation.")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        default="float32", description="Arithmetic of the forward and backward passes."
    )
    compile: bool = Field(default=False, description="Compile the model with torch.compile.")
    threads: Positive | None = Field(
        default=None, description="CPU threads; null is all. Fixed threads give the same bits."
    )
    memory_gb: float = Field(
        default=64.0, gt=0, description="Largest training split held in memory; more is streamed."
    )

    @model_validator(mode="after")
    def _warm(self) -> "Train":
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} must be shorter than steps {self.steps}")
        return self

    @model_validator(mode="after")
    def _factors(self) -> "Train":
        needed = {"adam": 2, "adamw": 2, "psgd": 1, "soap": 3, "muon": 3}[self.optimizer]
        if self.betas is not None and len(self.betas) != needed:
            raise ValueError(f"betas {self.betas}: {self.optimizer} takes {needed}")
        return self


class Run(Model):
    """What autoencoders and emulators share: seeds, datasets, and what differs by dataset."""

    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0], min_length=1, description="One training per seed."
    )
    datasets: list[Name] | None = Field(
        default=None, description="Datasets to train on; null is every one of the study."
    )
    per_dataset: dict[Name, dict[str, Any]] = Field(
        default={}, description="Settings that replace this entry's on one dataset."
    )
    weights: Literal["last", "best"] = Field(
        default="last", description="Weights used downstream: the last, or the best validated."
    )


class Transformer(Model):
    """The transformer over space-time tokens."""

    architecture: Literal["transformer"] = Field(
        default="transformer", description="The network; the paper's, and the default."
    )
    channels: Positive = Field(description="Width.")
    blocks: Positive = Field(description="Transformer blocks.")
    heads: Positive = Field(description="Attention heads.")
    ffn_factor: Positive = Field(default=4, description="Widening of the feed-forward layers.")
    embedding: Even = Field(default=256, description="Width of time and label embeddings.")
    patch_size: list[Positive] | None = Field(
        default=None, description="Patch along each space axis; null is 1."
    )
    attention_window: list[Odd] | None = Field(
        default=None,
        description="Tokens that attention reaches along time and each space axis; null is all.",
    )
    qk_norm: bool = Field(default=True, description="RMS norm of queries and keys.")
    rope: bool = Field(default=True, description="Learned rotary positions.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout.")
    checkpointing: bool = Field(default=False, description="Trade compute for memory.")

    @model_validator(mode="after")
    def _divides(self) -> "Transformer":
        if self.channels % (2 * self.heads):
            raise ValueError(f"channels {self.channels} must divide into {self.heads} even heads")
        return self


Official = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    Field(
        description="Instead of training: the id of a released run of the paper, or the path of "
        "such a run's folder or zip, from which everything about the model is read."
    ),
]


# What a transformer autoencoder does not have, or has inside `transformer`.
DCAE_ONLY = (
    *("channels", "blocks", "kernel_size", "pixel_shuffle", "identity_init", "norm"),
    *("attention_heads", "ffn_factor", "dropout", "periodic", "checkpointing"),
)


class Autoencoder(Run):
    """An autoencoder; `identity` is pixel space, `vit` a transformer on patches."""

    official: Official = None
    architecture: Literal["dcae", "vit", "identity"] | None = Field(
        default=None, description="The network; required unless the autoencoder is official."
    )
    latent_channels: Positive | None = Field(default=None, description="Channels of the latent.")
    channels: list[Positive] = Field(default=[], description="Channels at each level of dcae.")
    blocks: list[Positive] = Field(default=[], description="Residual blocks at each level of dcae.")
    transformer: Transformer | None = Field(
        default=None, description="The transformers of vit; embedding and patch_size don't matter."
    )
    kernel_size: Odd = Field(default=3, description="Convolution kernel.")
    patch_size: Positive = Field(
        default=1, description="Patching before the first level; the whole factor of vit."
    )
    pixel_shuffle: bool = Field(
        default=True, description="Space-to-depth down and depth-to-space up; else strided."
    )
    identity_init: bool = Field(
        default=True, description="Start down- and upsampling near the identity."
    )
    norm: Literal["layer", "group"] = Field(default="layer", description="Normalisation.")
    attention_heads: dict[int, Positive] = Field(
        default={}, description="Attention heads by level; levels not named have none."
    )
    ffn_factor: Positive = Field(default=1, description="Widening inside a block.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout inside a block.")
    periodic: list[str] = Field(default=[], description="Axes padded periodically; others zero.")
    saturation: Literal["softclip", "softclip2", "tanh", "arcsinh", "rmsnorm", "none"] = Field(
        default="softclip2", description="Bound on the latent."
    )
    latent_noise: float = Field(default=0.0, ge=0, description="Noise added before decoding.")
    checkpointing: bool = Field(default=False, description="Trade compute for memory.")
    loss: Literal["mse", "mae", "vmse", "vrmse"] = Field(default="vmse", description="Loss.")
    similarity_weight: float = Field(
        default=0.0, ge=0, description="Weight of the latents' mean cosine similarity in the loss."
    )
    train: Train | None = Field(default=None, description="Training; none for identity.")

    @model_validator(mode="after")
    def _complete(self) -> "Autoencoder":
        if self.official is not None:
            _alone(self, ("architecture",))
            if self.architecture not in (None, "identity"):
                raise ValueError("architecture of an official run: leave it out, or say identity")
            return self
        if self.architecture is None:
            raise ValueError("architecture is missing; allowed: dcae, vit, identity; or official")
        if self.architecture == "identity":
            if self.train is not None or self.latent_channels is not None or self.channels:
                raise ValueError("identity takes no train, latent_channels or channels")
            if self.seeds != [0]:
                raise ValueError("identity has nothing to seed: leave seeds out")
            return self
        needed = "transformer" if self.architecture == "vit" else "channels"
        if self.latent_channels is None or not getattr(self, needed):
            raise ValueError(f"{self.architecture} needs latent_channels and {needed}")
        others = {"dcae": ("transformer",), "vit": DCAE_ONLY}[self.architecture]
        for key in self.model_dump(exclude_defaults=True):
            if key in others:
                raise ValueError(f"{key}: {self.architecture} has none; leave it out")
        if len(self.blocks) != len(self.channels):
            raise ValueError(
                f"blocks has {len(self.blocks)} levels, channels has {len(self.channels)}"
            )
        for level, heads in self.attention_heads.items():
            if level not in range(len(self.channels)) or self.channels[level] % heads:
                raise ValueError(
                    f"attention_heads {{{level}: {heads}}}: a level of {len(self.channels)}, and "
                    "heads that divide its channels"
                )
        return self

    @property
    def factor(self) -> int | None:
        """Pixels per latent point along each axis; None where an official run has yet to say."""
        if self.architecture == "identity":
            return 1
        if self.official is not None:
            return None
        return self.patch_size * 2 ** max(0, len(self.channels) - 1)


class UNet(Model):
    """The convolutional network over windows, in levels."""

    architecture: Literal["unet"] = Field(description="The network.")
    channels: list[Positive] = Field(min_length=1, description="Channels at each level.")
    blocks: list[Positive] = Field(min_length=1, description="Residual blocks at each level.")
    kernel_size: Odd = Field(default=3, description="Convolution kernel.")
    stride: list[Positive] | None = Field(
        default=None,
        description="Shrinking between levels along time and each space axis; null is 1 in time, "
        "2 in space.",
    )
    embedding: Even = Field(default=256, description="Width of time and label embeddings.")
    ffn_factor: Positive = Field(default=1, description="Widening inside a block.")
    norm: Literal["layer", "group"] = Field(default="layer", description="Normalisation.")
    attention_heads: dict[int, Positive] = Field(
        default={}, description="Attention heads by level; levels not named have none."
    )
    periodic: bool = Field(default=False, description="Periodic padding of all axes, else zeros.")
    identity_init: bool = Field(default=True, description="Start downsampling near the identity.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout inside a block.")
    checkpointing: bool = Field(default=False, description="Trade compute for memory.")

    @model_validator(mode="after")
    def _levels(self) -> "UNet":
        if len(self.blocks) != len(self.channels):
            raise ValueError(
                f"blocks has {len(self.blocks)} levels, channels has {len(self.channels)}"
            )
        for level in self.attention_heads:
            if level not in range(len(self.channels)):
                raise ValueError(f"attention_heads: level {level}, of {len(self.channels)} levels")
        return self


def _network(value: Any) -> str:
    said = value.get("architecture") if isinstance(value, dict) else None
    found = getattr(value, "architecture", said)
    return found if found == "unet" else "transformer"


Network = Annotated[
    Annotated[Transformer, Tag("transformer")] | Annotated[UNet, Tag("unet")],
    Discriminator(_network),
]


class Diffusion(Model):
    """The noise schedule and its training."""

    schedule: Literal["log_logit", "log_linear", "rectified"] = Field(
        default="log_logit", description="Noise schedule; `rectified` is rectified flow's."
    )
    sigma_min: float = Field(default=1e-3, gt=0, description="Smallest noise-to-signal ratio.")
    sigma_max: float = Field(default=1e3, gt=0, description="Largest noise-to-signal ratio.")
    logit_scale: float = Field(
        default=1.0, gt=0, description="log_logit's scale: sigma = exp(scale logit(u) + shift)."
    )
    logit_shift: float = Field(default=0.0, description="log_logit's shift.")
    prior: Literal["uniform", "beta", "kumaraswamy"] = Field(
        default="uniform", description="Distribution of the diffusion time in training."
    )
    prior_parameters: tuple[PositiveNumber, PositiveNumber] = Field(
        default=(1.0, 1.0), description="Parameters (a, b) of beta and Kumaraswamy."
    )

    @model_validator(mode="after")
    def _noise(self) -> "Diffusion":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min {self.sigma_min} must be smaller than sigma_max {self.sigma_max}"
            )
        if self.schedule != "log_logit" and (self.logit_scale, self.logit_shift) != (1, 0):
            raise ValueError(
                f"logit_scale and logit_shift belong to log_logit; {self.schedule} has none"
            )
        return self


class Emulator(Run):
    """An emulator of the latent dynamics."""

    official: Official = None
    objective: Literal["diffusion", "solver"] = Field(description="What it learns.")
    autoencoders: list[Name] = Field(min_length=1, description="Latent spaces to learn in.")
    samplers: list[Name] = Field(min_length=1, description="Samplers to roll out with.")
    network: Network | None = Field(
        default=None, description="The network; required unless the emulator is official."
    )
    window: Annotated[int, Field(ge=2)] = Field(default=5, description="States in a window.")
    context_rate: float = Field(
        default=1.0, gt=0, description="Poisson rate of the known states beyond the fewest."
    )
    context_at_least: Positive = Field(
        default=1, description="Fewest known states of a training window."
    )
    context_forward: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability that the known states are a window's first ones, else its last.",
    )
    diffusion: Diffusion = Field(default=Diffusion(), description="Noise, for diffusion.")
    loss: Literal["mse", "mae", "vmse", "vrmse"] = Field(
        default="mse", description="Loss of the solver; diffusion has its own."
    )
    train: Train | None = Field(
        default=None, description="Training; required unless the emulator is official."
    )

    @model_validator(mode="after")
    def _complete(self) -> "Emulator":
        if self.official is not None:
            _alone(self, ("objective", "autoencoders", "samplers", "window"))
        elif self.network is None:
            raise ValueError("network is missing; or name an official run")
        return self

    @model_validator(mode="after")
    def _masks(self) -> "Emulator":
        if self.context_at_least >= self.window:
            raise ValueError(
                f"context_at_least {self.context_at_least} leaves nothing unknown in a window of "
                f"{self.window} states; allowed: at most {self.window - 1}"
            )
        return self


def _alone(run: Run, allowed: tuple[str, ...]) -> None:
    """Refuses settings beside `official` that the run itself decides."""
    said = run.model_dump(exclude_defaults=True)
    for key in said:
        if key not in ("official", "datasets", "per_dataset", *allowed):
            raise ValueError(f"{key} beside official: the official run decides it; leave it out")


class Sampler(Model):
    """How a rollout is made."""

    method: Literal["ab", "eab", "ddim", "ddpm", "heun", "pc", "direct"] = Field(
        description="Sampler of the diffusion; `direct` is the solver's single evaluation."
    )
    steps: Positive = Field(
        default=16,
        description="Steps from noise to data; one of heun or pc evaluates the network twice.",
    )
    order: Positive = Field(default=3, description="Order of ab and eab.")
    context: Positive = Field(default=1, description="True states given at the start.")
    overlap: Positive = Field(default=1, description="Generated states kept as next context.")
    crop: Positive | None = Field(
        default=None, description="States kept of each window; null is the whole window."
    )
    members: Positive = Field(default=1, description="Ensemble members.")
    seed: int = Field(default=0, ge=0, description="Seed of the noise.")
    batch_size: Positive = Field(default=64, description="Windows generated at once.")

    @model_validator(mode="after")
    def _keeps_new_states(self) -> "Sampler":
        given = max(self.context, self.overlap)
        if self.crop is not None and self.crop <= given:
            raise ValueError(
                f"crop {self.crop} keeps no new state of a window that is given {given}; "
                f"allowed: at least {given + 1}"
            )
        return self


def _trained(key: str, run: Any) -> None:
    """Refuses an entry that is neither trained, nor official, nor pixel space."""
    if (
        run.train is None
        and run.official is None
        and getattr(run, "architecture", "") != "identity"
    ):
        raise ValueError(f"{key}.train is missing")
