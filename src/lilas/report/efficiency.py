"""The claims about costs: how fast trainings converge, and states are generated (4, 5)."""

import numpy as np
import pandas as pd

from lilas.display import spaced
from lilas.report.criteria import FAR_FASTER, JOBS, conclude
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
from lilas.study.entries import AutoencoderEntry
from lilas.study.methods import DIFFUSION
from lilas.study.paths import split_training_name

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
                parts.append(Part(what, NOT_TESTED, [text]))
    missing = "No two trained autoencoders differ in identity_init or in the optimiser alone."
    note = "One training each: losses have no interval." if parts else ""
    return conclude(4, parts, missing, note=note)


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
) -> Part | None:
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
    return Part(name, judge(lower and fast), evidence)


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
            parts.append(Part(f"{dataset}, against {name}", verdict, evidence))
            evidence = []
    missing = list(dict.fromkeys(missing))
    note = " ".join([*(f"{text}." for text in missing), JOBS, "One measurement: no interval."])
    return conclude(5, parts, "", note=note)


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
    pixel = np.array([in_pixel_space(results.study, dataset, run[0]) for run in wide.index], bool)
    diffusion = np.array(
        [
            results.study.resolve("emulators", split_training_name(run[1])[0], dataset).model.method
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
