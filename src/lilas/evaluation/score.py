"""Scores of rollouts, reconstructions and baselines, a few lead times of a trajectory at a time.

Memory holds one such block's ensemble, however many trajectories there are and however long.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from lilas.data.states import Pixels
from lilas.errors import LilasError, broken
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.curves import curves
from lilas.evaluation.ensembles import Ensemble
from lilas.evaluation.field_scores import evaluate
from lilas.evaluation.metrics import LAWS, METRICS, OF_TRUTH, RESIDUALS
from lilas.evaluation.observed import score_observed
from lilas.evaluation.physics import Flow
from lilas.models.autoencoder import Autoencoder
from lilas.models.coding import autoencode, decode
from lilas.models.observations import Observations
from lilas.models.rollout import check_long_enough, part_of, read_steps
from lilas.progress import progress
from lilas.records.stores import read

# Numbers of an ensemble in memory at once, before what scores need besides.
DECODED = 2**22
# The largest values of a field between which float32 holds the squares of its errors and spectra.
SQUARED = 1e-10, 1e10


# --- Scores of states -------------------------------------------------------------------------


def score(
    truth: Tensor,
    ensemble: Ensemble,
    lead_times: Sequence[int],
    flow: Flow,
    *,
    physics: str | None = None,
    relative_to: str = "truth",
    curved: Sequence[int] = (),
) -> pd.DataFrame:
    """Returns the metrics of states of one trajectory, a row each.

    Args:
        truth: (time, channel, *space), physical units.
        ensemble: Of (member, time, channel, *space), physical units.
        lead_times: Of each time, in solver steps.
        flow: Names of the channels, and what the laws need.
        physics: Which of `LAWS` hold; None is none.
        relative_to: What `truth` is: `truth`, or `autoencoder` for the auto-encoded truth.
        curved: Lead times whose curves are kept.

    Returns:
        Columns lead_time, field, metric, at (curves only), value, relative_to.

    Raises:
        LilasError: a metric is not finite.
    """
    spatial = truth.ndim - 2
    parts = [_rows(evaluate(truth, ensemble, spatial=spatial), lead_times, flow.channels)]
    for metric in METRICS.values():
        for i in _own_channels(metric.fields or (), flow.channels):
            one = Ensemble(ensemble.v[:, :, i : i + 1], spatial)
            values = evaluate(truth[:, i : i + 1], one, spatial=spatial, names=[metric.name])
            parts.append(_rows(values, lead_times, flow.channels[i : i + 1]))
    if wanted := [i for i, lead in enumerate(lead_times) if lead in curved]:
        # Of all lead times: what the ensemble has computed for the scores serves here too.
        for name, (at, values) in curves(truth, ensemble, spatial=spatial).items():
            kept = values[wanted]
            parts.append(_curve_rows(name, at, kept, [lead_times[i] for i in wanted], flow))
    laws = [law.name for law in LAWS[physics]] if physics else []
    if relative_to != "truth":
        laws = [name for name in laws if name not in RESIDUALS]
    parts += score_physics(truth, ensemble.v, lead_times, flow, physics, laws)
    table = pd.concat(parts, ignore_index=True).assign(relative_to=relative_to)
    if bad := sorted(set(table["metric"][~np.isfinite(table["value"])])):
        raise LilasError(f"metrics: {bad[0]} is not finite; the rollout diverged or lacks values")
    return table


def score_physics(
    truth: Tensor,
    ensemble: Tensor,
    lead_times: Sequence[int],
    flow: Flow,
    physics: str | None,
    names: Sequence[str],
) -> list[pd.DataFrame]:
    """Returns the named laws' metrics of states of one trajectory, a frame each."""
    return [
        pd.DataFrame(
            {"lead_time": lead_times, "field": field, "metric": law.name, "value": value.cpu()}
        )
        for law in (LAWS[physics] if physics else ())
        if law.name in names
        for field, value in law.function(truth, ensemble, flow).items()
    ]


def _own_channels(fields: Sequence[str], channels: Sequence[str]) -> list[int]:
    return [i for i, name in enumerate(channels) if name in fields]


def _rows(
    values: dict[str, Tensor], lead_times: Sequence[int], fields: Sequence[str]
) -> pd.DataFrame:
    """Returns scores (time, channel) by name, a row each."""
    index = pd.MultiIndex.from_product([lead_times, fields], names=["lead_time", "field"])
    table = pd.DataFrame({name: x.flatten().cpu().numpy() for name, x in values.items()}, index)
    return table.melt(ignore_index=False, var_name="metric").reset_index()


