"""The claims about errors: compression, pixel space, diffusion or solver, context (1, 2, 3, 6)."""

import numpy as np
import pandas as pd

from lilas.evaluation.bands import INNER_BANDS
from lilas.report.criteria import (
    CRITERIA,
    FALL,
    JOBS,
    KEPT,
    MATCH,
    NEAR_ONE,
    ROBUST,
    TEXTS,
    WHOLE,
    conclude,
)
from lilas.report.paired import (
    NOT_TESTED,
    Part,
    Results,
    Verdict,
    alike,
    at_one_budget,
    check_paired,
    counted,
    emulator_rows,
    estimate,
    firsts,
    judge,
    mean_cost,
    metric_rows,
    rows_of,
    tabulate,
    together,
    too_few,
)
from lilas.report.speed import median, training_seconds, turn_rows
from lilas.report.summary import EMULATORS
from lilas.report.trajectories import in_order
from lilas.study.methods import DIFFUSION, SOLVER
from lilas.study.study import Study


def robustness(results: Results) -> Verdict:
    """Claim 1: the VRMSE of latent diffusion at the highest over that at the lowest compression.

    Supported where the ratio's interval ends below ROBUST and the reconstruction's ratio is above
    1 and larger than it, by intervals too.
    """
    latent = emulator_rows(results, "vrmse", pixel=False)
    parts, others, ranges = [], [], []
    for (dataset, method), rows in latent.groupby(["dataset", "method"]):
        found = sorted(rows["compression"].unique())
        if len(found) < 2:
            continue
        ends = [rows[rows["compression"] == value] for value in (found[0], found[-1])]
        ends = alike(ends, ["entry", "sampler"], ["sampler"])
        part = _robust(results, f"{dataset}, {method}", ends, found)
        if method == DIFFUSION:
            parts.append(part)
            ranges.append(f"{dataset} {found[0]:g} to {found[-1]:g}")
        else:
            others += part.evidence
    text = f"Only these compressions were run: {', '.join(ranges)}." if ranges else ""
    missing = "No latent diffusion at two compressions."
    return conclude(1, parts, missing, more=others, note=text)


def _robust(results: Results, name: str, ends: list[pd.DataFrame], found: list[float]) -> Part:
    reconstruction = metric_rows(results, "vrmse")
    reconstruction = reconstruction[reconstruction["method"] == "reconstruction"]
    same = ["dataset", "autoencoder"]
    own = [reconstruction.merge(rows[same].drop_duplicates(), on=same) for rows in ends]
    tables = check_paired([tabulate(rows) for rows in (*ends, *own)])
    sides = {
        f"{what}, compression {rate:g}": rows
        for what, both in (("emulator", ends), ("reconstruction", own))
        for rate, rows in zip((found[0], found[-1]), both, strict=True)
    }
    head = f"{name}, compression {found[0]:g} to {found[-1]:g}"
    if (few := too_few(tables[0])) is not None:
        return Part(name, NOT_TESTED, [f"{head}: {few}"])
    pooled = [table.mean(axis=1) for table in tables]
    growth = estimate(lambda a, b, c, d: b / a, *pooled)
    bound = estimate(lambda a, b, c, d: d / c, *pooled)
    excess = estimate(lambda a, b, c, d: (d / c) / (b / a), *pooled)
    evidence = [
        f"{head}: VRMSE {pooled[0].mean():.3g} to {pooled[1].mean():.3g}, ratio {growth}; "
        f"of the reconstruction {pooled[2].mean():.3g} to {pooled[3].mean():.3g}, ratio {bound}; "
        f"the latter over the former {excess} ({counted(tables[0])})",
    ]
    for horizon in tables[0] if len(tables[0].columns) > 1 else []:
        here = [table[horizon] for table in tables]
        growth_here = estimate(lambda a, b, c, d: b / a, *here)
        bound_here = estimate(lambda a, b, c, d: d / c, *here)
        evidence.append(
            f"{head}, horizon {horizon}: ratio {growth_here}; of the reconstruction {bound_here}"
        )
    degrades = bound.low > 1 and excess.low > 1
    return Part(name, judge(growth.high < ROBUST and degrades), evidence, rows_of(sides))


