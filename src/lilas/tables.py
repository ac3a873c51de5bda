"""Tables by horizon: what the metrics are averaged to, and how they are shown."""

import re

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
    pivot["run"] = label_runs(pivot)
    lines = [f"### {title}", ""]
    for dataset, rows in pivot.groupby("dataset", sort=False):
        # Datasets have horizons of their own.
        rows = rows.dropna(axis=1, how="all")
        horizons = [name for name in rows.columns if name not in (*KEYS, "run")]
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
                f"| {row['run']} | {compression} | {row['members']} | " + " | ".join(cells) + " |"
            )
        lines.append("")
    return "\n".join(lines)


def label_runs(runs: pd.DataFrame) -> pd.Series:
    """Returns what each row's run is called: emulator (autoencoder, sampler), as short as it can.

    Seeds are left out where every run has seed 0, the sampler where an emulator has only one.
    """
    columns = ["autoencoder", "emulator", "sampler"]
    distinct = runs[columns].drop_duplicates()
    seeds = distinct["autoencoder"].str.cat(distinct["emulator"], " ").str.findall(r"-s(\d+)")
    plain = all(seed == "0" for found in seeds for seed in found)
    samplers = distinct.groupby("emulator")["sampler"].nunique()

    def name(run: pd.Series) -> str:
        inside = [run["autoencoder"], run["sampler"] if samplers[run["emulator"]] > 1 else ""]
        text = run["emulator"] + (f" ({', '.join(filter(None, inside))})" if any(inside) else "")
        return re.sub(r"-s0\b", "", text) if plain else text

    names = {tuple(run): name(run) for _, run in distinct.iterrows()}
    return pd.Series([names[key] for key in runs[columns].itertuples(index=False)], runs.index)
