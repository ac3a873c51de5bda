"""How autoencoders converge by optimiser and initialisation (paper, Table 4), and claim 4.

An arm is an optimiser with an initialisation. Where it was tried with several rates, or other
settings of its own, the one of the least validation loss stands for it: the mean over seeds at the
last step. Arms of one group have all else in common, steps included.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd

from lilas.display import spaced
from lilas.evaluation.uncertainty import t_interval
from lilas.report.criteria import FAR_FASTER, conclude
from lilas.report.paired import NOT_TESTED, Estimate, Part, Results, Verdict, judge, sampled
from lilas.study.ablation import Variant, variants
from lilas.study.paths import HISTORY, training_name

PRECONDITIONED, PLAIN = ("psgd", "soap"), ("adam", "adamw")
INITIALISATIONS = {True: "near identity", False: "plain", None: "-"}


@dataclass(frozen=True, eq=False)
class Curves:
    """The trainings of a variant.

    Attributes:
        variant: What was trained.
        losses: Validation losses (step, seed).
        seconds: Wall time of the steps (step, seed); NaN where it was not measured.
    """

    variant: Variant
    losses: pd.DataFrame
    seconds: pd.DataFrame

    @property
    def final(self) -> float:
        """The last validation loss, mean over seeds."""
        return float(self.losses.iloc[-1].mean())

    def at(self, share: float) -> pd.Series:
        """The losses (seed,) of the last validation within a share of the steps; may be empty."""
        within = self.losses[self.losses.index <= share * self.losses.index[-1]]
        return within.iloc[-1] if len(within) else pd.Series(dtype=float)


@dataclass(frozen=True, eq=False)
class Arm:
    """An optimiser with an initialisation.

    Attributes:
        best: Of what was tried, the one of the least last validation loss.
        tried: All of it.
    """

    best: Curves
    tried: Sequence[Curves]

    @property
    def group(self) -> str:
        return self.best.variant.group

    @property
    def optimizer(self) -> str:
        return self.best.variant.optimizer["optimizer"]

    @property
    def identity_init(self) -> bool | None:
        return self.best.variant.identity_init

    @property
    def name(self) -> str:
        """In words, such as "soap near identity"."""
        parts = (self.optimizer, INITIALISATIONS[self.identity_init])
        return " ".join(part for part in parts if part != "-")


def arms(its: Iterable[Variant], losses: pd.DataFrame) -> list[Arm]:
    """Returns the arms of a dataset whose trainings have histories, in the order of the study.

    Args:
        its: Of `lilas.study.ablation.variants`.
        losses: Of the dataset, as of `lilas.report.costs.read_losses`.
    """
    tried: dict[tuple[str, str, bool | None], list[Curves]] = {}
    for variant in its:
        runs = {training_name(variant.entry, seed): seed for seed in variant.seeds}
        own = losses[losses["autoencoder"].isin(list(runs))]
        own = own.assign(seed=own["autoencoder"].map(runs))
        # Steps that all seeds were validated at.
        tables = [
            own.pivot(index="step", columns="seed", values=v) for v in ("valid_loss", "seconds")
        ]
        kept = tables[0].dropna()
        if len(kept):
            key = (variant.group, variant.optimizer["optimizer"], variant.identity_init)
            curves = Curves(variant, kept, tables[1].loc[kept.index])
            tried.setdefault(key, []).append(curves)
    return [Arm(min(one, key=lambda curves: curves.final), one) for one in tried.values()]


def reference(found: Sequence[Arm], group: str) -> Arm | None:
    """Returns what others are held against: Adam with plain initialisation; None where it lacks."""
    for optimizer in PLAIN:
        for arm in found:
            if (arm.group, arm.optimizer, arm.identity_init) == (group, optimizer, False):
                return arm
    return None


def reached(curves: Curves, goal: pd.Series) -> pd.Series:
    """Returns the first step (seed,) whose loss is at most that seed's goal; NaN where none is."""
    shared = curves.losses.columns.intersection(goal.index)
    there = curves.losses[shared] <= goal[shared]
    return there.idxmax().where(there.any()).astype(float)


# --- Claim 4 ----------------------------------------------------------------------------------


