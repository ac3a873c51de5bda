"""The numbers behind figures: metrics against lead time, spectra, rank histograms."""

from collections.abc import Iterable

import pandas as pd

from lilas.evaluation.bands import INNER_BANDS
from lilas.evaluation.uncertainty import bootstrap_interval
from lilas.records.metrics import KEYS

SHOWN = {
    "vrmse": "VRMSE of the ensemble mean",
    "vcrps": "CRPS / standard deviation of the truth",
    "spread_skill": "spread / skill",
    **{f"power_spectrum_{band}": f"power-spectrum error, {band} band" for band in INNER_BANDS},
}


def mean_metrics(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Returns the metrics of SHOWN against lead time, averaged over trajectories and fields.

    They are relative to the truth, and have no unit.

    Args:
        tables: Rows of scalar metrics, of whole runs each (`lilas.records.metrics.read_metrics`).

    Returns:
        Columns: KEYS, metric, lead_time, value, low, high (95 % bootstrap interval of the mean over
        trajectories; the value itself for a single one), trajectories.
    """
    parts = []
    for table in tables:
        rows = table[(table["relative_to"] == "truth") & table["metric"].isin(list(SHOWN))]
        for run, part in rows.groupby(KEYS, observed=True, sort=False):
            index = ["trajectory", "lead_time", "field"]
            wide = part.astype({"field": str, "metric": str}).pivot(
                index=index, columns="metric", values="value"
            )
            tidy = wide[[name for name in SHOWN if name in wide]].melt(ignore_index=False).dropna()
            by_trajectory = tidy.groupby(["trajectory", "lead_time", "metric"])["value"].mean()
            cells = by_trajectory.unstack("trajectory")
            value = cells.mean(axis=1)
            low, high = bootstrap_interval(cells.to_numpy().T) or (value, value)
            tidy = pd.DataFrame({"value": value, "low": low, "high": high}).reset_index()
            own = dict(zip(KEYS, run, strict=True)) | {"trajectories": cells.shape[1]}
            parts.append(tidy.assign(**own))
    return pd.concat(parts, ignore_index=True)


def mean_curves(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Returns power spectra and rank histograms, averaged over trajectories.

    Args:
        tables: Rows of curves, of whole runs each (`lilas.records.metrics.read_curves`).

    Returns:
        Columns: KEYS, metric, field, lead_time, at, value. No rows where no file has curves.
    """
    place = ["metric", "field", "lead_time", "at"]
    parts = [pd.DataFrame(columns=[*KEYS, *place, "value"])]
    for table in tables:
        rows = table[table["relative_to"] == "truth"]
        for run, part in rows.groupby(KEYS, observed=True, sort=False):
            part = part.astype({"metric": str, "field": str})
            mean = part.groupby(place, sort=False)["value"].mean().reset_index()
            parts.append(mean.assign(**dict(zip(KEYS, run, strict=True))))
    return pd.concat(parts[1:] or parts, ignore_index=True)