def _curve_rows(
    name: str, at: Tensor, values: Tensor, lead_times: Sequence[int], flow: Flow
) -> pd.DataFrame:
    """Returns curves (time, channel, at), a row per place along them."""
    index = pd.MultiIndex.from_product(
        [lead_times, flow.channels, at.cpu().tolist()], names=["lead_time", "field", "at"]
    )
    flat = values.flatten().cpu().numpy()
    return pd.DataFrame({"value": flat}, index).reset_index().assign(metric=name)


def curve_leads(lead_times: Sequence[int]) -> list[int]:
    """Returns the lead times whose curves are kept: the first, each about twice it, the last."""
    first, last = lead_times[0], lead_times[-1]
    wanted = [first * 2**i for i in range(32) if first * 2**i < last]
    return [lead for lead in wanted if lead in lead_times] + [last]


# --- Scores of trajectories -------------------------------------------------------------------


def score_baselines(
    pixels: Pixels,
    trajectories: list[int],
    steps: Mapping[str, range],
    physics: str | None,
    device: torch.device,
) -> Iterator[pd.DataFrame]:
    """Yields the scores of persistence (the first state of the steps, kept) and of climatology.

    Climatology is each field's training mean, everywhere and always; of a field that models see in
    logarithms, the mean of those, mapped back. What the data themselves are like, and their own
    residuals of the laws, are the rows of `truth`.

    Args:
        pixels: The test split.
        trajectories: Rows of it.
        steps: By name, those of rollouts whose context is one state: where emulators begin at
            several steps, or go back in time, so do the baselines.
        physics: Which of `LAWS` hold.
        device: Where to score.
    """
    for its in steps.values():
        check_long_enough(pixels, trajectories, its)
    for row in progress(trajectories, desc="evaluate baselines", unit="trajectory"):
        for sampler, its in steps.items():
            own = {"sampler": sampler, "members": 1, "trajectory": row, **_begin(its, 1)}
            for table in _score_baseline(pixels, row, its, physics, device):
                yield table.assign(**own)


def _score_baseline(
    pixels: Pixels, row: int, steps: range, physics: str | None, device: torch.device
) -> Iterator[pd.DataFrame]:
    """Yields the scores of one trajectory, from the first of its `steps`."""
    flow, names = Flow.of(*pixels.places[row]), pixels.preprocessing.names
    first = _truth(pixels, row, steps[:1], device)
    middle = torch.zeros(1, len(names), *[1] * (first.ndim - 2), dtype=first.dtype)
    mean = pixels.preprocessing.inverse(middle, channel_axis=1)
    states = {"persistence": first, "climatology": mean.to(device)}
    for leads, block in _blocks(pixels, steps, 1):
        truth = _truth(pixels, row, block, device)
        for name, state in states.items():
            state = state.to(truth.dtype).expand_as(truth)
            forecast = Ensemble(state[None], truth.ndim - 2)
            table = score(truth, forecast, leads, flow, physics=physics)
            yield table.assign(emulator=name, method=name)
        alone = Comparison(truth, truth[None], truth.ndim - 2)
        likeness = {name: metric.function(alone) for name, metric in OF_TRUTH.items()}
        residuals = score_physics(truth, truth[None], leads, flow, physics, RESIDUALS)
        for table in (_rows(likeness, leads, flow.channels), *residuals):
            yield table.assign(emulator="truth", method="truth", relative_to="truth")


@torch.inference_mode()
def score_reconstruction(
    pixels: Pixels,
    trajectories: list[int],
    steps: range,
    autoencoder: Autoencoder,
    physics: str | None,
    device: torch.device,
) -> Iterator[pd.DataFrame]:
    """Yields the scores of the autoencoder's reconstruction of the states of the rollouts."""
    check_long_enough(pixels, trajectories, steps)
    every = _lead_times(steps)
    for row in progress(trajectories, desc="evaluate reconstruction", unit="trajectory"):
        flow = Flow.of(*pixels.places[row])
        for leads, block in _blocks(pixels, steps, 1):
            truth = _truth(pixels, row, block, device)
            rebuilt = autoencode(truth, autoencoder, pixels.preprocessing)
            ensemble = Ensemble(rebuilt[None], truth.ndim - 2)
            table = score(truth, ensemble, leads, flow, physics=physics, curved=curve_leads(every))
            yield table.assign(
                emulator="reconstruction",
                method="reconstruction",
                trajectory=row,
                members=1,
                **_begin(steps, 1),
            )


