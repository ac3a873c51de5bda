"""The tables of an ablation: as the paper's Table 4, and of all that was tried."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

import pandas as pd

from lilas.report.ablation import INITIALISATIONS, Arm, Curves, arms, reached, reference
from lilas.report.typeset import Cell, Row, Table
from lilas.study.ablation import Variant
from lilas.study.paths import training_name

NAME, TRIED = "ablation", "ablation_tried"
TITLES = {
    NAME: "Training of autoencoders by optimiser and initialisation, as in the paper's Table 4",
    TRIED: "All that was tried: last validation loss",
}
# Shares of the steps whose losses are told.
SHARES = (0.25, 0.5, 1.0)
STEPS, SECONDS, TEST = "steps to reference", "seconds to reference", "VRMSE, test"


def ablation_tables(
    its: dict[str, list[Variant]], losses: pd.DataFrame, summary: pd.DataFrame
) -> dict[str, tuple[str, list[Table]]]:
    """Returns the tables by file name: title, and a table per dataset; none where nothing is.

    A row is an optimiser with an initialisation, at the best of the settings that it was tried
    with, by the last validation loss, mean over seeds. Cells are means over seeds with their least
    and largest value.

    Args:
        its: Of `lilas.study.ablation.variants`.
        losses: Of `lilas.report.costs.read_losses`.
        summary: Values per trajectory, of `lilas.report.trajectories.by_trajectory`.
    """
    found: dict[str, list[Table]] = {NAME: [], TRIED: []}
    errors = _reconstruction_errors(summary)
    for dataset, variants in its.items():
        own = arms(variants, losses[losses["dataset"] == dataset])
        if own:
            found[NAME].append(_main(dataset, own, errors.get(dataset, {})))
        if any(len(arm.tried) > 1 for arm in own):
            found[TRIED].append(_tried(dataset, own))
    return {name: (TITLES[name], tables) for name, tables in found.items() if tables}


def _reconstruction_errors(summary: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Returns the VRMSE of reconstructions of test trajectories by dataset and training."""
    rows = summary[
        (summary["method"] == "reconstruction")
        & (summary["metric"] == "vrmse")
        & (summary["relative_to"] == "truth")
    ]
    means = rows.groupby(["dataset", "autoencoder"], observed=True)["value"].mean()
    found: dict[str, dict[str, float]] = {}
    for (dataset, autoencoder), value in means.items():
        found.setdefault(dataset, {})[autoencoder] = value
    return found


def _main(dataset: str, own: Sequence[Arm], errors: dict[str, float]) -> Table:
    several = any(arm.group for arm in own)
    heads = ["optimizer", "initialisation", *["settings"] * several, "learning rate", "autoencoder"]
    columns = [f"validation loss, {share:.0%} of steps" for share in SHARES]
    columns += [STEPS, SECONDS, "seconds", TEST]
    rows = []
    for arm in own:
        best, variant = arm.best, arm.best.variant
        seconds = best.seconds.iloc[-1]
        test = {seed: errors.get(training_name(variant.entry, seed)) for seed in variant.seeds}
        values = [best.at(share) for share in SHARES]
        values += [*_to_reference(best, reference(own, arm.group)), seconds, pd.Series(test)]
        texts = [arm.optimizer, INITIALISATIONS[arm.identity_init], *[arm.group] * several]
        texts += [f"{variant.optimizer['learning_rate']:g}", variant.entry]
        rows.append(Row(texts, [_cell(value.astype(float)) for value in values]))
    table = Table(dataset, heads, columns, _marked(rows, heads), _note(own), apart=True)
    return table


def _to_reference(best: Curves, other: Arm | None) -> tuple[pd.Series, pd.Series]:
    """Returns the steps and the seconds (seed,) until the reference's last loss is reached."""
    if other is None:
        return pd.Series(dtype=float), pd.Series(dtype=float)
    steps = reached(best, other.best.losses.iloc[-1])
    times = {
        seed: best.seconds.loc[step, seed] if step == step else step for seed, step in steps.items()
    }
    return steps, pd.Series(times, dtype=float)


