"""The configuration: what a study is, as frozen models that refuse what they do not know.

A study is datasets x autoencoders x emulators x samplers, written as data in one YAML file. The
models here check it before any job is planned; inside the library, plain arguments travel. This
module imports neither torch nor Snakemake, so that reading a study takes milliseconds.
"""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from lilas.errors import LilasError

SPLITS = ("train", "valid", "test")

# What the systems that LILAS simulates have: fields with their components, axes, parameters.
COMPONENTS = {"rayleigh_benard": {"buoyancy": 1, "pressure": 1, "velocity": 2}}
AXES = {"rayleigh_benard": ["x", "y"]}
PARAMETERS = {"rayleigh_benard": ["Rayleigh", "Prandtl"]}
# Folders of a study's results that no dataset may be named after.
RESERVED = ("tables", "figures", "logs", "benchmarks")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Positive = Annotated[int, Field(gt=0)]
PositiveNumber = Annotated[float, Field(gt=0)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"{number} is even: it has no centre")
    return number


Odd = Annotated[int, Field(gt=0), AfterValidator(_odd)]
Even = Annotated[int, Field(gt=0, multiple_of=2)]


# --- Datasets ---------------------------------------------------------------------------------


class Counts(Model):
    """Numbers of trajectories in the three splits, for each combination of parameters."""

    train: Positive = Field(description="Trajectories to train on.")
    valid: Positive = Field(description="Trajectories to validate on while training.")
    test: Positive = Field(description="Trajectories that only the evaluation sees.")


class Simulate(Model):
    """A dataset that LILAS simulates itself: two-dimensional Rayleigh-Bénard convection.

    One file per Rayleigh number and split holds every Prandtl number.
    """

    kind: Literal["simulate"] = Field(description="LILAS simulates it.")
    system: Literal["rayleigh_benard"] = Field(description="The equations to solve.")
    rayleigh: list[float] = Field(min_length=1, description="Rayleigh numbers.")
    prandtl: list[float] = Field(min_length=1, description="Prandtl numbers.")
    trajectories: Counts = Field(description="Trajectories per pair of parameters and split.")
    size: tuple[Positive, Positive] = Field(description="Grid points along x and y.")
    time_step: float = Field(gt=0, description="Solver time step, in free-fall times.")
    start: float = Field(ge=0, description="Time of the first state that is kept.")
    interval: float = Field(gt=0, description="Time between states.")
    steps: Positive = Field(description="States per trajectory.")
    seed: int = Field(ge=0, description="Seed of the initial perturbations.")

    @property
    def folder(self) -> str:
        """The data folder's name: a hash of everything that decides the numbers."""
        return f"simulate-{fingerprint(self.model_dump(mode='json'))[:8]}"


class Well(Model):
    """A dataset of The Well, downloaded file by file from the_well's own registry."""

    kind: Literal["well"] = Field(description="The Well has it.")
    name: str = Field(description="Name in The Well's registry.")
    size: list[Positive] = Field(description="Grid points along each axis; files must agree.")
    steps: Positive = Field(description="States per trajectory; files must agree.")
    channels: Positive = Field(description="Channels of the fields used; files must agree.")
    include: list[str] = Field(
        default=[], description="Keep only files whose name contains one of these; [] keeps all."
    )


class Folder(Model):
    """A dataset that lies on disk in The Well's layout, read in place."""

    kind: Literal["path"] = Field(description="It lies on disk.")
    path: str = Field(description="Folder that holds data/{train,valid,test}/*.hdf5.")
    include: list[str] = Field(
        default=[], description="Keep only files whose name contains one of these; [] keeps all."
    )


class Transform(Model):
    """A field's transform before it is standardised: log(x + offset)."""

    kind: Literal["log"] = Field(description="The transform.")
    offset: float = Field(ge=0, description="Added to the field before the logarithm.")


class States(Model):
    """What a state is: which fields, how transformed."""

    fields: list[str] = Field(min_length=1, description="Fields, in channel order.")
    transform: dict[str, Transform] = Field(
        default={}, description="Transform by field; fields not named are only standardised."
    )

    @model_validator(mode="after")
    def _known_fields(self) -> "States":
        for name in self.transform:
            if name not in self.fields:
                raise ValueError(f"transform names {name!r}, which is not in fields {self.fields}")
        return self


