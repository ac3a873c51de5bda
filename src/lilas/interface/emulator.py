"""An emulator that is called: states in physical units to ensembles of what follows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import ValidationError
from torch import Tensor, nn

from lilas import settings
from lilas.data.about import About
from lilas.devices import compile_modules
from lilas.errors import LilasError
from lilas.interface import states as user
from lilas.interface.autoencoder import Autoencoder, said
from lilas.interface.output import Output
from lilas.models.observations import Guide, guided
from lilas.models.operators import Operator, make_operator
from lilas.models.rollout import Step, Window, ensemble
from lilas.progress import progress
from lilas.study.emulators import EmulatorSettings
from lilas.study.entries import SamplerEntry
from lilas.study.samplers import observes

# The paper's, and the one there is for a network that predicts states.
SAMPLERS = {
    "denoiser": {"algorithm": "ab", "order": 3, "steps": 16},
    "state": {"algorithm": "direct"},
}


@dataclass(frozen=True)
class Emulator:
    """A trained emulator that is called, with the autoencoder that it belongs to.

    Attributes:
        about: The data that it was trained on: channels, units, grid, parameters and their ranges.
        autoencoder: Its autoencoder; pixel space is one too.
        module: The emulator.
        settings: What it is.
        transforms: Transforms of its label's parameters.
        stride: Solver steps that it takes at once.
    """

    about: About
    autoencoder: Autoencoder
    module: nn.Module
    settings: EmulatorSettings
    transforms: Mapping[str, str]
    stride: int

    def __repr__(self) -> str:
        return f"<lilas.Emulator: {self.settings.method} of {said(self)}>"

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.autoencoder.device

    def encode(self, states: Any) -> xr.DataArray:
        """Returns the latents of states: `Autoencoder.encode`."""
        return self.autoencoder.encode(states)

    def decode(self, latents: Any, dtype: Any = "float32") -> xr.Dataset:
        """Returns the states of latents: `Autoencoder.decode`."""
        return self.autoencoder.decode(latents, dtype)

    def rollout(
        self,
        states: Any,
        parameters: Mapping[str, Any] | None = None,
        *,
        steps: int,
        members: int = 1,
        sampler: Mapping[str, Any] | None = None,
        observations: Any = None,
        seed: int = 0,
        to: str | Path | None = None,
    ) -> xr.Dataset:
        """Returns an ensemble of rollouts from states, in physical units.

        Args:
            states: As `lilas.interface.states.take` has them; those that a rollout is given, one
                unless the sampler's `context` says otherwise, are the last in time.
            parameters: By name; what is not given is taken of the coordinates of `states`.
            steps: New states, each `stride` solver steps after the one before.
            members: Ensemble members.
            sampler: What differs from the default: keys of a sampler of a study, such as
                `{"steps": 64}`, or `{"guidance": {...}}` to be guided by observations.
            observations: States (time, *space) of the `steps` new ones as guidance's operator
                observes them; where it does not look they may be NaN.
            seed: Of the random numbers, of which each member of each trajectory has its own.
            to: A new folder for what memory does not hold: states go to a Zarr store there as they
                are decoded, and what is returned reads it.

        Returns:
            A variable of each channel (trajectory, member, time, *space), without `trajectory`
            where the states had none. `time` goes on from theirs, `lead_time` counts solver steps.

        Raises:
            LilasError: the states, a parameter or the sampler is not one of the model's, or memory
                does not hold what is asked for.
        """
        if steps < 1:
            raise LilasError(f"rollout: steps {steps}; allowed: at least 1")
        asked = self._sampler(sampler, members, seed)
        taken = user.take(states, self.about)
        given = user.check_context(taken, self.about, asked, self.stride)
        labels = torch.from_numpy(
            user.make_labels(taken, parameters, self.about, self.transforms)
        ).to(self.device)
        observing = self._observing(observations, asked, len(given), steps)
        output = Output(taken, self.about, (asked.members, steps), self._leads(asked, steps), to)
        if asked.compile:
            compile_modules(self.device, self.module.backbone)
        context = torch.from_numpy(self.autoencoder.encoded(given)).to(self.device)
        names, together = taken.names, max(1, asked.batch_size // asked.members)
        blocks = range(0, len(given), together)
        windows = self._windows(asked, steps) * len(blocks)
        with progress(total=windows, desc="rollout", unit="window") as bar:

            def counted(step: Step, rows: range) -> Step:
                inner = observing(step, rows) if observing else step

                def one(window: Window) -> Tensor:
                    bar.update()
                    return inner(window)

                return one

            for first in blocks:
                rows = range(first, min(first + together, len(given)))
                block = slice(rows.start, rows.stop)
                with self.autoencoder.arithmetic():
                    latents = ensemble(
                        self.module,
                        context[block],
                        labels[block],
                        names[block],
                        states=asked.context + steps,
                        settings=self.settings,
                        sampler=asked,
                        wrap=partial(counted, rows=rows),
                    )
                new = latents[:, :, asked.context :].float().cpu().numpy()
                output.write(first, new, self.autoencoder.decoded)
        return output.finish()

    def _sampler(self, asked: Mapping[str, Any] | None, members: int, seed: int) -> SamplerEntry:
        """Returns the sampler that is asked for, of a study's keys."""
        values = dict(asked or {})
        if "algorithm" not in values:
            values = SAMPLERS[self.settings.predicts] | values
        if twice := {"members", "seed"} & set(values):
            raise LilasError(f"sampler: {sorted(twice)[0]} is an argument of its own")
        values |= {"members": members, "seed": seed}
        try:
            found = SamplerEntry.model_validate(values)
        except ValidationError as error:
            raise LilasError(settings.describe(error, SamplerEntry, "sampler")) from None
        if found.algorithm.fits != self.settings.predicts:
            raise LilasError(
                f"sampler: {found.algorithm.algorithm} is of emulators that predict a "
                f"{found.algorithm.fits}; this one predicts a {self.settings.predicts}"
            )
        if found.tune_temperature:
            raise LilasError(
                "sampler: tune_temperature is of a study, whose stage tune chooses; give the "
                "`temperature` that a run's temperature.json has"
            )
        if not self.settings.probabilistic and found.temperature != 1:
            raise LilasError(
                f"sampler: temperature {found.temperature:g}; {self.settings.method} draws no "
                "noise; allowed: 1"
            )
        if found.context_noise > self.settings.context_noise:
            raise LilasError(
                f"sampler: context_noise {found.context_noise:g}; allowed: at most the "
                f"{self.settings.context_noise:g} that this emulator was trained with"
            )
        for key in ("context", "overlap"):
            if getattr(found, key) >= self.settings.window:
                raise LilasError(
                    f"sampler: {key} {getattr(found, key)}; allowed: less than the "
                    f"{self.settings.window} states of a window"
                )
        return found

    def _windows(self, sampler: SamplerEntry, steps: int) -> int:
        """Returns how many windows a rollout is generated in."""
        kept = min(self.settings.window, sampler.crop or self.settings.window)
        return 1 + max(0, -(-(sampler.context + steps - kept) // (kept - sampler.overlap)))

    def _leads(self, sampler: SamplerEntry, steps: int) -> np.ndarray:
        """Returns the solver steps from the last given state to each new one."""
        sign = -1 if sampler.direction == "backward" else 1
        return sign * self.stride * np.arange(1, steps + 1)

    def _observing(self, observations: Any, sampler: SamplerEntry, rows: int, steps: int) -> Any:
        """Returns what has a step guided by observations, None where it is not."""
        if (observations is not None) != observes(sampler):
            raise LilasError(
                "rollout: observations guide a sampler that says how, as in sampler="
                '{"guidance": {"kind": "mmps", "operator": {...}, "noise": 0.1}}, and it needs them'
            )
        if observations is None:
            return None
        taken = user.take(observations, self.about, finite=False)
        if taken.values.shape[1] != steps or len(taken.values) not in (1, rows):
            raise LilasError(
                f"observations: {taken.values.shape[1]} in time of {len(taken.values)} "
                f"trajectories; expected {steps} of {rows}, one of each new state"
            )
        guidance, size = sampler.guidance, taken.values.shape[3:]
        operator = make_operator(guidance.operator, list(self.about.axes), size)
        flat = torch.from_numpy(taken.values).flatten(0, 1)
        states = self.about.preprocessing.forward(flat, channel_axis=1)
        seen = operator.observe(states).unflatten(0, (-1, steps))
        if not seen.isfinite().all():
            raise LilasError("observations: NaN or infinity where the operator observes")
        guide = Guide(_Seen(operator, seen.expand(rows, *seen.shape[1:])), self.autoencoder.module)
        span = range(sampler.context + steps)
        return lambda step, own: guided(step, guide, list(own), span, sampler)


@dataclass(frozen=True)
class _Seen:
    """What was observed of the new states of trajectories, (trajectory, time, channel, number)."""

    operator: Operator
    values: Tensor

    def of(self, row: int, _: range) -> Tensor:
        """Returns what was observed of a trajectory."""
        return self.values[row]
