"""The page of the claims: from each verdict to the values that it is computed from."""

from pathlib import Path
from typing import Any

import pandas as pd

from lilas.errors import broken
from lilas.files import read_json
from lilas.report.paired import ROWS

COLUMNS = ["claim", "part", *ROWS]


def evidence(claims: Path, rows: Path) -> list[dict[str, Any]]:
    """Returns the claims, each part with its values by sample and the cells that they are of.

    Args:
        claims: claims.json.
        rows: claims.csv.

    Raises:
        LilasError: a file is missing or damaged.
    """
    found = read_json(claims, ("claims",))["claims"]
    try:
        types = dict.fromkeys(COLUMNS, str) | {"claim": int, "number": int, "value": float}
        # A side may be called null, and what lacks its value is damaged.
        table = pd.read_csv(rows, dtype=types, keep_default_na=False)
    except (FileNotFoundError, ValueError) as error:
        raise broken(rows, "a CSV table", f"{error}", "Run snakemake -R claims.") from None
    if list(table) != COLUMNS:
        raise broken(rows, ", ".join(COLUMNS), ", ".join(table), "Run snakemake -R claims.")
    groups = dict(list(table.groupby(["claim", "part"], sort=False)))
    return [
        claim
        | {
            "parts": [
                part | _sides(groups.get((claim["number"], part["name"])))
                for part in claim["parts"]
            ]
        }
        for claim in found
    ]


def _sides(rows: pd.DataFrame | None) -> dict[str, Any]:
    """Returns the sides of a part: names, their cells, and means over cells by sample.

    In the middle is what the numbers are made of: the median over turns, else the mean.
    """
    if rows is None:
        return {"sides": [], "values": []}
    sample = rows["sample"].iloc[0]
    middle = "median" if sample == "turn" else "mean"
    means = rows.groupby(["number", "side"], sort=False)["value"].mean().unstack()
    means = means[list(dict.fromkeys(rows["side"]))].sort_index()
    cells = rows.groupby("side", sort=False)["cell"].agg(lambda x: list(dict.fromkeys(x)))
    return {
        "sample": sample,
        "middle": middle,
        "sides": [
            {"name": name, "cells": cells[name], "middle": f"{means[name].agg(middle):.4g}"}
            for name in means
        ],
        "values": [
            (int(row), [f"{value:.4g}" for value in line])
            for row, line in zip(means.index, means.to_numpy(), strict=True)
        ],
    }
