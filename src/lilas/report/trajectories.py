"""Values of test trajectories: means over horizons, and how long forecasts are valid."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lilas.errors import LilasError
from lilas.records.metrics import KEYS

# By metric: which of its values a forecast stops being valid at, and how that is written.
VALID = {
    "vrmse": (lambda value: value > 0.5, "VRMSE > 0.5"),
    "correlation": (lambda value: value < 0.8, "correlation < 0.8"),
}
# What tells one number of a trajectory from the others.
CELL = [*KEYS, "relative_to", "metric", "field", "horizon"]
_NAMES = ("dataset", "autoencoder", "emulator", "method", "sampler", "relative_to", "metric")


def by_trajectory(
    tables: Iterable[pd.DataFrame], horizons: dict[str, list[tuple[int, int]]]
) -> pd.DataFrame:
    """Returns the mean of each metric, field and trajectory over each horizon of its dataset.

    A horizon holds the lead times from its first to its last, both included.

    Args:
        tables: Scores as `lilas.records.metrics.read_metrics` returns them, an evaluation each.
        horizons: By dataset, (first, last) in solver steps.

    Returns:
        A row per run (`KEYS`), relative_to, metric, field, horizon (such as "1-9") and
        trajectory, with its value; names are categoricals.

    Raises:
        LilasError: there are no scores, a dataset has no horizons, a horizon holds no lead time or
            reaches beyond the rollout, or a metric lacks lead times of it or has them twice.
    """
    parts = []
    for table in tables:
        for dataset, rows in table.groupby("dataset", observed=True, sort=False):
            if dataset not in horizons:
                raise LilasError(f"tables: {dataset} has no horizons, only {', '.join(horizons)}")
            step, end = _rollout(rows)
            for first, last in horizons[dataset]:
                name = f"{first}-{last}"
                leads = len(range(-(-first // step) * step, last + 1, step))
                if leads == 0 or last >= end + step:
                    raise LilasError(
                        f"tables: {dataset}: horizon {name} "
                        + ("holds no lead time" if leads == 0 else "reaches beyond the rollouts")
                        + f"; theirs are {step}, {2 * step}, ..., {end} solver steps. "
                        "Set evaluation.horizons of the study within them."
                    )
                inside = rows[rows["lead_time"].between(first, last)]
                parts.append(_per_trajectory(inside, leads, name))
    return concatenate(parts)


def in_order(horizons: Iterable[str]) -> list[str]:
    """Returns names of horizons, such as "1-9", by their first lead times."""
    return sorted(horizons, key=lambda name: int(name.partition("-")[0]))


def valid_times(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Returns how long each forecast is valid: the last lead time before it is first not.

    A field is no longer valid when its VRMSE exceeds 0.5, by the other criterion when its
    correlation falls below 0.8, each against the truth. A forecast that is so at its first lead
    time is valid for 0 solver steps; one that never is counts with its last lead time, which is
    too short (censored).

    Args:
        tables: As of `by_trajectory`.

    Returns:
        Columns as of `by_trajectory`, metric "valid_time_vrmse" or "valid_time_correlation" and an
        empty horizon; value in solver steps; censored (bool).

    Raises:
        LilasError: there are no scores, or a metric lacks lead times or has them twice.
    """
    parts = []
    for table in tables:
        step, end = _rollout(table)
        rows = table[table["relative_to"] == "truth"]
        for metric, (lost, _) in VALID.items():
            values = rows[rows["metric"] == metric]
            if values.empty:
                continue
            # Each lead time bounds the valid time where the forecast is lost, by the one before.
            bound = values["lead_time"].where(lost(values["value"]), end + step) - step
            name = pd.Categorical([f"valid_time_{metric}"] * len(values))
            part = _per_trajectory(values.assign(metric=name, value=bound), end // step, "", "min")
            parts.append(part.assign(censored=part["value"] == end))
    return concatenate(parts)


def concatenate(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns tables of one kind as one, names still categoricals.

    Raises:
        LilasError: there are none.
    """
    if not parts:
        raise LilasError("tables: expected files of metrics, found no score in them")
    return pd.DataFrame(
        {
            name: pd.api.types.union_categoricals([part[name] for part in parts])
            if isinstance(kind, pd.CategoricalDtype)
            else np.concatenate([part[name].to_numpy() for part in parts])
            for name, kind in parts[0].dtypes.items()
        }
    )


def _rollout(rows: pd.DataFrame) -> tuple[int, int]:
    """Returns the first lead time of rollouts, which is also the step between them, and the last.

    Raises:
        LilasError: the lead times are not the multiples of the first.
    """
    leads = np.unique(rows["lead_time"])
    if not (leads == leads[0] * np.arange(1, len(leads) + 1)).all():
        raise LilasError(
            f"tables: {rows['dataset'].iloc[0]}: expected every lead time, each a multiple of the "
            f"first, found {', '.join(map(str, leads[:8]))}. Evaluate again."
        )
    return int(leads[0]), int(leads[-1])


def _per_trajectory(
    rows: pd.DataFrame, leads: int, horizon: str, how: str = "mean"
) -> pd.DataFrame:
    """Returns the mean over lead times, or what `how` names; there must be so many of them."""
    keys = [*CELL[:-1], "trajectory"]
    grouped = rows.groupby(keys, observed=True, sort=False)["value"]
    part = grouped.agg([how, "size"]).reset_index()
    if (wrong := part["size"] != leads).any():
        one = part[wrong].iloc[0]
        raise LilasError(
            f"tables: {one['dataset']}, {one['emulator']}: expected {leads} lead times of "
            f"{one['metric']} of {one['field']}, trajectory {one['trajectory']}"
            + (f", horizon {horizon}" if horizon else "")
            + f", found {one['size']}. Evaluate again."
        )
    part = part.rename(columns={how: "value"}).assign(horizon=horizon)
    part = part.astype(dict.fromkeys([*_NAMES, "field", "horizon"], "category"))
    return part[[*CELL, "trajectory", "value"]]
