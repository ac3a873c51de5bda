"""The paper's six claims, each held against the numbers of this run.

A claim is supported only where the 95 % interval of what was measured lies on its side of a
threshold, or, for costs and losses, which are measured once, where the number itself does. A claim
about which this run says nothing is not tested. Thresholds are the constants below. Intervals are
bootstrapped over test trajectories, the same resamples for whatever is compared.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from lilas.display import spaced
from lilas.evaluation.spectra import INNER_BANDS
from lilas.files import write_json
from lilas.report.paired import (
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    Results,
    Verdict,
    _alike,
    _check_paired,
    _emulation,
    _estimate,
    _few,
    _judge,
    _mean_cost,
    _Part,
    _pixel,
    _runs,
    _size,
    _table,
    _together,
)
from lilas.report.summary import EMULATORS
from lilas.study.entries import AutoencoderEntry
from lilas.study.methods import DIFFUSION, SOLVER
from lilas.study.paths import split_run_name
from lilas.study.study import Study

# Robust to compression: an error that grows by less than a tenth. In the paper's Table 6, horizons
# pooled, it grows by 6 % on Euler, by 14 % on gravity cooling, and shrinks on Rayleigh-Bénard.
ROBUST = 1.1
# Matching pixel space, and a context that hardly matters: within a twentieth of the error, which is
# as far as contexts are apart in the paper's Table 7, horizons pooled.
MATCH = 0.05
# A spread-skill ratio near 1: the ensemble over- or understates its error by at most a fifth.
NEAR_ONE = (0.8, 1.2)
# A spread-skill ratio that falls "a little": by no more than that same fifth.
FALL = 0.2
# "Far faster" convergence: the other's last validation loss in half of its steps.
FAR_FASTER = 0.5
PRECONDITIONED, PLAIN = ("psgd", "soap"), ("adam", "adamw")
# What a training may set differently because its optimiser is another.
OF_OPTIMIZER = {
    "optimizer",
    "learning_rate",
    "betas",
    "weight_decay",
    "precondition_every",
    "precondition_size",
}
JOBS = "Seconds are of whole jobs, start-up included, and of a resumed job's last part alone."


def check(results: Results) -> list[Verdict]:
    """Returns the verdict on each of the six claims, in the paper's order.

    Raises:
        LilasError: runs to compare were evaluated on different trajectories or horizons.
    """
    return [examine(results) for examine in CLAIMS.values()]


def write_claims(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Writes verdicts as JSON: `claims` lists number, claim, verdict, evidence and reason."""
    write_json(path, {"claims": [asdict(verdict) for verdict in verdicts]})


# --- The claims -------------------------------------------------------------------------------


def robustness(results: Results) -> Verdict:
    """Claim 1: the VRMSE of latent diffusion at the highest over that at the lowest compression.

    Supported where the ratio's interval ends below ROBUST and the reconstruction's ratio is above
    1 and larger than it, by intervals too.
    """
    latent = _emulation(results, "vrmse", pixel=False)
    parts, others, ranges = [], [], []
    for (dataset, method), rows in latent.groupby(["dataset", "method"]):
        found = sorted(rows["compression"].unique())
        if len(found) < 2:
            continue
        ends = [rows[rows["compression"] == value] for value in (found[0], found[-1])]
        ends = _alike(ends, ["entry", "sampler"], ["sampler"])
        part = _robust(results, f"{dataset}, {method}", ends, found)
        if method == DIFFUSION:
            parts.append(part)
            ranges.append(f"{dataset} {found[0]:g} to {found[-1]:g}")
        else:
            others += part.evidence
    text = f"Only these compressions were run: {', '.join(ranges)}." if ranges else ""
    missing = "No latent diffusion at two compressions."
    return _conclude(1, parts, missing, more=others, note=text)


