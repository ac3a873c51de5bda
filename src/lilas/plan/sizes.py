"""Sizes of a first study's models, from the grid and the number of states."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lilas.errors import LilasError

# Levels of an autoencoder at most, and points along its latents' shortest axis at least.
LEVELS, LATENT_POINTS = 6, 2
# Numbers of a state for each one of its latent; tokens of a state in pixel space at most.
COMPRESSION, PIXEL_TOKENS = 32, 4096
WINDOW, LAST_LEAD = 5, 60


@dataclass(frozen=True)
class Tier:
    """How large models are, by how much there is to learn from.

    Attributes:
        what: Where a study of them is at home.
        most: Bytes of training data up to which they are taken.
        widths: Channels of the autoencoder's levels; where there are fewer, the last ones.
        blocks: Blocks of a level.
        points: Points of a latent, at most, where the grid allows.
        tokens: Tokens of a state, at most, where the grid allows.
        network: Settings of the emulators' network.
        training: Settings of both trainings.
        batch: States of a batch, of small states.
        batch_bytes: About what the states of a batch hold, at most.
        steps: Steps of the autoencoder's training and of the emulators'.
        members: Members of an ensemble.
    """

    what: str
    most: float
    widths: tuple[int, ...]
    blocks: int
    points: int
    tokens: int
    network: dict[str, int]
    training: dict[str, object]
    batch: int
    batch_bytes: float
    steps: tuple[int, int]
    members: int

    def widths_of(self, levels: int) -> list[int]:
        """Returns the channels of so many levels; the widest goes on where there are more."""
        return [*self.widths[-levels:], *self.widths[-1:] * (levels - len(self.widths))]


SOAP = {"optimizer": "soap", "precondition_every": 10}
TIERS = (
    # As workflow/studies/demo.yaml.
    Tier(
        what="minutes on a laptop CPU",
        most=0.5e9,
        widths=(16, 32, 64, 96),
        blocks=1,
        points=256,
        tokens=64,
        network={"channels": 128, "blocks": 4, "heads": 4, "embedding": 128},
        training=SOAP | {"learning_rate": 3e-3, "betas": [0.9, 0.95, 0.95]},
        batch=16,
        batch_bytes=1e6,
        steps=(220, 480),
        members=8,
    ),
    # As workflow/studies/laptop.yaml.
    Tier(
        what="hours on a CPU, less on one GPU",
        most=50e9,
        widths=(32, 64, 96, 128),
        blocks=2,
        points=1024,
        tokens=256,
        network={"channels": 256, "blocks": 8, "heads": 4},
        training=SOAP | {"learning_rate": 2e-3},
        batch=32,
        batch_bytes=8e6,
        steps=(4000, 10000),
        members=16,
    ),
    Tier(
        what="a day on one GPU",
        most=math.inf,
        widths=(64, 128, 256, 512),
        blocks=2,
        points=1024,
        tokens=1024,
        network={"channels": 512, "blocks": 12, "heads": 8},
        training=SOAP | {"learning_rate": 1e-3, "precision": "tf32"},
        batch=64,
        batch_bytes=256e6,
        steps=(40000, 100000),
        members=16,
    ),
)


@dataclass(frozen=True)
class Sizes:
    """What fits a grid.

    Attributes:
        factor: Pixels per latent point along each axis; 1 is pixel space.
        patch_size: Of them, those that are patched before the first level.
        levels: Levels of the autoencoder.
        latent_channels: Channels of the latent.
        patches: Of the emulators' network along each axis.
        batch_size: States of a batch.
        window: States of a window.
        horizons: Lead times that are averaged together.
    """

    factor: int
    patch_size: int
    levels: int
    latent_channels: int
    patches: list[int]
    batch_size: int
    window: int
    horizons: list[list[int]]


def tier_of(training_bytes: float) -> Tier:
    """Returns how large models are for so many bytes of training data in float32."""
    return next(tier for tier in TIERS if training_bytes <= tier.most)


def fitting(tier: Tier, size: Sequence[int], channels: int, steps: int, test_steps: int) -> Sizes:
    """Returns sizes that fit a grid.

    Args:
        tier: How large models are.
        size: Grid points along each axis.
        channels: Channels of a state.
        steps: States of the shortest trajectory that is trained or validated on.
        test_steps: Of the shortest one that is tested.

    Raises:
        LilasError: nothing divides the grid.
    """
    factor = _factor(tier, size)
    odd = factor // (factor & -factor)
    latent = [points // factor for points in size]
    patches = _patches(latent, tier.tokens)
    if factor == 1 and math.prod(latent) > PIXEL_TOKENS * math.prod(patches):
        raise LilasError(
            f"a grid of {' x '.join(map(str, size))} points: no number divides its axes, so "
            "that no network can shrink them; cut or interpolate them to multiples of 8"
        )
    state = 4 * channels * math.prod(size)
    batch = 2 ** int(math.log2(max(1.0, tier.batch_bytes / state)))
    numbers = channels * factor ** len(size)
    return Sizes(
        factor=factor,
        patch_size=odd,
        levels=int(math.log2(factor // odd)) + 1,
        latent_channels=min(64, numbers, max(2, round(numbers / COMPRESSION))),
        patches=patches,
        batch_size=min(tier.batch, max(4, batch)),
        window=min(WINDOW, steps),
        horizons=_horizons(min(test_steps - 1, LAST_LEAD)),
    )


def _factor(tier: Tier, size: Sequence[int]) -> int:
    """Returns by how much an autoencoder shrinks each axis: the smallest that makes few points."""
    common = math.gcd(*size)
    fitting = [
        factor
        for factor in range(1, 2 ** (LEVELS - 1) + 1)
        if common % factor == 0 and min(size) // factor >= LATENT_POINTS
    ]
    few = [
        factor
        for factor in fitting
        if factor >= 8 and math.prod(size) // factor ** len(size) <= tier.points
    ]
    return few[0] if few else fitting[-1]


def _patches(latent: Sequence[int], tokens: int) -> list[int]:
    """Returns patches that leave no more tokens than that, where the grid allows."""
    patches = [1] * len(latent)
    while math.prod(latent) > tokens * math.prod(patches):
        larger = {
            i: n
            for i, points in enumerate(latent)
            for n in range(points // 2, patches[i], -1)
            if points % n == 0
        }
        if not larger:
            break
        axis = max(larger, key=lambda i: latent[i] // patches[i])
        patches[axis] = larger[axis]
    return patches


def _horizons(last: int) -> list[list[int]]:
    """Returns lead times up to the last one: a quarter, a quarter, a half."""
    ends = sorted({max(1, last // 4), max(1, last // 2), last})
    return [[a + 1, b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
