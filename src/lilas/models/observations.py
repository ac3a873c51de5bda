"""Observations of the true states of a split, and windows that are guided by them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.draws import Draws
from lilas.errors import LilasError, broken
from lilas.models.autoencoder import Autoencoder
from lilas.models.build import load_autoencoder
from lilas.models.coding import together
from lilas.models.operators import make_operator
from lilas.models.rollout import Observed, Step, Window, read_steps
from lilas.seeds import derive
from lilas.study.entries import SamplerEntry


class Observations:
    """What is observed of the states of a split: y = A(x) + noise N(0, 1), x standardised.

    The noise belongs to a state: all members of all ensembles see the same, and so do scores.

    Args:
        sampler: What is guided: its operator A, its noise and the noise's seed.
        pixels: The split, standardised as the autoencoder was trained with.

    Raises:
        LilasError: as `lilas.data.masks.read_mask`.
    """

    def __init__(self, sampler: SamplerEntry, pixels: Pixels) -> None:
        self.pixels, self.noise = pixels, sampler.guidance.noise
        size, axes = pixels.shape[1:], pixels.files[0].axes
        self.operator = make_operator(sampler.guidance.operator, axes, size)
        # Sampling draws from the seed itself.
        self.seed = derive(sampler.seed, 1)

    def of(self, row: int, steps: range) -> Tensor:
        """Returns what is observed of steps of a trajectory, (time, channel, number), on the CPU.

        Raises:
            LilasError: a state is not finite when it is standardised.
        """
        states = torch.from_numpy(read_steps(self.pixels.read, row, steps))
        seen = self.operator.observe(states)
        seen = seen + self.noise * Draws(self.seed, [(row, step) for step in steps]).normal(seen)
        if not seen.isfinite().all():
            file, trajectory = self.pixels.places[row]
            raise broken(
                file.path,
                "finite observations of standardised states",
                f"others of trajectory {trajectory}",
                "Correct the file, or the transform of its fields.",
            )
        return seen


@dataclass(frozen=True)
class Guide:
    """What guides rollouts in a latent space.

    Attributes:
        observations: Of the split.
        autoencoder: The one whose latents are generated.
    """

    observations: Observations
    autoencoder: Autoencoder

    def check(self, source: Any, rows: Sequence[int]) -> None:
        """Refuses latents whose trajectories are not those observed.

        Args:
            source: The latents, which have an `origin` of a row.
            rows: The trajectories to roll out.

        Raises:
            LilasError: which they are.
        """
        pixels = self.observations.pixels
        for row in rows:
            found = pixels.origin(row) if row < pixels.rows else None
            if found != (latents := source.origin(row)):
                raise LilasError(
                    f"rollout: trajectory {row} of the latents is {latents[1]} of {latents[0]}, of "
                    f"the test files {f'{found[1]} of {found[0]}' if found else 'none'}. Give the "
                    "files that the latents were made of, in the same order."
                )


def open_guide(
    sampler: SamplerEntry,
    test: Sequence[Path],
    fields: Sequence[str],
    statistics: Path,
    weights: Path,
    device: torch.device,
) -> Guide:
    """Opens what guides rollouts.

    Args:
        sampler: How they are guided.
        test: Files of the test split.
        fields: Of a state.
        statistics: What states enter the autoencoder with.
        weights: Its weights.
        device: Where to decode.

    Raises:
        LilasError: a file is missing, damaged or of another kind.
    """
    pixels = Pixels(open_files(test, fields), Preprocessing.read(statistics), {})
    # Windows are differentiated, not weights: what these alone need is not kept.
    autoencoder = load_autoencoder(weights, pixels.files[0], device).requires_grad_(False)
    return Guide(Observations(sampler, pixels), autoencoder)


def guided(
    step: Step, guide: Guide, rows: Sequence[int], steps: range, sampler: SamplerEntry
) -> Step:
    """Returns a step whose windows hold what is observed of their new states.

    What a window generates beyond the end of the rollout is not observed.

    Args:
        step: Generates windows as time goes, of each member of each trajectory.
        guide: What guides them.
        rows: The trajectories.
        steps: The steps of the rollouts, context included and first.
        sampler: How they are made.
    """
    observations, autoencoder, context = guide.observations, guide.autoencoder, sampler.context
    seen = torch.stack([observations.of(row, steps[context:]) for row in rows])

    def decoded(latents: Tensor) -> Tensor:
        return observations.operator.observe(autoencoder.decode(latents))

    def observing(window: Window) -> Tensor:
        places = window.first + torch.arange(window.mask.shape[1])
        if sampler.direction == "backward":
            places = places.flip(0)
        new = torch.nonzero(~window.mask[0].cpu() & (places < len(steps)))[:, 0]
        values = seen[:, places[new] - context].repeat_interleave(sampler.members, 0)
        values = values.flatten(1).to(window.known.device)
        return step(replace(window, observed=Observed(values, _of_new(decoded, new, autoencoder))))

    return observing


def _of_new(
    decoded: Callable[[Tensor], Tensor], new: Tensor, autoencoder: Autoencoder
) -> Callable[[Tensor], Tensor]:
    """Returns the map from windows (batch, channel, time, *space) to what is seen of some states.

    They are decoded a few at a time. Where these are several and it is differentiated backward,
    what the decoder computes in between is computed again, not kept.
    """

    def operator(windows: Tensor) -> Tensor:
        states = windows[:, :, new.to(windows.device)].transpose(1, 2).flatten(0, 1)
        space = [points * autoencoder.factor for points in states.shape[2:]]
        parts = states.split(together((autoencoder.pixel_channels, *space)))
        again = torch.is_grad_enabled() and len(parts) > 1
        found = [_computed_again(decoded, part) if again else decoded(part) for part in parts]
        return torch.cat(found).reshape(len(windows), -1)

    return operator


def _computed_again(function: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    return checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