def _robust(results: Results, name: str, ends: list[pd.DataFrame], found: list[float]) -> _Part:
    reconstruction = _runs(results, "vrmse")
    reconstruction = reconstruction[reconstruction["method"] == "reconstruction"]
    tables = [_table(rows) for rows in ends]
    for rows in ends:
        same = ["dataset", "autoencoder"]
        own = reconstruction.merge(rows[same].drop_duplicates(), on=same)
        tables.append(_table(own))
    _check_paired(tables)
    head = f"{name}, compression {found[0]:g} to {found[-1]:g}"
    if (few := _few(tables[0])) is not None:
        return _Part(name, NOT_TESTED, [f"{head}: {few}"])
    pooled = [table.mean(axis=1) for table in tables]
    growth = _estimate(lambda a, b, c, d: b / a, *pooled)
    bound = _estimate(lambda a, b, c, d: d / c, *pooled)
    excess = _estimate(lambda a, b, c, d: (d / c) / (b / a), *pooled)
    evidence = [
        f"{head}: VRMSE {pooled[0].mean():.3g} to {pooled[1].mean():.3g}, ratio {growth}; "
        f"of the reconstruction {pooled[2].mean():.3g} to {pooled[3].mean():.3g}, ratio {bound}; "
        f"the latter over the former {excess} ({_size(tables[0])})",
    ]
    for horizon in tables[0] if len(tables[0].columns) > 1 else []:
        here = [table[horizon] for table in tables]
        growth_here = _estimate(lambda a, b, c, d: b / a, *here)
        bound_here = _estimate(lambda a, b, c, d: d / c, *here)
        evidence.append(
            f"{head}, horizon {horizon}: ratio {growth_here}; of the reconstruction {bound_here}"
        )
    degrades = bound.low > 1 and excess.low > 1
    return _Part(name, _judge(growth.high < ROBUST and degrades), evidence)


def pixel_space(results: Results) -> Verdict:
    """Claim 2: VRMSE, parameters and training time of latent and pixel-space emulators.

    Supported where, for each method and compression, the interval of the VRMSE's difference ends
    below MATCH of the pixel-space VRMSE, with fewer parameters and fewer training seconds.
    """
    latent = _emulation(results, "vrmse", pixel=False)
    pixel = _emulation(results, "vrmse", pixel=True)
    parts = []
    for (dataset, method), theirs in pixel.groupby(["dataset", "method"]):
        ours = latent[(latent["dataset"] == dataset) & (latent["method"] == method)]
        for compression, rows in ours.groupby("compression"):
            name = f"{dataset}, {method}, compression {compression:g}"
            parts += _beats(results.costs, name, *_alike([rows, theirs], ["context"]))
    missing = "No method was run both in latent and in pixel space."
    return _conclude(2, parts, missing, note=JOBS if parts else "")


