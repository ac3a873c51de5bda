"""Settings of a training, of an autoencoder or an emulator."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lilas.settings import Model
from lilas.settings.values import Natural, Positive, PositiveNumber
from lilas.study.starts import Start

# Optimisers with a preconditioner.
PRECONDITIONED = ("psgd", "soap")


class Budget(Model):
    """How long a training is, if not by its steps: one of `hours` and `flops`."""

    hours: PositiveNumber | None = Field(
        default=None, description="Wall time of the steps; validations and checkpoints are apart."
    )
    flops: PositiveNumber | None = Field(
        default=None,
        description="Floating-point operations of losses and their gradients; they are counted "
        "once, and make a number of steps.",
    )

    @model_validator(mode="after")
    def _one(self) -> "Budget":
        if (self.hours is None) == (self.flops is None):
            found = "none" if self.hours is None else "both"
            raise ValueError(f"expected one of hours and flops, found {found}")
        return self


class Train(Model):
    """One training, of an autoencoder or an emulator, of so many `steps` or of a `budget`."""

    steps: Positive | None = Field(default=None, description="Optimiser steps.")
    budget: Budget | None = Field(
        default=None,
        description="Takes the place of steps; the schedule follows the share of it that is used.",
    )
    batch_size: Positive = Field(description="States or windows per step.")
    micro_batch: Positive | None = Field(
        default=None,
        description="Of these, how many are in memory for a forward and backward pass; null is all "
        "that a process has of them.",
    )
    optimizer: Literal["adam", "adamw", "psgd", "soap", "muon"] = Field(
        description="Optimiser; `muon` is Muon on matrices, AdamW on the rest."
    )
    learning_rate: float = Field(gt=0, le=1, description="Peak learning rate.")
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
    warmup: Natural = Field(default=0, description="Steps of linear warm-up.")
    clip: PositiveNumber | None = Field(default=1.0, description="Gradient norm; null is none.")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="Decay of the weights' average; 0 is no average."
    )
    validate_every: Positive = Field(description="Steps between validations.")
    validation_batches: Positive = Field(default=4, description="Batches of a validation.")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        default="float32", description="Arithmetic of the forward and backward passes."
    )
    compile: bool = Field(default=False, description="Compile the model with torch.compile.")
    threads: Annotated[int, Field(gt=0, le=4096)] | None = Field(
        default=None, description="CPU threads; null is all. Fixed threads give the same bits."
    )
    memory_gb: PositiveNumber = Field(
        default=64.0,
        description="Memory for states, of all processes together; a larger training split is "
        "streamed, in pieces.",
    )
    start: Start | None = Field(
        default=None, description="Weights of another training to start from; null draws them."
    )

    @model_validator(mode="after")
    def _within_steps(self) -> "Train":
        if (self.steps is None) == (self.budget is None):
            found = "neither" if self.steps is None else "both"
            raise ValueError(f"expected one of steps and budget, found {found}")
        if self.batch_size % (self.micro_batch or 1):
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}; "
                "allowed: null, or a number that does"
            )
        if self.steps is None:
            return self
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} must be shorter than steps {self.steps}")
        if self.validate_every > self.steps:
            raise ValueError(
                f"validate_every {self.validate_every} is more than steps {self.steps}, so there "
                f"is no validation; allowed: at most {self.steps}"
            )
        return self

    @model_validator(mode="after")
    def _taken(self) -> "Train":
        """Refuses what the optimiser does not take, and weights that decay beyond zero."""
        name = self.optimizer
        needed = {"adam": 2, "adamw": 2, "psgd": 1, "soap": 3, "muon": 3}[name]
        if self.betas is not None and len(self.betas) != needed:
            raise ValueError(f"betas {self.betas}: {name} takes {needed}")
        for key in ("precondition_every", "precondition_size"):
            preset: Any = type(self).model_fields[key].default
            if name not in PRECONDITIONED and getattr(self, key) != preset:
                raise ValueError(
                    f"{key} {getattr(self, key)}: {name} has no preconditioner; allowed: "
                    f"{preset or 'null'}, or the optimizer {' or '.join(PRECONDITIONED)}"
                )
        if (most := 1 / self.learning_rate) <= self.weight_decay:
            raise ValueError(
                f"weight_decay {self.weight_decay:g} at learning_rate {self.learning_rate:g} takes "
                f"weights beyond zero in a step; allowed: less than {most:g}"
            )
        return self
