"""Tables by horizon: what the metrics are averaged to, and how they are shown."""

import pandas as pd

KEYS = ["dataset", "autoencoder", "compression", "emulator", "sampler", "context", "members"]


def by_horizon(metrics: pd.DataFrame, horizons: dict[str, list[tuple[int, int]]]) -> pd.DataFrame:
    """Returns the mean of each metric over each horizon of its dataset.

    Trajectories, fields and lead times weigh equally (paper, Table 6). A horizon holds the lead
    times from its first to its last, both included.

    Args:
        metrics: Rows as `lilas.evaluation` writes them.
        horizons: By dataset, [first, last] in solver steps.

    Returns:
        Columns: the run, metric, horizon (such as "1-9"), value.
    """
    parts = []
    for dataset, spans in horizons.items():
        rows = metrics[metrics["dataset"] == dataset]
        for first, last in spans:
            inside = rows[rows["lead_time"].between(first, last)]
            mean = inside.groupby([*KEYS, "metric"], sort=False)["value"].mean().reset_index()
            parts.append(mean.assign(horizon=f"{first}-{last}"))
    return pd.concat(parts, ignore_index=True)


def wide(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Returns one metric with a row per run and a column per horizon, best compression first."""
    rows = table[table["metric"] == metric]
    order = list(dict.fromkeys(rows["horizon"]))
    pivot = rows.pivot_table(index=KEYS, columns="horizon", values="value", sort=False)
    return pivot[order].reset_index().sort_values(["dataset", "compression"], kind="stable")


def readable(table: pd.DataFrame, metric: str, title: str) -> str:
    """Returns one metric as a Markdown table, the best emulator of each horizon in bold.

    The autoencoder's reconstruction is a bound, not an emulator, and is never the best.
    """
    pivot = wide(table, metric)
    horizons = [name for name in pivot.columns if name not in KEYS]
    lines = [f"### {title}", ""]
    for dataset, rows in pivot.groupby("dataset", sort=False):
        contenders = rows[rows["emulator"] != "reconstruction"]
        target = 1.0 if metric == "spread_skill" else 0.0
        best = {h: (contenders[h] - target).abs().min() for h in horizons}
        lines += [
            f"| {dataset} | compression | members | " + " | ".join(horizons) + " |",
            "|---|---|---|" + "---|" * len(horizons),
        ]
        for _, row in rows.iterrows():
            cells = []
            for horizon in horizons:
                text = f"{row[horizon]:.3f}"
                leads = row["emulator"] != "reconstruction"
                if leads and abs(row[horizon] - target) == best[horizon]:
                    text = f"**{text}**"
                cells.append(text)
            compression = f"{row['compression']:.0f}" if row["autoencoder"] else "-"
            lines.append(
                f"| {run_label(row)} | {compression} | {row['members']} | "
                + " | ".join(cells)
                + " |"
            )
        lines.append("")
    return "\n".join(lines)


def run_label(row: pd.Series) -> str:
    """Returns what a run is called in tables and figures."""
    name = row["emulator"].rsplit("-s", 1)[0]
    return f"{name} ({row['autoencoder'].rsplit('-s', 1)[0]})" if row["autoencoder"] else name
