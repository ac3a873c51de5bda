"""How far states are from what was observed of the truth, in units of the observation's noise."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from lilas.data.preprocess import Preprocessing
from lilas.evaluation.metrics import OF_OBSERVATION
from lilas.models.observations import Observations


def misfit(states: Tensor, observed: Tensor) -> Tensor:
    """Returns the root mean square, over all but time, of what differs, float64 (time,).

    Args:
        states: What would be observed of an ensemble (member, time, channel, number), over the
            noise's standard deviation.
        observed: What is (time, channel, number), likewise.
    """
    return (states - observed).double().square().mean((0, 2, 3)).sqrt()


def score_observed(
    observations: Observations,
    row: int,
    steps: range,
    lead_times: Sequence[int],
    ensemble: Tensor,
    rebuilt: Tensor,
) -> pd.DataFrame:
    """Returns how far guided states of one trajectory are from what guided them, a row each.

    Args:
        observations: Of the split.
        row: The trajectory.
        steps: Of the states, in their order.
        lead_times: Of each, in solver steps.
        ensemble: (member, time, channel, *space), physical units.
        rebuilt: The auto-encoded truth (time, channel, *space), to compare with.

    Returns:
        Columns lead_time, field (empty), metric, value, relative_to.
    """
    preprocessing: Preprocessing = observations.pixels.preprocessing
    noise = observations.noise
    seen = observations.of(row, steps).to(ensemble.device) / noise

    def distance(states: Tensor) -> Tensor:
        inputs = preprocessing.forward(states.flatten(0, 1), channel_axis=1)
        found = observations.operator.observe(inputs) / noise
        return misfit(found.unflatten(0, states.shape[:2]), seen)

    values = torch.stack([distance(ensemble), distance(rebuilt[None])]).cpu().numpy()
    parts = [
        pd.DataFrame({"lead_time": lead_times, "field": "", "metric": name, "value": value})
        for name, value in zip(OF_OBSERVATION, values, strict=True)
    ]
    return pd.concat(parts, ignore_index=True).assign(relative_to="truth")
