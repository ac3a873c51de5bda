"""The temperatures that were tried on the validation split, and the one that each sampler took."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lilas.report.typeset import Cell, Row, Table

TITLE = "Temperatures tuned on the validation split"
_NOTE = (
    "Of forecasts from the validation split, with the noise of each temperature; test trajectories "
    "have no part in it. In latent space, each channel in units of its deviation: fair CRPS, mean "
    "over the lead times of a horizon (solver steps), and spread over skill, the root mean square "
    "of the ensembles' spread over that of the error of their means, 1 where an ensemble is as "
    "wrong as it says. In bold: the lowest CRPS over all lead times, whose temperature the "
    "sampler's test rollouts have."
)


def calibration_tables(
    tried: pd.DataFrame, horizons: Mapping[str, Sequence[tuple[int, int]]]
) -> list[Table]:
    """Returns how ensembles score at each temperature, a table per dataset.

    Args:
        tried: Of `lilas.records.temperatures.read_temperatures`.
        horizons: First and last lead times averaged together, by dataset. Where validation
            trajectories are shorter, a horizon ends with them.
    """
    tables = []
    for dataset, rows in tried.groupby("dataset", sort=False):
        spans = [span for span in horizons[dataset] if rows["lead_time"].between(*span).any()]
        whole = (int(rows["lead_time"].min()), int(rows["lead_time"].max()))
        columns = [f"CRPS {a}-{b}" for a, b in [whole, *spans]]
        columns += [f"spread/skill {a}-{b}" for a, b in [whole, *spans]]
        body = []
        keys = ["autoencoder", "emulator", "sampler", "temperature"]
        for (autoencoder, emulator, sampler, temperature), own in rows.groupby(keys, sort=False):
            parts = [own[own["lead_time"].between(*span)] for span in [whole, *spans]]
            chosen = temperature == own["chosen"].iloc[0]
            scores = [_cell(part["crps"].mean(), chosen and part is parts[0]) for part in parts]
            heads = [f"{autoencoder} {emulator}", sampler, f"{temperature:g}"]
            body.append(Row(heads, [*scores, *map(_ratio, parts)]))
        tables.append(
            Table(dataset, ["run", "sampler", "temperature"], columns, body, _NOTE, apart=True)
        )
    return tables


def _cell(value: float, best: bool = False) -> Cell | None:
    return None if np.isnan(value) else Cell(float(value), best=best)


def _ratio(part: pd.DataFrame) -> Cell | None:
    """Returns the root mean square of the spread over that of the error; None of no lead time."""
    squares = part[["spread", "rmse"]].pow(2).mean()
    return _cell(float(np.sqrt(squares["spread"] / squares["rmse"])))
