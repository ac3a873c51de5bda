"""What the jobs of a run compute, move and hold, from a study's sizes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lilas.plan import networks
from lilas.plan.room import SCORES, Job, Sizes, UnknownError
from lilas.study.samplers import SamplingSettings, observes

# Numbers that a metric of an ensemble holds beside it, and rows of scores beside their file.
SCORED, ROWS = 16.0, 20.0
# Numbers of an ensemble that are scored at once, as `lilas.evaluation.score`; bytes of states that
# are encoded at once, and how many, as `lilas.models.coding`.
DECODED, TOGETHER, TOGETHER_BYTES = 2.0**22, 16, 2.0**28
# Bytes of states that are read at once, and of a shard of latents, each with its copies.
READ = 4 * 2.0**26
SHARD = 4 * 2.0**27
# Without a backward pass, this share of what it would need is in memory at once.
FORWARD = 0.3
# Evaluations of the network in a step of these; elsewhere it is one.
EVALUATIONS = {"heun": 2, "pc": 2}
# Forward passes that a forward and backward pass costs, and where blocks are computed again.
BACKWARD, RECOMPUTED = 3, 4
# Of a training step with a preconditioner against one without, measured on the demo.
PRECONDITIONED = 1.5
# Numbers of the simulators in float64, and what they work with.
SIMULATED = 8 * 4.0
# Bytes of what a thread of the statistics holds.
BLOCK = 100e6
# Of the memory for states, what those take that stream, as `lilas.data.windows`.
HELD = 7 / 8
# A byte that is downloaded takes as long as so many that are read.
LOADED = 10


@dataclass(frozen=True)
class Work:
    """What a job computes, moves and holds.

    Attributes:
        flops: Operations of networks.
        numbers: Numbers that one core scores or simulates.
        moved: Bytes read and written.
        seconds: What a study gives it, whatever the machine.
        held: Bytes in main memory, whatever the device.
        network: Bytes on the device of each process: weights and what an optimiser keeps.
        samples: Bytes on the device of all samples that are computed together.
        together: How many samples that is, which processes share.
        micro: How many of them a process computes at once, at most; None is all that it has.
        precision: Of the networks' arithmetic.
        compiles: Whether a network is compiled.
        threads: Threads that a study fixes; None where it does not.
    """

    flops: float = 0.0
    numbers: float = 0.0
    moved: float = 0.0
    seconds: float = 0.0
    held: float = 0.0
    network: float = 0.0
    samples: float = 0.0
    together: int = 1
    micro: int | None = None
    precision: str = "float32"
    compiles: bool = False
    threads: int | None = None

    def is_shared(self, processes: int) -> bool:
        """Whether the samples are dealt out to so many processes, in whole micro-batches."""
        part, rest = divmod(self.together, processes)
        return not rest and part > 0 and part % min(self.micro or part, part) == 0

    def on_device(self, processes: int) -> float:
        """Returns the bytes on the device of each of so many processes."""
        part = self.together / processes
        return self.network + self.samples * min(self.micro or part, part) / self.together


class Works:
    """The work of a study's jobs.

    Args:
        sizes: Of the study.
        parts: Indices of the files that a job encodes, by dataset, split and part.
    """

    def __init__(
        self, sizes: Sizes, parts: Mapping[str, Mapping[str, list[list[int]]]] | None = None
    ) -> None:
        self.sizes, self.study, self.parts = sizes, sizes.study, parts or {}

    def of(self, job: Job) -> Work:
        """Returns the work of a job; of a rule not named here, none.

        Raises:
            UnknownError: nothing tells before the run.
        """
        rule, wildcards = job.rule.removesuffix("_test").removesuffix("_valid"), dict(job.wildcards)
        if "parts" in wildcards:
            # A part, of so many, of what this rule makes.
            rule, _, count = (
                rule.removesuffix("_write"),
                wildcards.pop("part"),
                wildcards.pop("parts"),
            )
            return self._make(rule, wildcards, 1 / int(count))
        return self._make(rule, wildcards, 0.0 if job.joins else 1.0)

    def _make(self, rule: str, wildcards: Mapping[str, str], share: float) -> Work:
        """Returns the work of a share of what a rule makes."""
        makes = getattr(self, f"_{rule}", None)
        work = makes(**wildcards) if makes else Work()
        counted = {name: share * getattr(work, name) for name in ("flops", "numbers", "moved")}
        if not share and rule == "rollout":
            counted["samples"] = 0.0
        return replace(work, **counted)

    # --- Data ---------------------------------------------------------------------------------

    def _simulate(self, **wildcards: str) -> Work:
        numbers = self.sizes.written(Job("simulate", wildcards, [])) / 4
        return Work(numbers=2 * numbers, held=SIMULATED * numbers)

    def _download(self, **wildcards: str) -> Work:
        return Work(moved=LOADED * self.sizes.written(Job("download", wildcards, [])))

    def _statistics(self, dataset: str) -> Work:
        return Work(moved=self._pixels(dataset, "train"), held=8 * BLOCK)

    def _pixels(self, dataset: str, split: str) -> float:
        """Returns the bytes of the states of a split."""
        return self.sizes.states(dataset, split) * self._pixel_bytes(dataset)

    def _pixel_bytes(self, dataset: str) -> float:
        grid, channels = self.sizes.state(dataset)
        return 4.0 * channels * math.prod(grid)

    def _fetch(self, **_: str) -> Work:
        raise UnknownError

    _given_autoencoder = _given_emulator = _fetch

    # --- Networks -----------------------------------------------------------------------------

    def _coder(self, dataset: str, run: str) -> tuple[Any, list[networks.Layer], float]:
        """Returns an autoencoder, its layers and its points; of pixel space there are no layers."""
        model = self.sizes.entry("autoencoders", run, dataset).model
        grid, channels = self.sizes.state(dataset)
        if model.is_pixel_space:
            return model, [], 0.0
        return model, _known(networks.autoencoder(model, channels, len(grid))), math.prod(grid)

    def _network(
        self, dataset: str, autoencoder: str, emulator: str
    ) -> tuple[Any, list[networks.Layer], float]:
        """Returns an emulator, its layers and the points of its window."""
        model = self.sizes.entry("emulators", emulator, dataset).model
        channels, grid = self.sizes.latent(dataset, autoencoder)
        layers = _known(networks.emulator(model, channels, len(grid)))
        return model, layers, model.window * math.prod(grid)

    def _autoencoder(self, dataset: str, autoencoder: str) -> Work:
        model, layers, points = self._coder(dataset, autoencoder)
        if not layers:
            return Work()
        splits = [self._pixels(dataset, split) for split in ("train", "valid")]
        checkpointing = getattr(model, "checkpointing", False)
        state = self._pixel_bytes(dataset)
        return _training(model.train, layers, points, checkpointing, splits, state)

    def _emulator(self, dataset: str, autoencoder: str, emulator: str) -> Work:
        model, layers, points = self._network(dataset, autoencoder, emulator)
        channels, grid = self.sizes.latent(dataset, autoencoder)
        copies = 1
        if not self.sizes.entry("autoencoders", autoencoder, dataset).model.is_pixel_space:
            copies = self.study.datasets[dataset].augment.copies
        state = 4 * channels * math.prod(grid)
        splits = [
            times * self.sizes.states(dataset, split) * state
            for split, times in (("train", copies), ("valid", 1))
        ]
        checkpointing = model.network.checkpointing
        sample = {"states": model.states, "calls": model.passes}
        return _training(model.train, layers, points, checkpointing, splits, state, **sample)

    # --- What they make -----------------------------------------------------------------------

    def _latents_create(self, **_: str) -> Work:
        return Work(held=SHARD)

    def _latents_write(self, dataset: str, autoencoder: str, split: str, part: str) -> Work:
        files = len(self.sizes.files[dataset][split])
        mine = len(self.parts[dataset][split][int(part)]) / files
        return self._encode(dataset, autoencoder, {split: mine})

    def _latents(self, dataset: str, autoencoder: str) -> Work:
        return self._encode(dataset, autoencoder, dict.fromkeys(self.sizes.files[dataset], 1.0))

    def _encode(self, dataset: str, autoencoder: str, shares: Mapping[str, float]) -> Work:
        model, layers, points = self._coder(dataset, autoencoder)
        if model.is_pixel_space:
            return Work()
        copies = {"train": self.study.datasets[dataset].augment.copies}
        states = {
            split: share * self.sizes.states(dataset, split) for split, share in shares.items()
        }
        encoded = sum(copies.get(split, 1) * count for split, count in states.items())
        channels, grid = self.sizes.latent(dataset, autoencoder)
        written = 4 * encoded * channels * math.prod(grid)
        return Work(
            flops=encoded * networks.flops(layers, points) / 2,
            moved=sum(states.values()) * self._pixel_bytes(dataset),
            held=READ + min(copies["train"] * SHARD, 4 * written),
            **self._coding(dataset, layers, points),
        )

    def _coding(
        self, dataset: str, layers: list[networks.Layer], points: float
    ) -> dict[str, float]:
        """Returns the bytes of an autoencoder that sees as many states as it does at once."""
        count = max(1, min(TOGETHER, TOGETHER_BYTES // self._pixel_bytes(dataset)))
        kept = networks.kept_bytes(layers, points, False)
        return {"network": 4.0 * networks.weights(layers), "samples": FORWARD * count * kept}

    def _rollout(self, dataset: str, autoencoder: str, emulator: str, sampler: str) -> Work:
        model, layers, points = self._network(dataset, autoencoder, emulator)
        entry = self.study.samplers[sampler]
        given = max(entry.context, entry.overlap)
        leads = self.sizes.lead_times(dataset)
        windows = -(-leads // max(1, (entry.crop or model.window) - given))
        evaluations = 1
        if isinstance(entry.algorithm, SamplingSettings):
            evaluations = entry.algorithm.steps * EVALUATIONS.get(entry.algorithm.algorithm, 1)
        members = self.sizes.tested(dataset) * entry.members
        batch = max(1, entry.batch_size // entry.members) * entry.members
        channels, grid = self.sizes.latent(dataset, autoencoder)
        one, kept = networks.flops(layers, points), networks.kept_bytes(layers, points, False)
        weights, share = networks.weights(layers), FORWARD
        if observes(entry):
            # Guidance differentiates the denoiser, and decodes what it observes.
            _, coder, pixels = self._coder(dataset, autoencoder)
            passes = BACKWARD * (1 + getattr(entry.guidance, "iterations", 1))
            one = passes * (one + model.window * networks.flops(coder, pixels) / 2)
            kept += model.window * networks.kept_bytes(coder, pixels, False) / 2
            weights, share = weights + networks.weights(coder), 1.0
        return Work(
            flops=members * windows * evaluations * one,
            moved=self._pixels(dataset, "test") if observes(entry) else 0.0,
            held=READ + 12 * batch * (entry.context + leads) * channels * math.prod(grid),
            network=4.0 * weights,
            samples=share * batch * kept,
            compiles=entry.compile,
        )

    def _tune(self, dataset: str, **run: str) -> Work:
        found = self._rollout(dataset, **run)
        tried = len(self.study.samplers[run["sampler"]].tune_temperature)
        share = self.sizes.rolled_out(dataset, "valid") / self.sizes.tested(dataset)
        return replace(found, flops=tried * share * found.flops)

    def _counterfactual(self, dataset: str, **run: str) -> Work:
        found = self._rollout(dataset, **run)
        values = len(self.study.latent_analysis[dataset].counterfactual.values)
        return replace(found, flops=values * found.flops)

    def _latent_parameters(self, dataset: str, autoencoder: str) -> Work:
        channels, grid = self.sizes.latent(dataset, autoencoder)
        states = sum(self.sizes.states(dataset, split) for split in self.sizes.files[dataset])
        copies = self.study.datasets[dataset].augment.copies
        return Work(moved=4 * copies * states * channels * math.prod(grid), held=READ + SHARD)

    # --- Scores -------------------------------------------------------------------------------

    def _evaluate(self, dataset: str, autoencoder: str, emulator: str, sampler: str) -> Work:
        return self._score(dataset, autoencoder, self.study.samplers[sampler].members)

    def _reconstruction(self, dataset: str, autoencoder: str) -> Work:
        return self._score(dataset, autoencoder, 1)

    def _baselines(self, dataset: str) -> Work:
        return self._score(dataset, None, 2 * len(self.study.begins(dataset)))

    def _score(self, dataset: str, autoencoder: str | None, members: int) -> Work:
        state = self._pixel_bytes(dataset) / 4
        states = self.sizes.tested(dataset) * self.sizes.lead_times(dataset)
        found: dict[str, Any] = {
            "numbers": states * members * state,
            "moved": 4 * states * state,
            "held": 4 * SCORED * max(DECODED, members * state),
        }
        if autoencoder is not None:
            _, layers, points = self._coder(dataset, autoencoder)
            # The truth is encoded and decoded, the members are decoded.
            found["flops"] = states * (2 + members) * networks.flops(layers, points) / 2
            found |= self._coding(dataset, layers, points)
        return Work(**found)

    def _timing(self, **_: str) -> Work:
        raise UnknownError

    def _tables(self) -> Work:
        rows = sum(
            self.sizes.tested(name)
            * self.sizes.lead_times(name)
            * len(self.sizes.extents[name].channels)
            * max(1, len(self.study.samplers_of(name)))
            for name in self.study.datasets
        )
        return Work(moved=ROWS * SCORES * rows, held=ROWS * SCORES * rows)

    _claims = _figures = _report = _tables


def _known(layers: list[networks.Layer] | None) -> list[networks.Layer]:
    if layers is None:
        raise UnknownError
    return layers


def _training(
    train: Any,
    layers: list[networks.Layer],
    points: float,
    checkpointing: bool,
    splits: list[float],
    state: float,
    states: int = 1,
    calls: int = 1,
) -> Work:
    """Returns the work of a training.

    Args:
        train: A `lilas.study.training.Train`.
        layers: Of the network.
        points: Of a sample.
        checkpointing: Whether blocks are computed again in the backward pass.
        splits: Bytes of the states to train and to validate on.
        state: Bytes of a state.
        states: Of a sample.
        calls: Of the network for a sample.
    """
    passes = RECOMPUTED if checkpointing else BACKWARD
    times = PRECONDITIONED if train.optimizer in ("psgd", "soap") else 1.0
    one = calls * networks.flops(layers, points)
    step = train.batch_size * passes * one
    hours, flops = (getattr(train.budget, key, None) or 0.0 for key in ("hours", "flops"))
    # Of hours, nobody knows how many steps they are.
    steps = train.steps or int(flops // step)
    validated = steps // train.validate_every * train.validation_batches
    samples = train.batch_size * (steps * passes * times + validated)
    weights = 4.0 * networks.weights(layers)
    memory = 1e9 * train.memory_gb
    # Where it streams, a window's states are read with those that begin beside it.
    streams = splits[0] > memory
    return Work(
        flops=samples * one,
        moved=steps * train.batch_size * state if streams else splits[0],
        seconds=3600 * hours,
        # Weights there: the best, the first, those to evaluate, and a checkpoint's.
        held=_states_held(splits, memory) + 5 * weights + networks.checkpoint_bytes(layers, train),
        # Weights, gradients, the average, and what a validation sets aside.
        network=(3 + (train.ema > 0)) * weights + networks.optimizer_bytes(layers, train),
        samples=train.batch_size
        * (calls * networks.kept_bytes(layers, points, checkpointing) + 2 * states * state),
        together=train.batch_size,
        micro=train.micro_batch,
        precision=train.precision,
        compiles=train.compile,
        threads=train.threads,
    )


def _states_held(splits: list[float], memory: float) -> float:
    """Returns the bytes of states in memory, as `lilas.data.windows` holds them."""
    train, valid = splits
    # What streams has two blocks; a validation sees the same batches of one.
    held = train if train <= memory else HELD * memory
    return held + (valid if valid <= memory else HELD * memory / 2)