def pixel_space(results: Results) -> Verdict:
    """Claim 2: VRMSE, parameters and training time of latent and pixel-space emulators.

    Of emulators of the largest budget that both sides have, where they have one. Supported where,
    for each method and compression, the interval of the VRMSE's difference ends
    below MATCH of the pixel-space VRMSE, with fewer parameters and fewer training seconds; where
    both were timed, with an interval of their ratio that ends below 1.
    """
    latent = emulator_rows(results, "vrmse", pixel=False)
    pixel = emulator_rows(results, "vrmse", pixel=True)
    parts = []
    for (dataset, method), theirs in pixel.groupby(["dataset", "method"]):
        ours = latent[(latent["dataset"] == dataset) & (latent["method"] == method)]
        for compression, rows in ours.groupby("compression"):
            name = f"{dataset}, {method}, compression {compression:g}"
            sides = at_one_budget([rows, theirs])
            sides = alike(sides, ["context", "sampler"], ["context"])
            parts += _beats(results, name, *sides)
    missing = "No method was run both in latent and in pixel space."
    note = JOBS if any(WHOLE in line for part in parts for line in part.evidence) else ""
    return conclude(2, parts, missing, note=note)


def _beats(results: Results, name: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> list[Part]:
    tables = check_paired([tabulate(ours), tabulate(theirs)])
    parts = []
    if (few := too_few(tables[0])) is not None:
        parts.append(Part(f"{name}: VRMSE", NOT_TESTED, [f"{name}: {few}"]))
    else:
        latent, pixel = (table.mean(axis=1) for table in tables)
        difference = estimate(lambda a, b: a - b, latent, pixel)
        text = (
            f"{name}: VRMSE {latent.mean():.3g}, in pixel space {pixel.mean():.3g}, difference "
            f"{difference} ({counted(tables[0])})"
        )
        matches = difference.high < MATCH * pixel.mean()
        rows = rows_of({"latent": ours, "pixel space": theirs})
        parts.append(Part(f"{name}: VRMSE", judge(matches), [text], rows))
    parts.append(_fewer(results.costs, name, "parameters", "parameters", ours, theirs))
    timed = [training_seconds(results.timings, rows) for rows in (ours, theirs)]
    if not all(timed):
        what = f"training seconds{WHOLE}"
        return [*parts, _fewer(results.costs, name, "seconds", what, ours, theirs)]
    own, other = (np.mean(list(one.values()), axis=0) for one in timed)
    ratio = median(own / other)
    encoder = mean_cost(results.costs, "autoencoder", "seconds", ours)
    beside = "" if encoder is None else f"{_beside(encoder)} (its whole job)"
    text = (
        f"{name}: training seconds, of losses and gradients as timed, {median(own)}, in pixel "
        f"space {median(other)}, ratio {ratio}{beside}"
    )
    rows = turn_rows({"latent": timed[0], "pixel space": timed[1]})
    return [*parts, Part(f"{name}: training seconds", judge(ratio.high < 1), [text], rows)]


def _fewer(
    costs: pd.DataFrame,
    name: str,
    quantity: str,
    what: str,
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
) -> Part:
    own, other = (mean_cost(costs, "emulator", quantity, rows) for rows in (ours, theirs))
    head = f"{name}: {what}"
    if own is None or other is None:
        return Part(head, NOT_TESTED, [f"{head} not measured on both sides"])
    encoder = mean_cost(costs, "autoencoder", quantity, ours)
    beside = "" if encoder is None else _beside(encoder)
    return Part(
        head, judge(own < other), [f"{head} {own:,.0f}, in pixel space {other:,.0f}{beside}"]
    )


def _beside(encoder: float) -> str:
    return f"; the autoencoder, not counted, {encoder:,.0f}"


def diffusion_or_solver(results: Results) -> Verdict:
    """Claim 3: diffusion against solvers at equal compression, and the ensembles' calibration.

    The differences are of emulators of the largest budget that both have, where they have one.
    Supported where the intervals of the differences of VRMSE and of the power spectrum's error in
    each band lie below 0, those of the spread-skill ratio inside NEAR_ONE, and that ratio falls
    from the lowest to the highest compression by no more than FALL.
    """
    parts = []
    for metric in ("vrmse", *(f"power_spectrum_{band}" for band in INNER_BANDS)):
        rows = emulator_rows(results, metric, pixel=False)
        for (dataset, compression), here in rows.groupby(["dataset", "compression"]):
            sides = [here[here["method"] == method] for method in (DIFFUSION, SOLVER)]
            if all(len(side) for side in sides):
                name = f"{dataset}, compression {compression:g}, {metric}"
                sides = alike(at_one_budget(sides), ["context"])
                parts.append(_below(name, *sides))
    compared = bool(parts)
    ratio = emulator_rows(results, "spread_skill", pixel=False)
    for dataset, rows in ratio[ratio["method"] == DIFFUSION].groupby("dataset"):
        parts += _calibration(dataset, rows)
    if not compared:
        missing = "No diffusion model and solver at equal compression."
        return conclude(3, [], missing, more=[line for part in parts for line in part.evidence])
    if not any("spread_skill" in part.name for part in parts):
        text = "No ensemble of latent diffusion has a spread-skill ratio."
        parts.append(Part("spread_skill", NOT_TESTED, [text]))
    return conclude(3, parts, "")


def _below(name: str, diffusion: pd.DataFrame, solver: pd.DataFrame) -> Part:
    tables = check_paired([tabulate(diffusion), tabulate(solver)])
    if (few := too_few(tables[0])) is not None:
        return Part(name, NOT_TESTED, [f"{name}: {few}"])
    ours, theirs = (table.mean(axis=1) for table in tables)
    difference = estimate(lambda a, b: a - b, ours, theirs)
    text = (
        f"{name}: diffusion {ours.mean():.3g}, solver {theirs.mean():.3g}, difference "
        f"{difference} ({counted(tables[0])})"
    )
    rows = rows_of({"diffusion": diffusion, "solver": solver})
    return Part(name, judge(difference.high < 0), [text], rows)


def _calibration(dataset: str, rows: pd.DataFrame) -> list[Part]:
    parts = []
    found = sorted(rows["compression"].unique())
    for compression in found:
        name = f"{dataset}, compression {compression:g}, spread_skill"
        here = firsts(rows[rows["compression"] == compression])
        table = tabulate(here)
        if (few := too_few(table)) is not None:
            parts.append(Part(name, NOT_TESTED, [f"{name}: {few}"]))
            continue
        ratio = estimate(lambda a: a, table.mean(axis=1))
        near = NEAR_ONE[0] <= ratio.low and ratio.high <= NEAR_ONE[1]
        text = f"{name}: {ratio} ({counted(table)})"
        parts.append(Part(name, judge(near), [text], rows_of({"diffusion": here})))
    name = f"{dataset}, spread_skill by compression"
    ends = [rows[rows["compression"] == value] for value in (found[0], found[-1])]
    ends = alike(ends, ["entry", "sampler"], ["sampler"])
    tables = [tabulate(end) for end in ends]
    if len(found) < 2 or too_few(tables[0]) is not None:
        why = "one compression" if len(found) < 2 else too_few(tables[0])
        return [*parts, Part(name, NOT_TESTED, [f"{name}: {why}"])]
    check_paired(tables)
    change = estimate(lambda a, b: b - a, *(table.mean(axis=1) for table in tables))
    text = f"{name}: from {found[0]:g} to {found[-1]:g} it changes by {change}"
    sides = {
        f"compression {rate:g}": end for rate, end in zip((found[0], found[-1]), ends, strict=True)
    }
    holds = change.low > -FALL and change.high < 0
    return [*parts, Part(name, judge(holds), [text], rows_of(sides))]


def context(results: Results) -> Verdict:
    """Claim 6: longer contexts against the shortest, and guided rollouts against unguided ones.

    The context's part is supported where the interval of each ratio of VRMSE lies within MATCH of
    1, guidance's where that over the last horizon lies below KEPT. A half that is not supported
    contradicts the claim; it is supported only where both are.
    """
    halves = {"Context": _contexts(results), "Guidance": _guidance(results)}
    missing = {
        "Context": "No two samplers of an emulator differ in their context alone.",
        "Guidance": "Guidance with partial observations is not run.",
    }
    evidence, told = [], []
    for name, parts in halves.items():
        evidence += [line for part in parts for line in part.evidence] or [missing[name]]
        told.append(f"{name}: {together(parts)}.")
    every = [*halves["Context"], *halves["Guidance"]]
    absent = [Part(name, NOT_TESTED, []) for name, parts in halves.items() if not parts]
    verdict = together([*every, *absent])
    return Verdict(6, TEXTS[6], CRITERIA[6], verdict, evidence, " ".join(told), every)


def _contexts(results: Results) -> list[Part]:
    rows = metric_rows(results, "vrmse")
    rows = rows[rows["method"].isin(EMULATORS)]
    parts = []
    for (dataset, autoencoder, emulator), runs in rows.groupby(
        ["dataset", "autoencoder", "emulator"]
    ):
        samplers = sorted(runs["sampler"].unique(), key=lambda s: results.study.samplers[s].context)
        for family in _families(results.study, samplers):
            for longer in family[1:]:
                name = f"{dataset}/{autoencoder}/{emulator}, {longer} against {family[0]}"
                sides = {s: runs[runs["sampler"] == s] for s in (longer, family[0])}
                tables = check_paired([tabulate(side) for side in sides.values()])
                unfit = too_few(tables[0])
                starts = runs.loc[runs["sampler"].isin([longer, family[0]]), "start"].unique()
                if len(starts) > 1:
                    unfit = f"they begin at steps {min(starts)} and {max(starts)}: other states"
                if unfit is not None:
                    parts.append(Part(name, NOT_TESTED, [f"{name}: {unfit}"]))
                    continue
                ratio = estimate(lambda a, b: a / b, *(table.mean(axis=1) for table in tables))
                text = f"{name}: VRMSE ratio {ratio} ({counted(tables[0])})"
                near = ratio.low > 1 - MATCH and ratio.high < 1 + MATCH
                parts.append(Part(name, judge(near), [text], rows_of(sides)))
    return parts


def _guidance(results: Results) -> list[Part]:
    plain, guided = (metric_rows(results, "vrmse", guided=which) for which in (False, True))
    run, twins = ["dataset", "autoencoder", "emulator"], results.study.twins()
    parts = []
    for (*names, sampler), own in guided.groupby([*run, "sampler"]):
        of = (plain[run] == names).all(axis=1) & (plain["sampler"] == twins[sampler])
        name = f"{'/'.join(names)}, {sampler} against {twins[sampler] or 'none'}"
        last = in_order(own["horizon"].unique())[-1]
        sides = {sampler: own, twins[sampler]: plain[of]}
        sides = {side: rows[rows["horizon"] == last] for side, rows in sides.items()}
        tables = [tabulate(rows) for rows in sides.values()]
        if (few := too_few(tables[1])) is not None:
            parts.append(Part(name, NOT_TESTED, [f"{name}: {few}"]))
            continue
        ends = [table[last] for table in check_paired(tables)]
        ratio = estimate(lambda a, b: a / b, *ends)
        text = (
            f"{name}: VRMSE over lead times {last} {ends[0].mean():.3g}, unguided "
            f"{ends[1].mean():.3g}, ratio {ratio} ({counted(tables[0])})"
        )
        parts.append(Part(name, judge(ratio.high < KEPT), [text], rows_of(sides)))
    return parts


def _families(study: Study, names: list[str]) -> list[list[str]]:
    """Returns the samplers that differ in context (and in overlap, which follows it) alone."""
    families: dict[str, list[str]] = {}
    for name in names:
        rest = study.samplers[name].model_dump_json(exclude={"context", "overlap"})
        families.setdefault(rest, []).append(name)
    found = [family for family in families.values() if len(family) > 1]
    return [f for f in found if len({study.samplers[s].context for s in f}) == len(f)]
