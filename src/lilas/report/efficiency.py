"""The claim about costs: how fast states are generated (5)."""

import numpy as np
import pandas as pd

from lilas.report.criteria import JOBS, conclude
from lilas.report.paired import (
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    Part,
    Results,
    Verdict,
    in_pixel_space,
    judge,
)
from lilas.report.speed import SIMULATOR, cell_name, median, runs, turn_rows
from lilas.study.methods import DIFFUSION
from lilas.study.paths import split_training_name


def speed(results: Results) -> Verdict:
    """Claim 5: seconds per generated state of latent diffusion, of pixel space and the simulator.

    Pixel space is that of diffusion: a solver, which evaluates its network once, is another method.
    Where states were timed, it is supported where the interval of the ratio of a decoded state's
    seconds lies below 1, with the same sampler in pixel space. Else it rests on whole jobs.
    """
    parts, missing, whole = [], [], False
    timed = runs(results.timings)
    for dataset in results.study.datasets:
        own = timed[timed["dataset"] == dataset]
        if own.empty:
            whole = True
            found, absent = _speed_of_jobs(results, dataset)
        else:
            found, absent = _speed_as_timed(dataset, own)
        parts += found
        missing += absent
    missing = list(dict.fromkeys(missing))
    notes = [JOBS, "One measurement: no interval."] if whole else []
    return conclude(5, parts, "", note=" ".join([*(f"{text}." for text in missing), *notes]))


def _speed_as_timed(dataset: str, timed: pd.DataFrame) -> tuple[list[Part], list[str]]:
    """Returns the parts of a dataset whose states were timed, and what was not."""
    diffusion = timed[timed["method"] == DIFFUSION]
    ours = diffusion[~diffusion["pixel"].astype(bool)]
    others = {
        "pixel space": diffusion[diffusion["pixel"].astype(bool)],
        "the simulator": timed[timed["method"] == SIMULATOR],
    }
    absent = [name for name, rows in others.items() if rows.empty]
    missing = [f"{dataset}: {' and '.join(absent)} not timed"] if absent else []
    if ours.empty:
        return [], [f"{dataset}: latent diffusion not timed"]
    parts = []
    for row in ours.to_dict("records"):
        model = f"{row['autoencoder']}/{row['emulator']}"
        name = f"{dataset}, compression {row['compression']:g}, {model}, {row['sampler']}"
        seconds, cell = row["timing_state"], cell_name(row, "timing_state")
        head = (
            f"{name}: seconds per state {median(seconds)}, {median(row['timing_rollout'])} of them "
            "without decoding"
        )
        for against, rows in others.items():
            if against == "pixel space":
                rows = rows[rows["sampler"] == row["sampler"]]
            if rows.empty:
                parts.append(Part(f"{name}, against {against}", NOT_TESTED, [head]))
            for other in rows.to_dict("records"):
                own = f" ({other['autoencoder']}/{other['emulator']})" if len(rows) > 1 else ""
                ratio = median(seconds / other["timing_state"])
                text = (
                    f"{head}; of {against}{own} {median(other['timing_state'])}, ratio {ratio} "
                    f"(cells {cell} and {cell_name(other, 'timing_state')})"
                )
                part = f"{name}, against {against}{own}"
                sides = {"latent diffusion": {cell: seconds}}
                sides[against] = {cell_name(other, "timing_state"): other["timing_state"]}
                parts.append(Part(part, judge(ratio.high < 1), [text], turn_rows(sides)))
    return parts, missing


def _speed_of_jobs(results: Results, dataset: str) -> tuple[list[Part], list[str]]:
    """Returns the parts of a dataset by the seconds of its jobs, and what is missing.

    A latent state's cost lies between that of the rollout, which leaves it encoded, and that of
    rollout and evaluation, which decodes it and computes every metric. Against each of the others
    it is supported where the upper of these is below, contradicted where the lower is not.
    """
    parts, missing = [], []
    low, high, pixel, simulator = _seconds_per_state(results, dataset)
    sides = {
        "latent diffusion": (low, f"{low:.3g} (not decoded)" if low else ""),
        "latent diffusion, decoded and evaluated": (high, f"{high:.3g}" if high else ""),
        "diffusion in pixel space": (pixel, f"{pixel:.3g}" if pixel else ""),
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
        parts.append(Part(f"{dataset}, against {name}", verdict, evidence))
        evidence = []
    return parts, missing


def _seconds_per_state(
    results: Results, dataset: str
) -> tuple[float | None, float | None, float | None, float | None]:
    """Returns seconds per state: latent rollout, that and evaluation, pixel rollout, simulator.

    Each diffusion model has the first of its samplers.
    """
    costs = results.costs[results.costs["dataset"] == dataset]
    runs = ["autoencoder", "emulator", "sampler"]
    wide = costs[costs["kind"].isin(["rollout", "evaluation"])].copy()
    wide["column"] = wide["kind"] + "_" + wide["quantity"]
    wide = wide.pivot(index=runs, columns="column", values="value")
    wide = wide.reindex(columns=["rollout_seconds", "rollout_states", "evaluation_seconds"])
    entries = [
        results.study.resolve("emulators", split_training_name(emulator)[0], dataset)
        for _, emulator, _ in wide.index
    ]
    guided = results.study.twins()
    chosen = [
        one.model.method == DIFFUSION
        and sampler == next((name for name in one.samplers if name not in guided), None)
        for (_, _, sampler), one in zip(wide.index, entries, strict=True)
    ]
    diffusion = np.array(chosen, bool)
    pixel = np.array([in_pixel_space(results.study, dataset, run[0]) for run in wide.index], bool)

    def per_state(rows: pd.DataFrame, *seconds: str) -> float | None:
        known = rows.dropna(subset=["rollout_states", *seconds])
        if known.empty:
            return None
        return float(known[list(seconds)].sum(axis=None) / known["rollout_states"].sum())

    latent = wide[~pixel & diffusion]
    simulation = costs[costs["kind"] == "simulation"].set_index("quantity")["value"]
    # What is simulated are intervals, of which a generated state is `stride`.
    stride = results.study.datasets[dataset].stride
    return (
        per_state(latent, "rollout_seconds"),
        per_state(latent, "rollout_seconds", "evaluation_seconds"),
        per_state(wide[pixel & diffusion], "rollout_seconds"),
        stride * simulation["seconds"] / simulation["states"] if len(simulation) == 2 else None,
    )
