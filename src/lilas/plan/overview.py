"""What a run would take, by stage: jobs, hours, memory, GPUs and disk, as a table."""

import math
from collections import Counter
from collections.abc import Sequence

from lilas.display import aligned
from lilas.plan.needs import GPU_BYTES, Need, Needs
from lilas.plan.room import STAGES, Job, Row, digits, gb, volumes

# The stages of the rules that write next to nothing.
SMALL = {
    "statistics": "statistics",
    "latents_create": "latents",
    "latents_write": "latents",
    "tune": "rollouts",
    "rollout_create": "rollouts",
    "rollout_write": "rollouts",
    "latent_parameters": "analyses",
    "counterfactual": "analyses",
    "timing": "timing",
    "tables": "report",
    "claims": "report",
    "figures": "report",
    "report": "report",
}
ORDER = list(dict.fromkeys([*STAGES.values(), *SMALL.values()]))
ORDER.insert(ORDER.index("data") + 1, ORDER.pop(ORDER.index("statistics")))
HEAD = "estimated", "jobs", "hours", "longest", "cores", "GPUs", "GB memory", "GB load", "GB write"


def overview(jobs: Sequence[Job], needs: Needs, found: Sequence[Row]) -> str:
    """Returns what jobs take as a table for a terminal, and the room of each volume.

    Hours are of all jobs of a stage, one after the other, and of its longest; cores, GPUs and
    memory of the job that needs most.

    Args:
        jobs: Those that are to run.
        needs: What they need.
        found: What they write, as `lilas.plan.room.rows`.
    """
    stages: dict[str, list[Need]] = {stage: [] for stage in ORDER}
    for job in jobs:
        rule = job.rule.removesuffix("_test").removesuffix("_valid")
        if stage := STAGES.get(rule) or SMALL.get(rule):
            stages[stage].append(needs.of(job))
    rows = {row.stage: row for row in found}
    lines = [HEAD]
    lines += [_line(stage, own, rows.get(stage)) for stage, own in stages.items() if own]
    every = [need for own in stages.values() for need in own]
    total = Row("all", "")
    for row in found:
        total.downloaded += row.downloaded
        total.written += row.written
        total.unknown += row.unknown
    lines.append(_line("all", every, total))
    room = [
        f"on {volume}: {gb(needed)} GB needed, {gb(free)} free"
        for volume, (needed, free) in volumes(found).items()
    ]
    return "\n".join([*aligned(lines), *room, *_beyond(jobs, needs)])


def _beyond(jobs: Sequence[Job], needs: Needs) -> list[str]:
    """Returns a line for each limit of a machine that jobs would go beyond."""
    machine, found = needs.machine, []
    every = [(job.rule, needs.of(job)) for job in jobs]
    large = [
        (need.memory_mb(1), rule)
        for rule, need in every
        if need.memory_mb(1) > (machine.memory_mb or math.inf)
    ]
    if large:
        found.append(
            f"beyond the {machine.memory_mb / 1e3:g} GB of memory that the profile allows: "
            f"{_rules(large)}; lower train.memory_gb, or allow {max(large)[0]} MB."
        )
    full = [(round(need.device / 1e9), rule) for rule, need in every if need.device > GPU_BYTES]
    if full:
        found.append(
            f"beyond a GPU of {GPU_BYTES / 1e9:g} GB, up to {max(full)[0]} GB by these estimates: "
            f"{_rules(full)}; set train.micro_batch, lower a sampler's batch_size, or allow more "
            "GPUs."
        )
    long = [
        (math.ceil(need.seconds / 60 / machine.minutes), rule)
        for rule, need in every
        if machine.minutes and need.seconds / 60 > machine.minutes
    ]
    if long:
        found.append(
            f"beyond the {machine.minutes / 60:g} hours that the profile allows: {_rules(long)}; "
            f"trainings and rollouts go on where they were, up to {max(long)[0] - 1} times; "
            f"`retries` is {machine.retries}."
        )
    return found


def _rules(found: Sequence[tuple[int, str]]) -> str:
    """Returns how many jobs of each rule there are."""
    counts = Counter(rule for _, rule in found)
    return ", ".join(f"{count} of {rule}" for rule, count in counts.items())


def _line(stage: str, own: Sequence[Need], row: Row | None) -> tuple[str, ...]:
    hours = [need.seconds / 3600 for need in own if need.known]
    guessed = len(hours) < len(own)
    row = row or Row(stage, "")
    loads = row.downloaded or stage == STAGES["fetch"]
    return (
        stage,
        str(len(own)),
        _told(_hours(sum(hours)) if hours else "", guessed),
        _hours(max(hours)) if hours else "unknown",
        str(max(need.cores for need in own)),
        str(max(need.gpus for need in own)),
        digits(max(need.memory_mb(1) for need in own) / 1e3),
        _told(gb(row.downloaded) if row.downloaded else "", row.unknown) if loads else "",
        _told(gb(row.written) if row.written else "", row.unknown),
    )


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.2g}" if hours >= 0.1 else f"{hours:.2f}"


def _told(text: str, unknown: int) -> str:
    if not unknown:
        return text
    return f"{text} + unknown" if text else "unknown"