def _beats(costs: pd.DataFrame, name: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> list[_Part]:
    tables = _check_paired([_table(ours), _table(theirs)])
    parts = []
    if (few := _few(tables[0])) is not None:
        parts.append(_Part(f"{name}: VRMSE", NOT_TESTED, [f"{name}: {few}"]))
    else:
        latent, pixel = (table.mean(axis=1) for table in tables)
        difference = _estimate(lambda a, b: a - b, latent, pixel)
        text = (
            f"{name}: VRMSE {latent.mean():.3g}, in pixel space {pixel.mean():.3g}, difference "
            f"{difference} ({_size(tables[0])})"
        )
        matches = difference.high < MATCH * pixel.mean()
        parts.append(_Part(f"{name}: VRMSE", _judge(matches), [text]))
    for quantity, what in (("parameters", "parameters"), ("seconds", "training seconds")):
        own, other = (_mean_cost(costs, "emulator", quantity, rows) for rows in (ours, theirs))
        if own is None or other is None:
            text = f"{name}: {what} not measured on both sides"
            parts.append(_Part(f"{name}: {what}", NOT_TESTED, [text]))
            continue
        encoder = _mean_cost(costs, "autoencoder", quantity, ours)
        beside = "" if encoder is None else f"; the autoencoder, not counted, {encoder:,.0f}"
        text = f"{name}: {what} {own:,.0f}, in pixel space {other:,.0f}{beside}"
        parts.append(_Part(f"{name}: {what}", _judge(own < other), [text]))
    return parts


def diffusion_or_solver(results: Results) -> Verdict:
    """Claim 3: diffusion against solvers at equal compression, and the ensembles' calibration.

    Supported where the intervals of the differences of VRMSE and of the power spectrum's error in
    each band lie below 0, those of the spread-skill ratio inside NEAR_ONE, and that ratio falls
    from the lowest to the highest compression by no more than FALL.
    """
    parts = []
    for metric in ("vrmse", *(f"power_spectrum_{band}" for band in INNER_BANDS)):
        rows = _emulation(results, metric, pixel=False)
        for (dataset, compression), here in rows.groupby(["dataset", "compression"]):
            sides = [here[here["method"] == method] for method in (DIFFUSION, SOLVER)]
            if all(len(side) for side in sides):
                name = f"{dataset}, compression {compression:g}, {metric}"
                parts.append(_below(name, *_alike(sides, ["context"])))
    compared = bool(parts)
    ratio = _emulation(results, "spread_skill", pixel=False)
    for dataset, rows in ratio[ratio["method"] == DIFFUSION].groupby("dataset"):
        parts += _calibration(dataset, rows)
    if not compared:
        missing = "No diffusion model and solver at equal compression."
        return _conclude(3, [], missing, more=[line for part in parts for line in part.evidence])
    if not any("spread_skill" in part.name for part in parts):
        text = "No ensemble of latent diffusion has a spread-skill ratio."
        parts.append(_Part("spread_skill", NOT_TESTED, [text]))
    return _conclude(3, parts, "")


def _below(name: str, diffusion: pd.DataFrame, solver: pd.DataFrame) -> _Part:
    tables = _check_paired([_table(diffusion), _table(solver)])
    if (few := _few(tables[0])) is not None:
        return _Part(name, NOT_TESTED, [f"{name}: {few}"])
    ours, theirs = (table.mean(axis=1) for table in tables)
    difference = _estimate(lambda a, b: a - b, ours, theirs)
    text = (
        f"{name}: diffusion {ours.mean():.3g}, solver {theirs.mean():.3g}, difference "
        f"{difference} ({_size(tables[0])})"
    )
    return _Part(name, _judge(difference.high < 0), [text])


def _calibration(dataset: str, rows: pd.DataFrame) -> list[_Part]:
    parts = []
    found = sorted(rows["compression"].unique())
    for compression in found:
        name = f"{dataset}, compression {compression:g}, spread_skill"
        table = _table(rows[rows["compression"] == compression])
        if (few := _few(table)) is not None:
            parts.append(_Part(name, NOT_TESTED, [f"{name}: {few}"]))
            continue
        ratio = _estimate(lambda a: a, table.mean(axis=1))
        near = NEAR_ONE[0] <= ratio.low and ratio.high <= NEAR_ONE[1]
        parts.append(_Part(name, _judge(near), [f"{name}: {ratio} ({_size(table)})"]))
    name = f"{dataset}, spread_skill by compression"
    ends = [rows[rows["compression"] == value] for value in (found[0], found[-1])]
    tables = [_table(end) for end in _alike(ends, ["entry", "sampler"], ["sampler"])]
    if len(found) < 2 or _few(tables[0]) is not None:
        why = "one compression" if len(found) < 2 else _few(tables[0])
        return [*parts, _Part(name, NOT_TESTED, [f"{name}: {why}"])]
    _check_paired(tables)
    change = _estimate(lambda a, b: b - a, *(table.mean(axis=1) for table in tables))
    text = f"{name}: from {found[0]:g} to {found[-1]:g} it changes by {change}"
    return [*parts, _Part(name, _judge(change.low > -FALL and change.high < 0), [text])]


def convergence(results: Results) -> Verdict:
    """Claim 4: validation losses at equal steps of autoencoders that differ in one thing alone.

    That thing is `identity_init` (true against false) or the optimiser with its own settings
    (preconditioned against Adam's family). Supported where both were compared, and the first ends
    with the lower loss and reaches the second's last loss within FAR_FASTER of its steps.
    """
    parts = []
    study = results.study
    for dataset in study.datasets:
        names = list(dict.fromkeys(name for name, _ in study.trainings("autoencoders", dataset)))
        entries = {name: study.resolve("autoencoders", name, dataset) for name in names}
        for first, one in entries.items():
            for second, two in entries.items():
                what = _only_difference(one, two)
                for seed in sorted({*one.seeds} & {*two.seeds}) if what else []:
                    part = _faster(results.losses, dataset, what, first, second, seed)
                    parts += [part] if part else []
    if parts:
        for what in ("initialisation", "optimiser"):
            if not any(what in part.name for part in parts):
                text = f"{what}: no two autoencoders differ in it alone"
                parts.append(_Part(what, NOT_TESTED, [text]))
    missing = "No two trained autoencoders differ in identity_init or in the optimiser alone."
    note = "One training each: losses have no interval." if parts else ""
    return _conclude(4, parts, missing, note=note)


def _only_difference(one: AutoencoderEntry, two: AutoencoderEntry) -> str | None:
    """Returns what alone makes `one` the claim's better choice over `two`; None for no pair."""
    if not (one.is_trained and two.is_trained):
        return None
    left, right = (
        entry.model.model_dump(exclude={"train"})
        | {f"train.{key}": value for key, value in entry.model.train.model_dump().items()}
        for entry in (one, two)
    )
    if left.keys() != right.keys():
        return None
    differing = {key for key in left if left[key] != right[key]}
    if differing == {"identity_init"} and left["identity_init"]:
        return "initialisation"
    fit = left["train.optimizer"] in PRECONDITIONED and right["train.optimizer"] in PLAIN
    if fit and differing <= {f"train.{key}" for key in OF_OPTIMIZER}:
        return "optimiser"
    return None


def _faster(
    losses: pd.DataFrame, dataset: str, what: str, first: str, second: str, seed: int
) -> _Part | None:
    curves = []
    for name in (first, second):
        own = (losses["dataset"] == dataset) & (losses["autoencoder"] == f"{name}-s{seed}")
        curves.append(losses[own].set_index("step")["valid_loss"])
    both = pd.concat(curves, axis=1, keys=["first", "second"], join="inner").sort_index()
    if both.empty:
        return None
    last, final = both.index[-1], both["second"].iloc[-1]
    reached = both.index[both["first"] <= final]
    name = f"{dataset}, {what}: {first} against {second}, seed {seed}"
    shown = both.iloc[spaced(len(both), 4)]
    text = "; ".join(
        f"{row.first:.3g} and {row.second:.3g} at step {step}"
        for step, row in zip(shown.index, shown.itertuples(), strict=True)
    )
    when = f"at step {reached[0]} of {last}" if len(reached) else f"not within {last} steps"
    evidence = [f"{name}: validation loss {text}; the first reaches the second's last loss {when}"]
    lower = both["first"].iloc[-1] < final
    fast = len(reached) > 0 and reached[0] <= FAR_FASTER * last
    return _Part(name, _judge(lower and fast), evidence)


def speed(results: Results) -> Verdict:
    """Claim 5: seconds per generated state of latent diffusion, pixel space and the simulator.

    A latent state's cost lies between that of the rollout, which leaves it encoded, and that of
    rollout and evaluation, which decodes it and computes every metric. Against each of the others
    it is supported where the upper of these is below, contradicted where the lower is not.
    """
    parts, missing = [], []
    for dataset in results.study.datasets:
        low, high, pixel, simulator = _seconds_per_state(results, dataset)
        sides = {
            "latent diffusion": (low, f"{low:.3g} (not decoded)" if low else ""),
            "latent diffusion, decoded and evaluated": (high, f"{high:.3g}" if high else ""),
            "pixel-space emulators": (pixel, f"{pixel:.3g}" if pixel else ""),
            "simulator": (simulator, f"{simulator:.3g}" if simulator else ""),
        }
        evidence = [
            f"{dataset}: seconds per state, {name}: {text or 'not measured'}"
            for name, (_, text) in sides.items()
        ]
        absent = [name for name, (value, _) in sides.items() if value is None]
        if absent:
            missing.append(f"{dataset}: {', '.join(absent)} not measured")
        # A contradiction by one of the others stands, whether or not the other was measured.
        for name, other in (("pixel space", pixel), ("the simulator", simulator)):
            verdict = NOT_TESTED
            if None not in (high, other) and high < other:
                verdict = SUPPORTED
            elif None not in (low, other) and low >= other:
                verdict = NOT_SUPPORTED
            elif None not in (low, high, other):
                missing.append(f"{dataset}: decoding is not timed apart from the metrics")
            parts.append(_Part(f"{dataset}, against {name}", verdict, evidence))
            evidence = []
    missing = list(dict.fromkeys(missing))
    note = " ".join([*(f"{text}." for text in missing), JOBS, "One measurement: no interval."])
    return _conclude(5, parts, "", note=note)


def _seconds_per_state(
    results: Results, dataset: str
) -> tuple[float | None, float | None, float | None, float | None]:
    """Returns seconds per state: latent rollout, that and evaluation, pixel rollout, simulator."""
    costs = results.costs[results.costs["dataset"] == dataset]
    runs = ["autoencoder", "emulator", "sampler"]
    wide = costs[costs["kind"].isin(["rollout", "evaluation"])].copy()
    wide["column"] = wide["kind"] + "_" + wide["quantity"]
    wide = wide.pivot(index=runs, columns="column", values="value")
    wide = wide.reindex(columns=["rollout_seconds", "rollout_states", "evaluation_seconds"])
    pixel = np.array([_pixel(results.study, dataset, run[0]) for run in wide.index], bool)
    diffusion = np.array(
        [
            results.study.resolve("emulators", split_run_name(run[1])[0], dataset).model.method
            == DIFFUSION
            for run in wide.index
        ],
        bool,
    )

    def per_state(rows: pd.DataFrame, *seconds: str) -> float | None:
        known = rows.dropna(subset=["rollout_states", *seconds])
        if known.empty:
            return None
        return float(known[list(seconds)].sum(axis=None) / known["rollout_states"].sum())

    latent = wide[~pixel & diffusion]
    simulation = costs[costs["kind"] == "simulation"].set_index("quantity")["value"]
    return (
        per_state(latent, "rollout_seconds"),
        per_state(latent, "rollout_seconds", "evaluation_seconds"),
        per_state(wide[pixel], "rollout_seconds"),
        float(simulation["seconds"] / simulation["states"]) if len(simulation) == 2 else None,
    )


def context(results: Results) -> Verdict:
    """Claim 6: the VRMSE with longer contexts over that with the shortest; guidance is never run.

    The context's part is supported where the interval of each ratio lies within MATCH of 1. The
    claim itself is not tested without guidance.
    """
    rows = _runs(results, "vrmse")
    rows = rows[rows["method"].isin(EMULATORS)]
    parts = []
    for (dataset, autoencoder, emulator), runs in rows.groupby(
        ["dataset", "autoencoder", "emulator"]
    ):
        samplers = sorted(runs["sampler"].unique(), key=lambda s: results.study.samplers[s].context)
        for family in _families(results.study, samplers):
            for longer in family[1:]:
                name = f"{dataset}/{autoencoder}/{emulator}, {longer} against {family[0]}"
                tables = [_table(runs[runs["sampler"] == s]) for s in (longer, family[0])]
                _check_paired(tables)
                if (few := _few(tables[0])) is not None:
                    parts.append(_Part(name, NOT_TESTED, [f"{name}: {few}"]))
                    continue
                ratio = _estimate(lambda a, b: a / b, *(table.mean(axis=1) for table in tables))
                text = f"{name}: VRMSE ratio {ratio} ({_size(tables[0])})"
                near = ratio.low > 1 - MATCH and ratio.high < 1 + MATCH
                parts.append(_Part(name, _judge(near), [text]))
    evidence = [line for part in parts for line in part.evidence]
    if not parts:
        evidence = ["No two samplers of an emulator differ in their context alone."]
    lengths = _together(parts)
    return Verdict(
        6,
        TEXTS[6],
        CRITERIA[6],
        NOT_TESTED,
        [*evidence, "Guidance with partial observations is not run."],
        f"Context: {lengths}. Guidance: {NOT_TESTED}. The claim is tested only where both are.",
    )


def _families(study: Study, names: list[str]) -> list[list[str]]:
    """Returns the samplers that differ in context (and in overlap, which follows it) alone."""
    families: dict[str, list[str]] = {}
    for name in names:
        rest = study.samplers[name].model_dump_json(exclude={"context", "overlap"})
        families.setdefault(rest, []).append(name)
    found = [family for family in families.values() if len(family) > 1]
    return [f for f in found if len({study.samplers[s].context for s in f}) == len(f)]


CLAIMS: dict[int, Callable[[Results], Verdict]] = {
    1: robustness,
    2: pixel_space,
    3: diffusion_or_solver,
    4: convergence,
    5: speed,
    6: context,
}
TEXTS = {
    1: "The accuracy of latent diffusion is robust to the compression rate, although the "
    "reconstruction degrades.",
    2: "Latent emulators match or beat pixel-space emulators with fewer parameters and less "
    "training.",
    3: "Diffusion emulators are more accurate than neural solvers and have better power spectra; "
    "their spread-skill ratio is near 1 and falls a little with compression.",
    4: "Near-identity initialisation and a preconditioned optimiser train autoencoders far faster "
    "than Adam.",
    5: "Latent diffusion generates states faster than pixel-space emulators and the simulator.",
    6: "The number of context states hardly matters, and guidance with partial observations keeps "
    "a rollout near the truth.",
}


CRITERIA = {
    1: f"Supported if the VRMSE's ratio, highest to lowest compression, has an interval below "
    f"{ROBUST:g}, and the reconstruction's grows by more.",
    2: f"Supported if the VRMSE's difference has an interval below {MATCH:.0%} of the VRMSE in "
    "pixel space, with fewer parameters and training seconds.",
    3: "Supported if the differences of VRMSE and of the spectral errors have intervals below 0, "
    f"and spread / skill one within {NEAR_ONE[0]:g} to {NEAR_ONE[1]:g} that falls by at most "
    f"{FALL:g}.",
    4: "Supported if both trainings end with the lower validation loss, and reach the other's last "
    f"one within {FAR_FASTER:.0%} of its steps.",
    5: "Supported if a state takes fewer seconds, with and without its decoding.",
    6: f"Supported if the VRMSE's ratio has an interval within {MATCH:.0%} of 1, and a guided "
    "rollout stays near the truth.",
}


# --- Verdicts ---------------------------------------------------------------------------------


def _conclude(
    number: int, parts: list[_Part], missing: str, more: list[str] = (), note: str = ""
) -> Verdict:
    """Returns the verdict on a claim from its parts; `missing` says why there are none."""
    evidence = [line for part in parts for line in part.evidence] + list(more)
    sentences = []
    for verdict in (NOT_SUPPORTED, NOT_TESTED, SUPPORTED):
        names = [part.name for part in parts if part.verdict == verdict]
        if len(names) == len(parts) > 2:
            sentences.append(f"{verdict.capitalize()}: all {len(parts)} parts.")
        elif names:
            sentences.append(f"{verdict.capitalize()}: {'; '.join(names)}.")
    reason = " ".join(filter(None, [*(sentences or [missing]), note]))
    return Verdict(number, TEXTS[number], CRITERIA[number], _together(parts), evidence, reason)


# --- Samples of trajectories ------------------------------------------------------------------
