"""Counterfactuals: rollouts of one initial state whose labels differ in one parameter."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lilas.models.rollout import (
    check_long_enough,
    make_step,
    read_steps,
    rollout,
    sampling_draws,
)
from lilas.progress import progress


def changed_labels(
    label: np.ndarray, column: int, values: Sequence[float], transform: str
) -> np.ndarray:
    """Returns a label with each value of a parameter in place of its own, float32 (value, feature).

    Args:
        label: (feature,).
        column: Place of the parameter in it.
        values: In the parameter's own unit.
        transform: Of the parameter in the label, `log` or `none`.
    """
    labels = np.repeat(label[None].astype(np.float32), len(values), axis=0)
    labels[:, column] = np.log(values) if transform == "log" else values
    return labels


def roll_out(
    source: Any,
    emulator: nn.Module,
    labels: np.ndarray,
    *,
    row: int,
    steps: range,
    settings: Any,
    sampler: Any,
    device: torch.device,
) -> np.ndarray:
    """Returns ensembles from one trajectory's first states, one under each label.

    A member draws the same noise under each of them, that of the member in the study's rollouts:
    under the trajectory's own label these are those.

    Args:
        source: The latents, as `lilas.models.latents.open_latents` gives them.
        emulator: The emulator, on `device`.
        labels: (label, feature).
        row: The trajectory.
        steps: The steps of a rollout in its trajectory, context included and first.
        settings: The emulator's, a `lilas.study.emulators.EmulatorSettings`.
        sampler: A `lilas.study.entries.SamplerEntry`, without guidance.
        device: Where to sample.

    Returns:
        float32 (label, member, time, channel, *space).
    """
    states = torch.from_numpy(read_steps(source.read, row, steps[: sampler.context]))
    context = states.transpose(0, 1)[None]
    runs = [(label, member) for label in range(len(labels)) for member in range(sampler.members)]
    found = []
    for first in range(0, len(runs), sampler.batch_size):
        batch = runs[first : first + sampler.batch_size]
        label = torch.from_numpy(labels[[label for label, _ in batch]]).to(device)
        draws = sampling_draws(sampler, [(row, member) for _, member in batch])
        generated = rollout(
            make_step(emulator, settings, label, sampler, draws),
            context.expand(len(batch), *context.shape[1:]).to(device),
            states=len(steps),
            window=settings.window,
            overlap=sampler.overlap,
            crop=sampler.crop,
        )
        found.append(generated.transpose(1, 2).float().cpu().numpy())
    return np.concatenate(found).reshape(len(labels), sampler.members, *found[0].shape[1:])


def distances(rollouts: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns how far apart rollouts are at each state, as Euclidean distances of latents.

    Args:
        rollouts: (label, member, time, channel, *space).

    Returns:
        Between labels, of the same member, mean over members (label, label, time); and, under one
        label, between members, mean over pairs and labels (time,), None of a single member.
    """
    flat = rollouts.reshape(*rollouts.shape[:3], -1).astype(np.float64)
    count, members = flat.shape[:2]
    between = np.zeros((count, count, flat.shape[2]))
    for i in range(count):
        for j in range(i + 1, count):
            apart = np.linalg.norm(flat[i] - flat[j], axis=-1).mean(0)
            between[i, j] = between[j, i] = apart
    pairs = [
        np.linalg.norm(flat[:, k] - flat[:, m], axis=-1).mean(0)
        for k in range(members)
        for m in range(k + 1, members)
    ]
    return between, np.mean(pairs, axis=0) if pairs else None


def compare(
    source: Any,
    emulator: nn.Module,
    *,
    rows: Sequence[int],
    column: int,
    values: Sequence[float],
    transform: str,
    stride: int,
    **options: Any,
) -> Mapping[str, list[dict[str, Any]]]:
    """Returns the distances between rollouts of trajectories under several values of a parameter.

    Args:
        source: As of `roll_out`, as are `emulator` and `options`: `steps`, `settings`, `sampler`
            and `device`.
        emulator: The emulator.
        rows: The trajectories.
        column: Place of the parameter in the label.
        values: Of the parameter.
        transform: Of the parameter in the label.
        stride: Solver steps between the states of a window.

    Returns:
        `distances`, of each trajectory, lead time and pair of values a < b: distance. `members`, of
        each trajectory and lead time: the distance between members at one value.

    Raises:
        LilasError: a trajectory has too few steps.
    """
    check_long_enough(source, rows, options["steps"])
    found: dict[str, list[dict[str, Any]]] = {"distances": [], "members": []}
    ordered = sorted(values)
    for row in progress(rows, desc="counterfactual", unit="trajectory"):
        labels = changed_labels(source.labels[row], column, ordered, transform)
        rollouts = roll_out(source, emulator, labels, row=row, **options)
        between, members = distances(rollouts)
        for state in range(options["sampler"].context, rollouts.shape[2]):
            at = {"trajectory": row, "lead_time": (state - options["sampler"].context + 1) * stride}
            found["distances"] += [
                at | {"a": ordered[i], "b": ordered[j], "distance": float(between[i, j, state])}
                for i, j in _pairs(len(ordered))
            ]
            if members is not None:
                found["members"].append(at | {"distance": float(members[state])})
    return found


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    yield from ((i, j) for i in range(count) for j in range(i + 1, count))