def convergence(results: Results) -> Verdict:
    """Claim 4: validation losses at equal steps of arms that differ in one thing alone.

    That thing is the initialisation (near the identity against plain; the same settings of the
    optimiser were tried) or the optimiser with its own settings (preconditioned against Adam's
    family; as many were tried), each with the best of what was tried. Supported where, for both,
    the intervals over seeds say that the first ends with the lower loss, and that it has been below
    the second's last loss within FAR_FASTER of the steps.
    """
    parts = []
    for dataset, its in variants(results.study).items():
        found = arms(its, results.losses[results.losses["dataset"] == dataset])
        for what, first, second, equally in _pairs(found):
            parts.append(_faster(dataset, what, first, second, equally))
    if parts:
        for what in ("initialisation", "optimiser"):
            if not any(f", {what}" in part.name for part in parts):
                text = f"{what}: no two autoencoders differ in it alone"
                parts.append(Part(what, NOT_TESTED, [text]))
    missing = "No two trained autoencoders differ in identity_init or in the optimiser alone."
    note = "Intervals are over training seeds, paired; of few they are wide." if parts else ""
    return conclude(4, parts, missing, note=note)


def _pairs(found: Sequence[Arm]) -> Iterator[tuple[str, Arm, Arm, bool]]:
    """Yields what two arms differ in alone, the claim's better choice first.

    And whether they were tried equally: best of more is better by chance.
    """
    for first, second in product(found, found):
        if first.group != second.group:
            continue
        same = first.optimizer == second.optimizer
        tried = [[one.variant.optimizer for one in arm.tried] for arm in (first, second)]
        equally = len(tried[0]) == len(tried[1])
        if same and (first.identity_init, second.identity_init) == (True, False):
            alike = equally and all(one in tried[1] for one in tried[0])
            yield "initialisation", first, second, alike
        optimizers = first.optimizer in PRECONDITIONED and second.optimizer in PLAIN
        if optimizers and first.identity_init == second.identity_init:
            yield "optimiser", first, second, equally


def _faster(dataset: str, what: str, first: Arm, second: Arm, equally: bool) -> Part:
    """Returns the part of the claim that one arm converges faster than another.

    Of arms that were not tried equally it is not tested.
    """
    group = f", {first.group}" if first.group else ""
    name = f"{dataset}, {what}{group}: {first.name} against {second.name}"
    entries = "; ".join(f"{arm.best.variant.entry}{_of(arm)}" for arm in (first, second))
    if not equally:
        counts = f"with {len(first.tried)} and {len(second.tried)} settings of the optimiser"
        return Part(name, NOT_TESTED, [f"{name} ({entries}): not tried alike, {counts}"])
    one, two = first.best.losses, second.best.losses
    seeds = one.columns.intersection(two.columns)
    steps = one.index.intersection(two.index)
    if steps.empty or seeds.empty:
        return Part(name, NOT_TESTED, [f"{name}: no step or no seed in common"])
    one, two = one.loc[steps, seeds], two.loc[steps, seeds]
    shown = spaced(len(steps), 4)
    means = zip(
        steps[shown], one.mean(axis=1).iloc[shown], two.mean(axis=1).iloc[shown], strict=True
    )
    text = "; ".join(f"{a:.3g} and {b:.3g} at step {step}" for step, a, b in means)
    head = f"{name} ({entries}): validation loss {text}"
    early = one[steps <= FAR_FASTER * steps[-1]]
    within = f"within {FAR_FASTER:.0%} of the steps"
    if early.empty:
        return Part(name, NOT_TESTED, [f"{head}; no validation {within}"])
    last = _mean(one.iloc[-1] - two.iloc[-1])
    soon = _mean(early.min() - two.iloc[-1])
    if last is None or soon is None:
        return Part(name, NOT_TESTED, [f"{head}; one seed in common, an interval takes 2"])
    evidence = (
        f"{head}; last less last {last}; least {within} less last {soon}; by seed "
        f"{_listed(one.iloc[-1] - two.iloc[-1])} and {_listed(early.min() - two.iloc[-1])}"
    )
    sides = [
        (f"{first.name}, least {within}", first, early.min()),
        (f"{first.name}, last", first, one.iloc[-1]),
        (f"{second.name}, last", second, two.iloc[-1]),
    ]
    rows = sampled("seed", [row for side in sides for row in _by_seed(dataset, *side)])
    return Part(name, judge(last.high < 0 and soon.high < 0), [evidence], rows)


def _by_seed(
    dataset: str, side: str, arm: Arm, losses: pd.Series
) -> Iterator[tuple[str, str, int, float]]:
    """Yields a side's losses (seed,), each with the file that has it."""
    for seed, loss in losses.items():
        run = training_name(arm.best.variant.entry, seed)
        yield side, f"{dataset}/{run}/{HISTORY}", seed, loss


def _of(arm: Arm) -> str:
    """Returns of how many settings an arm's are the best, in words; empty for a single one."""
    return f", best of {len(arm.tried)}" if len(arm.tried) > 1 else ""


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _mean(values: pd.Series) -> Estimate | None:
    """Returns the mean over seeds with its interval; None for a single one."""
    interval = t_interval(values.to_numpy())
    return None if interval is None else Estimate(float(values.mean()), *interval)
