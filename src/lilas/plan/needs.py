"""What the jobs of a run ask of the machines that they run on: cores, GPUs, memory, time, disk.

Times are estimates by rates that are stated here, of one core and one GPU; what is asked for is
twice the estimate. docs/clusters.md tells how far off they are.
"""

import math
from dataclasses import dataclass

from lilas.plan.room import Job, UnknownError
from lilas.plan.work import Work, Works

# Operations of networks per second: of a core, and of a GPU such as an H100, by precision.
CORE = 40e9
GPU = {"float32": 10e12, "tf32": 80e12, "bfloat16": 100e12}
# Numbers that a core scores per second, and bytes that a job reads or writes.
NUMBERS, BYTES = 2e6, 250e6
# Seconds until a job computes, and until it has compiled its networks.
STARTING, COMPILING = 20.0, 300.0
# Bytes of a GPU, less a rest: a training that needs more, or more than a day, takes several.
GPU_BYTES, DAY = 70e9, 24 * 3600.0
# Bytes of a process with torch, of one beside a GPU, and of a compiler beside it.
PROCESS, BESIDE_GPU, COMPILER = 1e9, 4e9, 2e9
# Cores of a training for each of its GPUs, and of another job beside one; the most without.
CORES_PER_GPU, CORES_BESIDE, MOST_CORES = 8, 4, 16
# What is asked for, as a multiple of the estimates, and at least.
MORE_MEMORY, MORE_TIME, LEAST_MINUTES = 1.2, 2.0, 20
# What a job takes that nothing tells of before the run.
UNKNOWN = Work(held=28e9)
UNKNOWN_SECONDS = 4 * 3600.0

# Rules whose jobs compute on the device, and trainings, which take as many cores as there are.
ON_DEVICE = {
    *("autoencoder", "emulator", "latents", "latents_test", "latents_valid_test", "latents_write"),
    *("tune", "rollout", "rollout_write", "evaluate", "evaluate_write"),
    *("reconstruction", "reconstruction_write", "counterfactual", "timing"),
}
TRAININGS = ("autoencoder", "emulator")


@dataclass(frozen=True)
class Machine:
    """What a run may take.

    Attributes:
        gpus: GPUs of a job, at most.
        cores: Cores of this machine; None where a cluster gives as many as a job asks for.
        most: Cores of a job, at most; None is no limit, here and below.
        memory_mb: Megabytes of a job, at most.
        minutes: Minutes of a job, at most.
        retries: How often a job that failed, or ran out of time, is started again.
    """

    gpus: int
    cores: int | None
    most: int | None = None
    memory_mb: int | None = None
    minutes: int | None = None
    retries: int = 0


@dataclass(frozen=True)
class Need:
    """What a job needs.

    Attributes:
        cores: Its threads.
        gpus: GPUs.
        memory: Bytes of main memory.
        device: Bytes on each of its GPUs.
        seconds: Its time, estimated.
        written: Bytes that it writes; None where nothing tells.
        known: Whether its time and memory are more than a guess.
    """

    cores: int
    gpus: int
    memory: float
    device: float
    seconds: float
    written: float | None
    known: bool

    def memory_mb(self, attempt: int) -> int:
        """Returns the megabytes to ask for: half as much again where a job had too few."""
        asked = MORE_MEMORY * self.memory * (1 + (attempt - 1) / 2)
        return 100 * math.ceil(asked / 1e8)

    def minutes(self, attempt: int) -> int:
        """Returns the minutes to ask for: more where a job had too few."""
        asked = MORE_TIME * self.seconds / 60 * attempt
        return max(LEAST_MINUTES, 10 * math.ceil(asked / 10))

    def asks(self, kind: str, attempt: int) -> int:
        """Returns what a job asks Snakemake for: gpu, mem_mb, runtime or disk_mb."""
        if kind == "gpu":
            return self.gpus
        if kind == "disk_mb":
            return math.ceil((self.written or 0.0) / 1e6) or 1
        return self.memory_mb(attempt) if kind == "mem_mb" else self.minutes(attempt)


class Needs:
    """The needs of a study's jobs on a machine.

    Args:
        works: What they compute.
        machine: Where.
        gpus: GPUs of the jobs of a rule, where a user has said so.
        processes: Likewise their processes without GPUs.
        threads: Likewise their threads.
    """

    def __init__(
        self,
        works: Works,
        machine: Machine,
        gpus: dict[str, int] | None = None,
        processes: dict[str, int] | None = None,
        threads: dict[str, int] | None = None,
    ) -> None:
        self.works, self.machine = works, machine
        self.gpus, self.processes, self.threads = gpus or {}, processes or {}, threads or {}
        self._found: dict[tuple[str, bool, frozenset[tuple[str, str]]], Need] = {}

    def of(self, job: Job) -> Need:
        """Returns what a job needs."""
        key = job.rule, job.joins, frozenset(job.wildcards.items())
        if key not in self._found:
            self._found[key] = self._of(job)
        return self._found[key]

    def _of(self, job: Job) -> Need:
        try:
            written = self.works.sizes.written(job)
        except UnknownError:
            written = None
        try:
            work, known = self.works.of(job), True
        except UnknownError:
            work, known = UNKNOWN, False
        gpus = self._gpus(job.rule, work)
        cores = self._cores(job.rule, work, gpus)
        cores = min(cores, self.machine.most or cores)
        seconds = _seconds(work, gpus, cores) if known else UNKNOWN_SECONDS
        memory = _memory(work, gpus, self.processes.get(job.rule, 1))
        device = work.on_device(gpus) if gpus else 0.0
        return Need(cores, gpus, memory, device, seconds, written, known)

    def _gpus(self, rule: str, work: Work) -> int:
        if rule in self.gpus:
            return self.gpus[rule]
        if rule not in ON_DEVICE or not self.machine.gpus:
            return 0
        gpus = 1
        more = rule in TRAININGS
        while more and 2 * gpus <= self.machine.gpus and work.is_shared(2 * gpus):
            # Hours that a study gives are what they are.
            computing = _seconds(work, gpus, CORES_PER_GPU) - work.seconds
            if work.on_device(gpus) <= GPU_BYTES and computing <= DAY:
                break
            gpus *= 2
        return gpus

    def _cores(self, rule: str, work: Work, gpus: int) -> int:
        if rule in self.threads:
            return self.threads[rule]
        if rule not in (*TRAININGS, "timing"):
            return CORES_BESIDE if gpus else 1
        if work.threads or self.machine.cores:
            return work.threads or self.machine.cores
        if gpus:
            return gpus * CORES_PER_GPU
        cores = 1
        while cores < MOST_CORES and _seconds(work, 0, cores) - work.seconds > DAY:
            cores *= 2
        return cores if rule in TRAININGS else MOST_CORES


def _seconds(work: Work, gpus: int, cores: int) -> float:
    rate = gpus * GPU[work.precision] if gpus else cores * CORE
    starting = STARTING + COMPILING * work.compiles
    moving = work.moved / (BYTES * max(1, gpus))
    return starting + work.seconds + work.flops / rate + work.numbers / NUMBERS + moving


def _memory(work: Work, gpus: int, processes: int) -> float:
    each = PROCESS + (BESIDE_GPU if gpus else work.on_device(processes))
    return work.held + (gpus or processes) * each + COMPILER * work.compiles
