"""Rollouts: windows generated one after another, each from the end of the one before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.models.context import noised, told
from lilas.models.masks import over_space
from lilas.seeds import derive


@dataclass(frozen=True)
class Observed:
    """What is observed of the new states of windows.

    Attributes:
        values: The numbers, (batch, number).
        operator: What would be observed of windows (batch, channel, time, *space), but for the
            observation's error: as `values`. It is differentiable.
    """

    values: Tensor
    operator: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Window:
    """A window that is to be generated.

    Attributes:
        known: Its known states, zero where unknown, (batch, channel, time, *space).
        mask: Which states are known (batch, time).
        first: Place in the rollout of that state of it which comes first there.
        observed: What guidance by observations is to fit; None where there is none.
    """

    known: Tensor
    mask: Tensor
    first: int
    observed: Observed | None = None


# Returns the whole window (batch, channel, time, *space).
Step = Callable[[Window], Tensor]


def rollout(
    step: Step,
    context: Tensor,
    *,
    states: int,
    window: int,
    overlap: int,
    crop: int | None = None,
) -> Tensor:
    """Returns a rollout that starts from its context (paper section 3.2).

    A window is generated from its first states and cropped to its first `crop`; the last `overlap`
    of those begin the next one. As in the official code 1.1.0 a window is taken as the emulator
    returns it: where it changes known states, the rollout begins, and goes on, with its version of
    them.

    Args:
        step: Generates a window.
        context: The true states given, (batch, channel, time, *space).
        states: Length of the rollout, context included.
        window: States in a window.
        overlap: Generated states that the next window is given.
        crop: States kept of each window, more than context and overlap; None is all.

    Returns:
        (batch, channel, states, *space).
    """
    kept = slice(crop)
    generated = trajectory = step(_window(context, window, 0))[:, :, kept]
    while trajectory.shape[2] < states:
        first = trajectory.shape[2] - overlap
        generated = step(_window(generated[:, :, -overlap:], window, first))[:, :, kept]
        trajectory = torch.cat([trajectory, generated[:, :, overlap:]], dim=2)
    return trajectory[:, :, :states]


def ensemble(
    emulator: Any,
    contexts: Tensor,
    labels: Tensor,
    names: Sequence[int],
    *,
    states: int,
    settings: Any,
    sampler: Any,
    wrap: Callable[[Step], Step] | None = None,
) -> Tensor:
    """Returns ensembles of rollouts, each member with random numbers of its own.

    They depend on the sampler's seed and a trajectory's name, not on the trajectories beside it.

    Args:
        emulator: A method of `lilas.models.methods`.
        contexts: The latent states given, (trajectory, time, channel, *space).
        labels: (trajectory, feature).
        names: An integer of each trajectory, which its random numbers are drawn by.
        states: Length of the rollouts, context included.
        settings: The emulator's, a `lilas.study.emulators.EmulatorSettings`.
        sampler: A `lilas.study.entries.SamplerEntry`.
        wrap: What a step, which goes as time goes, becomes; None leaves it.

    Returns:
        (trajectory, member, time, channel, *space).
    """
    context = contexts.transpose(1, 2).repeat_interleave(sampler.members, 0)
    label = labels.repeat_interleave(sampler.members, 0)
    each = [(name, member) for name in names for member in range(sampler.members)]
    draws = sampling_draws(sampler, each)
    generated = rollout(
        make_step(emulator, settings, label, sampler, draws, wrap),
        context,
        states=states,
        window=settings.window,
        overlap=sampler.overlap,
        crop=sampler.crop,
    )
    return generated.unflatten(0, (-1, sampler.members)).transpose(2, 3)


def sampling_draws(sampler: Any, names: Sequence[Sequence[int]]) -> Draws:
    """Returns the random numbers that rollouts are sampled with, each rollout's own.

    The temperature is a factor of all noise that a sampler draws: what sampling starts from and
    what an algorithm adds on the way, or what a network of one evaluation is given. So of a
    Gaussian, whose denoiser is affine, every algorithm's members lie that much further from their
    mean. Nothing else is changed: the network is told the noise level of the schedule.

    Args:
        sampler: A `lilas.study.entries.SamplerEntry`.
        names: Integers of each rollout, (trajectory, member).
    """
    return Draws(derive(sampler.seed), names, sampler.temperature)


def make_step(
    emulator: Any,
    settings: Any,
    label: Tensor,
    sampler: Any,
    draws: Draws,
    wrap: Callable[[Step], Step] | None = None,
) -> Step:
    """Returns the step of rollouts: in the sampler's direction, its noise on the known states.

    Args:
        emulator: A method of `lilas.models.methods`.
        settings: Its `lilas.study.emulators.EmulatorSettings`.
        label: (batch, feature).
        sampler: A `lilas.study.entries.SamplerEntry`.
        draws: Random numbers of the windows.
        wrap: What a step, which goes as time goes, becomes; None leaves it.
    """
    inner = emulator.stepper(told(label, settings, sampler), sampler, draws)
    inner = inner if wrap is None else wrap(inner)

    def step(window: Window) -> Tensor:
        # The draws carry the temperature, which is of what is sampled alone.
        level = sampler.context_noise / sampler.temperature
        known = noised(window.known, window.mask, level, draws)
        made = inner(replace(window, known=known))
        # The noise is for the network, not for the rollout.
        return torch.where(over_space(window.mask, made), window.known, made)

    own = step if sampler.context_noise else inner
    return backward(own) if sampler.direction == "backward" else own


def _window(given: Tensor, window: int, first: int) -> Window:
    """Returns a window that begins with the states given."""
    batch, channels, count, *space = given.shape
    known = given.new_zeros(batch, channels, window, *space)
    known[:, :, :count] = given
    mask = (torch.arange(window, device=given.device) < count).expand(batch, window)
    return Window(known, mask, first)


def evaluated_trajectories(evaluation: dict[str, Any], rows: int) -> list[int]:
    """Returns the test trajectories to evaluate: all, or as many as asked, drawn with the seed.

    Raises:
        LilasError: more are asked for than there are.
    """
    count = evaluation["trajectories"]
    if count is None:
        return list(range(rows))
    if count > rows:
        raise LilasError(
            f"evaluation.trajectories {count}: the test split has {rows}; allowed: at most {rows}"
        )
    drawn = np.random.default_rng(evaluation["seed"]).choice(rows, count, replace=False)
    return sorted(int(row) for row in drawn)


def part_of(count: int, part: tuple[int, int], together: int = 1) -> range:
    """Returns the places of the trajectories of a part, in order.

    Parts are whole batches, as many as there are but for one, so that no batch, and no number in
    it, depends on how many parts there are.

    Args:
        count: Trajectories in all.
        part: Which, from 1, of how many.
        together: Trajectories of a batch.

    Raises:
        LilasError: there is no such part.
    """
    number, parts = part
    if not 1 <= number <= parts:
        raise LilasError(f"part {number} of {parts}: allowed: 1 to {parts}")
    batches = -(-count // together)
    first, end = (together * (batches * i // parts) for i in (number - 1, number))
    return range(min(first, count), min(end, count))


def backward(step: Step) -> Step:
    """Returns a step for windows that run back in time.

    The emulator sees each as time goes, so that what comes first in the rollout comes last there.
    """

    def reversed_in_time(window: Window) -> Tensor:
        known, mask = window.known.flip(2), window.mask.flip(1)
        return step(replace(window, known=known, mask=mask)).flip(2)

    return reversed_in_time


def read_steps(read: Callable[[int, slice], np.ndarray], row: int, steps: range) -> np.ndarray:
    """Returns states of a trajectory in the order of `steps`, (time, channel, *space).

    Args:
        read: Of a split, in pixel or latent space: it takes a row and steps in order of time.
        row: The trajectory.
        steps: As of `lilas.study.leads.rollout_steps`, or some of them.
    """
    ordered = steps if steps.step > 0 else steps[::-1]
    states = read(row, slice(ordered[0], ordered[-1] + 1, ordered.step))
    return states if steps.step > 0 else states[::-1].copy()


def check_long_enough(source: Any, rows: Sequence[int], steps: range) -> None:
    """Refuses trajectories that are too short for a rollout and its truth.

    Args:
        source: The test split, in pixel or latent space: it has `steps` and `origin` of a row.
        rows: The trajectories.
        steps: As of `lilas.study.leads.rollout_steps`.

    Raises:
        LilasError: one has fewer steps.
    """
    row, latest = min(rows, key=lambda row: source.steps[row]), max(steps)
    if source.steps[row] <= latest:
        name, index = source.origin(row)
        raise LilasError(
            f"evaluation: start + lead times reach step {latest}; trajectory {index} of "
            f"{name} has {source.steps[row]} steps. Lower evaluation.start or the horizons."
        )