@torch.inference_mode()
def score_rollouts(
    dataset: xr.Dataset,
    pixels: Pixels,
    autoencoder: Autoencoder,
    physics: str | None,
    device: torch.device,
    observations: Observations | None = None,
    part: tuple[int, int] = (1, 1),
) -> Iterator[pd.DataFrame]:
    """Yields the scores of rollouts, against the truth and against the auto-encoded truth.

    Args:
        dataset: A store of rollouts, (trajectory, member, time, channel, *space).
        pixels: The test split.
        autoencoder: The one that the latents are of.
        physics: Which of `LAWS` hold.
        device: Where to decode and score.
        observations: What guided them, where they were guided by observations.
        part: As of `part_of`: which of the trajectories to score.

    Raises:
        LilasError: as `paired_row`, before any score; the rollouts are damaged, or a metric is not
            finite.
    """
    context, members = dataset.attrs["context"], dataset.sizes["member"]
    begin, end = map(int, dataset["step"].values[[context - 1, -1]])
    stride = dataset.attrs["stride"] * (1 if end > begin else -1)
    after = range(begin, end + stride, stride)
    every = _lead_times(after)
    own = part_of(dataset.sizes["trajectory"], part)
    rows = [paired_row(dataset, i, pixels) for i in own]
    bar = progress(rows, desc="evaluate rollouts", unit="trajectory")
    for i, row in zip(own, bar, strict=True):
        flow, done = Flow.of(*pixels.places[row]), context
        for leads, block in _blocks(pixels, after, members):
            times = slice(done, done + len(leads))
            done = times.stop
            truth = _truth(pixels, row, block, device)
            latents = read(dataset, "latent", trajectory=i, time=times)
            states = decode(latents, autoencoder, pixels.preprocessing, device, truth.dtype)
            # Shared by both comparisons, as is all that depends on the ensemble alone.
            ensemble = Ensemble(states, truth.ndim - 2)
            rebuilt = autoencode(truth, autoencoder, pixels.preprocessing)
            own = {"trajectory": row, "members": members, **_begin(after, context)}
            if observations is not None:
                seen = score_observed(observations, row, block, leads, states, rebuilt)
                yield seen.assign(**own)
            for name, reference in (("truth", truth), ("autoencoder", rebuilt)):
                table = score(
                    reference,
                    ensemble,
                    leads,
                    flow,
                    physics=physics,
                    relative_to=name,
                    curved=curve_leads(every) if name == "truth" else (),
                )
                yield table.assign(**own)


def _lead_times(steps: range) -> list[int]:
    """Returns the lead times of all steps but the first, in solver steps."""
    return [abs(step - steps[0]) for step in steps[1:]]


def _begin(steps: range, context: int) -> dict[str, int | str]:
    """Returns what the rows of a rollout tell of its begin: `steps` are those from lead time 0."""
    direction = "forward" if steps.step > 0 else "backward"
    return {"context": context, "start": steps[0], "direction": direction}


def _truth(pixels: Pixels, row: int, steps: range, device: torch.device) -> Tensor:
    """Returns states of a trajectory, in float64 where float32 would not hold their squares."""
    states = torch.from_numpy(read_steps(pixels.truth, row, steps))
    largest = states.abs().amax([axis for axis in range(states.ndim) if axis != 1])
    extreme = (largest > 0) & ((largest < SQUARED[0]) | (largest > SQUARED[1]))
    return (states.double() if extreme.any() else states).to(device)


def _blocks(pixels: Pixels, steps: range, members: int) -> Iterator[tuple[list[int], range]]:
    """Yields lead times after the first step that fit memory together, and their steps."""
    together = max(1, DECODED // (members * int(np.prod(pixels.shape))))
    after, lead_times = steps[1:], _lead_times(steps)
    for first in range(0, len(after), together):
        block = slice(first, first + together)
        yield lead_times[block], after[block]


def paired_row(dataset: xr.Dataset, index: int, pixels: Pixels) -> int:
    """Returns the row of the test split that a rollout's trajectory is to be compared with.

    Args:
        dataset: A store of rollouts.
        index: Of the trajectory among the rollouts.
        pixels: The test split.

    Raises:
        LilasError: that row is another trajectory: the files are others than those that the
            rollouts began from, or in another order.
    """
    row = int(dataset["trajectory"].values[index])
    begun = (str(dataset["file"].values[index]), int(dataset["index_in_file"].values[index]))
    found = pixels.origin(row) if row < pixels.rows else None
    if found != begun:
        raise broken(
            dataset.encoding["source"],
            f"rollouts of the test files given, whose trajectory {row} is "
            + (_place(*found) if found else f"none (they hold {pixels.rows})"),
            f"a rollout {row} of {_place(*begun)}",
            "Give the test files that the latents were made of, in the same order.",
        )
    return row


def _place(file: str, index: int) -> str:
    return f"trajectory {index} of {file}"


# --- Decoding ---------------------------------------------------------------------------------