class Augment(Model):
    """The symmetries of the flow that augment the training data."""

    flip: list[str] = Field(default=[], description="Axes to flip at random.")
    roll: list[str] = Field(default=[], description="Periodic axes to roll at random.")
    permute: bool = Field(default=False, description="Permute the axes at random.")
    copies: Positive = Field(
        default=1, description="Augmented encodings of each training trajectory; 1 is none."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the augmented encodings.")


class Evaluation(Model):
    """What the test split is asked."""

    start: int = Field(ge=0, description="Step at which rollouts start (the last context state).")
    horizons: list[tuple[Positive, Positive]] = Field(
        min_length=1, description="Lead times averaged together: [first, last], in solver steps."
    )
    trajectories: Positive | None = Field(
        default=None, description="Test trajectories, drawn with `seed`; null is all of them."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draw of test trajectories.")
    physics: Literal["convection", "gas"] | None = Field(
        default=None,
        description="Laws that the states obey, and are scored by: `convection` of Rayleigh-Bénard "
        "in free-fall units, `gas` of an ideal gas; null is none.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Evaluation":
        for first, last in self.horizons:
            if last < first:
                raise ValueError(f"horizon [{first}, {last}] ends before it begins")
        return self

    @property
    def last(self) -> int:
        """The longest lead time, in solver steps."""
        return max(last for _, last in self.horizons)


class Dataset(Model):
    """One dataset: where it comes from and how it enters the models."""

    source: Annotated[Simulate | Well | Folder, Field(discriminator="kind")] = Field(
        description="Where the data come from: simulate, well or path."
    )
    states: States = Field(description="What a state is.")
    label: dict[str, Literal["log", "none"]] = Field(
        default={}, description="Transform of each parameter in the label; others stay raw."
    )
    augment: Augment = Field(default=Augment(), description="Augmentation.")
    stride: Positive = Field(default=1, description="Solver steps between the states of a window.")
    evaluation: Evaluation = Field(description="Rollout start and horizons.")


# --- Training ---------------------------------------------------------------------------------


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


# --- The study --------------------------------------------------------------------------------


class Figures(Model):
    """How figures look; nothing here changes a number."""

    trajectories: Positive = Field(default=1, description="Test trajectories drawn and shown.")
    lead_times: list[Positive] | None = Field(
        default=None, description="Lead times of the panels; null spaces five over the rollout."
    )
    dpi: Positive = Field(default=120, description="Resolution of bitmaps.")


class Study(Model):
    """A study: datasets x autoencoders x emulators x samplers."""

    datasets: dict[Name, Dataset] = Field(min_length=1, description="Datasets by name.")
    autoencoders: dict[Name, Autoencoder] = Field(min_length=1, description="Autoencoders.")
    emulators: dict[Name, Emulator] = Field(min_length=1, description="Emulators.")
    samplers: dict[Name, Sampler] = Field(min_length=1, description="Samplers.")
    figures: Figures = Field(default=Figures(), description="Figures.")

    @model_validator(mode="after")
    def _references(self) -> "Study":
        for kind in ("autoencoders", "emulators"):
            for name, run in getattr(self, kind).items():
                _trained(f"{kind}.{name}", run)
                for key in ("datasets", "per_dataset"):
                    _known(f"{kind}.{name}.{key}", getattr(run, key) or [], self.datasets)
                for dataset in run.per_dataset:
                    resolved = self.resolve(kind, name, dataset)
                    _trained(f"{kind}.{name}.per_dataset.{dataset}", resolved)
                    if (resolved.official is None) != (run.official is None):
                        raise ValueError(
                            f"{kind}.{name}.per_dataset.{dataset}.official: an entry is trained "
                            "on every dataset or on none; make it two entries"
                        )
        for dataset, entry in self.datasets.items():
            if dataset in RESERVED:
                raise ValueError(f"datasets.{dataset}: this name is taken by a folder of results")
            here = {name for name, _ in self.runs("autoencoders", dataset)}
            for name in dict.fromkeys(name for name, _ in self.runs("emulators", dataset)):
                emulator = self.resolve("emulators", name, dataset)
                _known(f"emulators.{name}.autoencoders", emulator.autoencoders, self.autoencoders)
                _known(f"emulators.{name}.samplers", emulator.samplers, self.samplers)
                if not here & set(emulator.autoencoders):
                    raise ValueError(
                        f"emulators.{name}.autoencoders: none is trained on {dataset}; "
                        f"allowed: {', '.join(sorted(here))}"
                    )
                for sampler in emulator.samplers:
                    _sampler_fits(name, emulator, sampler, self.samplers[sampler], entry)
            self._check_horizons(dataset, entry)
            if (found := _extent(dataset, entry)) is not None:
                self.check_extent(dataset, *found)
            if isinstance(entry.source, Simulate):
                system = entry.source.system
                self.check_names(dataset, AXES[system], PARAMETERS[system])
        return self

    def resolve(self, kind: str, name: str, dataset: str) -> Any:
        """Returns the autoencoder or emulator `name` as `dataset` has it."""
        run = getattr(self, kind)[name]
        merged = _merge(run.model_dump(mode="json"), run.per_dataset.get(dataset, {}))
        merged["per_dataset"] = {}
        try:
            return type(run)(**merged)
        except ValidationError as error:
            where = f"{kind}.{name}.per_dataset.{dataset}"
            raise ValueError(describe(error, type(run), where)) from None

    def runs(self, kind: str, dataset: str) -> list[tuple[str, int]]:
        """Returns the (name, seed) of every autoencoder or emulator trained on `dataset`."""
        return [
            (name, seed)
            for name, run in getattr(self, kind).items()
            if run.datasets is None or dataset in run.datasets
            for seed in self.resolve(kind, name, dataset).seeds
        ]

    @staticmethod
    def _check_horizons(dataset: str, entry: Dataset) -> None:
        for first, last in entry.evaluation.horizons:
            if last // entry.stride * entry.stride < first:
                raise ValueError(
                    f"datasets.{dataset}.evaluation: horizon [{first}, {last}] holds no lead time; "
                    f"with stride {entry.stride} they are the multiples of {entry.stride}"
                )

    def check_names(self, dataset: str, axes: list[str], parameters: list[str]) -> None:
        """Refuses axes and parameters that the data do not have."""
        entry, where = self.datasets[dataset], f"datasets.{dataset}"
        _known(f"{where}.label", entry.label, parameters)
        for key in ("flip", "roll"):
            _known(f"{where}.augment.{key}", getattr(entry.augment, key), axes)
        for name, _ in self.runs("autoencoders", dataset):
            periodic = self.resolve("autoencoders", name, dataset).periodic
            _known(f"autoencoders.{name}.periodic", periodic, axes)

    def check_extent(self, dataset: str, size: list[int], steps: int, channels: int) -> None:
        """Refuses what cannot fit the data: windows, horizons and latents that are too large."""
        entry = self.datasets[dataset]
        where = f"datasets.{dataset}"
        last = entry.evaluation.start + entry.evaluation.last
        if last >= steps:
            raise ValueError(
                f"{where}.evaluation: start {entry.evaluation.start} + lead time "
                f"{entry.evaluation.last} is step {last}; a trajectory has {steps} steps, "
                f"so at most {steps - 1}"
            )
        for name, _ in self.runs("emulators", dataset):
            window = self.resolve("emulators", name, dataset).window
            if (window - 1) * entry.stride >= steps:
                raise ValueError(
                    f"{where}.stride {entry.stride}: a window of {window} states spans "
                    f"{(window - 1) * entry.stride + 1} steps, longer than a trajectory of "
                    f"{steps}; allowed: at most {(steps - 1) // (window - 1)}"
                )
        for name, _ in self.runs("autoencoders", dataset):
            run = self.resolve("autoencoders", name, dataset)
            if run.factor is None:
                continue
            for points in size:
                if points % run.factor:
                    raise ValueError(
                        f"autoencoders.{name}: each axis shrinks by {run.factor}, which does not "
                        f"divide the {points} points of {dataset}"
                    )
            pixels = channels * run.factor ** len(size)
            if run.latent_channels and run.latent_channels > pixels:
                raise ValueError(
                    f"autoencoders.{name}.latent_channels {run.latent_channels}: wider than the "
                    f"pixels of {dataset}; allowed: at most {pixels} ({channels} channels x "
                    f"{run.factor}^{len(size)} pixels)"
                )


class Task(Model):
    """A job's own slice of the configuration: what its stage needs, and nothing else."""

    source: Simulate | None = None
    states: States | None = None
    label: dict[str, Literal["log", "none"]] | None = None
    augment: Augment | None = None
    stride: int | None = None
    evaluation: Evaluation | None = None
    autoencoder: Autoencoder | None = None
    emulator: Emulator | None = None
    official: dict[str, Any] | None = None
    sampler: Sampler | None = None
    horizons: dict[str, list[tuple[int, int]]] | None = None
    sources: dict[str, str] = Field(default={}, description="What data each dataset holds.")
    published: dict[str, str] = Field(default={}, description="Datasets of the paper.")
    figures: Figures | None = None
    seed: int | None = None
    names: dict[str, str] = Field(default={}, description="The job's dataset, autoencoder, ...")

    def record(self) -> dict[str, Any]:
        """Returns the slice as plain values, for provenance.

        Values left at their default are left out: a key that a later version adds, with a default
        that changes nothing, is no reason to train again.
        """
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


class Config(Model):
    """`config.yaml`: which study to run, and where data and results live."""

    study: str = Field(
        default="demo", description="Name of a file in workflow/studies, or a path to your own."
    )
    data: str = Field(default="results/data", description="Folder of the data.")
    results: str = Field(default="results", description="Folder of the results.")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?|mps)$",
        description="cpu, cuda, cuda:N, mps, or auto: the best that is there.",
    )
    checkpoint_seconds: float = Field(
        default=60.0, ge=0, description="Time between checkpoints; 0 saves one whenever it logs."
    )


def _trained(key: str, run: Any) -> None:
    """Refuses an entry that is neither trained, nor official, nor pixel space."""
    if (
        run.train is None
        and run.official is None
        and getattr(run, "architecture", "") != "identity"
    ):
        raise ValueError(f"{key}.train is missing")


def _known(key: str, names: Any, allowed: Any) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{key}: unknown {name!r}; allowed: {', '.join(allowed)}")


def _sampler_fits(
    name: str, emulator: Emulator, key: str, sampler: Sampler, dataset: Dataset
) -> None:
    needed = (sampler.context - 1) * dataset.stride
    if needed > dataset.evaluation.start:
        raise ValueError(
            f"samplers.{key}.context {sampler.context}: its states begin {needed} steps before "
            f"evaluation.start, which is {dataset.evaluation.start}; start at {needed} or later"
        )
    direct = sampler.method == "direct"
    if direct != (emulator.objective == "solver"):
        fit = "direct" if emulator.objective == "solver" else "any but direct"
        raise ValueError(
            f"emulators.{name}.samplers: {key!r} has method {sampler.method!r}; "
            f"allowed for objective {emulator.objective!r}: {fit}"
        )
    if direct and sampler.members > 1:
        raise ValueError(f"samplers.{key}.members: a solver is deterministic; allowed: 1")
    for part in ("context", "overlap"):
        if getattr(sampler, part) >= emulator.window:
            raise ValueError(
                f"samplers.{key}.{part} {getattr(sampler, part)}: emulator {name!r} has windows "
                f"of {emulator.window} states; allowed: at most {emulator.window - 1}"
            )
    if sampler.crop is not None and sampler.crop > emulator.window:
        raise ValueError(
            f"samplers.{key}.crop {sampler.crop}: emulator {name!r} has windows of "
            f"{emulator.window} states; allowed: at most {emulator.window}"
        )


def _extent(dataset: str, entry: Dataset) -> tuple[list[int], int, int] | None:
    """Returns (grid points, steps, channels) where the configuration alone knows them."""
    source = entry.source
    if isinstance(source, Simulate):
        components = COMPONENTS[source.system]
        _known(f"datasets.{dataset}.states.fields", entry.states.fields, components)
        channels = sum(components[field] for field in entry.states.fields)
        return list(source.size), source.steps, channels
    if isinstance(source, Well):
        return list(source.size), source.steps, source.channels
    return None


def _merge(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in update.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


# --- Reading ----------------------------------------------------------------------------------


def fingerprint(value: Any) -> str:
    """Returns the SHA-256 of a JSON value, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_config(values: dict[str, Any]) -> Config:
    """Returns the validated `config.yaml`.

    Raises:
        LilasError: a key is unknown or a value not allowed.
    """
    try:
        return Config(**values)
    except ValidationError as error:
        raise LilasError(f"config.yaml: {describe(error, Config)}") from None


def study_path(study: str, folder: Path) -> Path:
    """Returns the file of a study: one of `folder` by name, or the user's own path.

    Raises:
        LilasError: there is no such study.
    """
    path = Path(study) if study.endswith((".yaml", ".yml")) else folder / f"{study}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        raise LilasError(
            f"config.yaml: study {study!r} not found; allowed: {', '.join(names)}, "
            "or the path of a .yaml file"
        )
    return path


def read_study(path: str | Path) -> Study:
    """Returns the validated study in a YAML file.

    Raises:
        LilasError: the file is not YAML, a key is unknown, or a value is not allowed.
    """
    try:
        text = Path(path).read_text()
        values = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise LilasError(f"{path}: cannot be read as YAML: {error}") from None
    _refuse_repeated(path, yaml.compose(text, yaml.SafeLoader))
    if not isinstance(values, dict):
        raise LilasError(f"{path}: a study is a mapping with keys {', '.join(Study.model_fields)}")
    try:
        return Study(**_numbers(values))
    except ValidationError as error:
        raise LilasError(f"{path}: {describe(error, Study)}") from None


def _refuse_repeated(path: str | Path, node: yaml.Node | None) -> None:
    """Refuses a mapping that has a key twice, of which YAML would keep the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise LilasError(f"{path}: line {line} has the key {key.value!r} a second time")
            seen.add(key.value)
            _refuse_repeated(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated(path, item)


def _numbers(value: Any) -> Any:
    """Reads 1e5 as the number that its author meant; YAML 1.1 reads it as a string."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and value[:1] in "0123456789.-+":
        try:
            return float(value)
        except ValueError:
            return value
    return value


# Which of several models a value is, where the models share a key.
TAGS = ("simulate", "well", "path", "transformer", "unet")


def describe(error: ValidationError, model: type[Model], where: str = "") -> str:
    """Returns the first finding of a validation in one line: the key, and what it may be."""
    finding = error.errors(include_url=False)[0]
    # Which of several models a key was read as is no part of its name.
    steps = [
        str(step)
        for before, step in zip((None, *finding["loc"]), finding["loc"], strict=False)
        if before not in ("source", "network") or step not in TAGS
    ]
    key = ".".join(([where] if where else []) + steps)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if finding["type"] == "extra_forbidden":
        allowed = _allowed(model, finding["loc"][:-1])
        near = difflib.get_close_matches(str(finding["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}: unknown key{hint} Allowed: {', '.join(allowed)}{more}"
    message = finding["msg"].removeprefix("Value error, ")
    if finding["type"] == "value_error":
        return f"{key}: {message}{more}" if key else f"{message}{more}"
    return f"{key}: {message}, found {finding.get('input')!r}{more}"


def _allowed(model: Any, location: tuple[Any, ...]) -> list[str]:
    """Returns the keys of the model at a location inside `model`."""

    def models(annotation: Any) -> list[type[Model]]:
        if isinstance(annotation, type) and issubclass(annotation, Model):
            return [annotation]
        return [found for part in get_args(annotation) for found in models(part)]

    candidates, named = [model], False
    for step in location:
        if named:
            named = False  # a name that the author of the study gave
            continue
        tagged = [
            m
            for m in candidates
            for tag in ("kind", "architecture")
            if tag in m.model_fields and step in get_args(m.model_fields[tag].annotation)
        ]
        if len(candidates) > 1 and tagged:
            candidates = tagged
            continue
        fields = [m.model_fields[step] for m in candidates if step in m.model_fields]
        named = any(get_origin(field.annotation) is dict for field in fields)
        candidates = [m for field in fields for m in models(field.annotation)] or candidates
    return sorted({key for m in candidates for key in m.model_fields})