def _cell(values: pd.Series) -> Cell | None:
    """Returns the mean over seeds with its range; None where a seed lacks the number."""
    if values.empty or values.isna().any():
        return None
    ends = (values.min(), values.max()) if len(values) > 1 else (None, None)
    return Cell(float(values.mean()), *ends)


def _marked(rows: list[Row], heads: list[str]) -> list[Row]:
    """Returns rows with the least value of each column marked, where there are two or more."""
    found = [list(row.cells) for row in rows]
    for cells in zip(*found, strict=True):
        known = [cell for cell in cells if cell is not None]
        if len(known) > 1:
            best = min(known, key=lambda cell: cell.value)
            for line in found:
                line[:] = [replace(c, best=True) if c is best else c for c in line]
    return [Row(row.heads, cells) for row, cells in zip(rows, found, strict=True)]


def _tried(dataset: str, own: Sequence[Arm]) -> Table:
    """Returns the last losses of all variants, those of the best of each arm marked."""
    heads = ["autoencoder", "optimizer", "initialisation", "learning rate"]
    rows = [
        Row(
            [
                one.variant.entry,
                arm.optimizer,
                INITIALISATIONS[arm.identity_init],
                f"{one.variant.optimizer['learning_rate']:g}",
            ],
            [replace(cell, best=one is arm.best) if (cell := _cell(one.at(1.0))) else None],
        )
        for arm in own
        for one in arm.tried
    ]
    note = "Mean over training seeds; in brackets their least and largest. In bold: what stands "
    note += "for an optimiser with an initialisation, chosen by the validation split alone."
    return Table(dataset, heads, ["validation loss"], rows, note)


def _note(own: Sequence[Arm]) -> str:
    """Returns what trainings a table is of, and the paper's numbers."""
    seeds = sorted({seed for arm in own for seed in arm.best.losses})
    last = sorted({int(arm.best.losses.index[-1]) for arm in own})
    tried = max(len(arm.tried) for arm in own)
    of = "mean over seeds, in brackets their least and largest" if len(seeds) > 1 else "one seed"
    parts = [f"Training seeds: {', '.join(map(str, seeds))}; {of}."]
    parts.append(f"Steps: {', '.join(map(str, last))}. Seconds: wall time of the steps alone.")
    if tried > 1:
        parts.append(
            f"Each row is the best of up to {tried} settings of its optimiser, by the last "
            "validation loss."
        )
    if edges := _edges(own):
        parts.append(f"The rate is the {edges}: beyond may be better.")
    if any(reference(own, arm.group) for arm in own):
        parts.append(
            "Reference: Adam with plain initialisation, its last validation loss; '-' where a seed "
            "does not reach it."
        )
    parts.append(
        f"{TEST}: of the reconstruction, mean over test trajectories, fields and horizons. In "
        f"bold: the least. {_published()}"
    )
    return " ".join(parts)


def _edges(own: Sequence[Arm]) -> str:
    """Returns which arms' rates are the least or the largest of several that they had."""
    found: dict[str, list[str]] = {}
    for arm in own:
        rates = sorted({one.variant.optimizer["learning_rate"] for one in arm.tried})
        chosen = arm.best.variant.optimizer["learning_rate"]
        if len(rates) > 1 and chosen in (rates[0], rates[-1]):
            which = "least" if chosen == rates[0] else "largest"
            found.setdefault(which, []).append(arm.name)
    return ", and the ".join(
        f"{which} tried of {', '.join(names)}" for which, names in found.items()
    )


def _published() -> str:
    """Returns the paper's Table 4 in words."""
    path = files("lilas.report") / "paper" / "table4_autoencoder_ablation.csv"
    table = pd.read_csv(str(path))
    lines = []
    for (optimizer, identity), part in table.groupby(["optimizer", "identity_init"], sort=False):
        errors = ", ".join(f"{value:g}" for value in part["validation_mae"])
        lines.append(
            f"{optimizer}, {INITIALISATIONS[bool(identity)]} {errors} "
            f"({part['training_hours'].iloc[0]:g} h)"
        )
    epochs = ", ".join(map(str, table["epoch"].unique()))
    return (
        f"The paper's (Table 4; Rayleigh-Bénard, 64 latent channels, validation MAE after {epochs} "
        f"epochs): {'; '.join(lines)}."
    )
