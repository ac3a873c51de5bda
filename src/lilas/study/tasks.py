"""What each job is told of its study."""

from typing import Any, Literal

from pydantic import Field

from lilas.settings import Model
from lilas.settings.values import Natural, Positive
from lilas.study.ablation import Variant
from lilas.study.comparison import Compared, Sampling
from lilas.study.datasets import Augment, Dataset, Evaluation, Source, States, Well
from lilas.study.entries import Autoencoder, Emulator, SamplerEntry
from lilas.study.latent_analysis import LatentAnalysis
from lilas.study.leads import Direction, rollout_steps, steps_from
from lilas.study.study import Figures, Timing


class Task(Model):
    """A job's own slice of the configuration: what its stage needs, and nothing else."""

    source: Source | None = None
    states: States | None = None
    label: dict[str, Literal["log", "none"]] | None = None
    augment: Augment | None = None
    stride: int | None = None
    evaluation: Evaluation | None = None
    begins: dict[str, tuple[Natural, Direction]] = Field(
        default={},
        strict=False,
        description="Where what is scored begins, and which way it goes; {} is its start.",
    )
    autoencoder: Autoencoder | None = None
    emulator: Emulator | None = None
    sampler: SamplerEntry | None = None
    latent_analysis: LatentAnalysis | None = None
    horizons: dict[str, list[tuple[int, int]]] | None = None
    lead_times: dict[str, list[int]] = Field(
        default={}, description="Those of the tables of counterfactuals, by dataset."
    )
    sources: dict[str, str] = Field(default={}, description="What data each dataset holds.")
    published: dict[str, str] = Field(default={}, description="Datasets of the paper.")
    ablation: dict[str, list[Variant]] = Field(
        default={}, description="Autoencoders whose trainings are compared, by dataset."
    )
    compared: dict[str, list[Compared]] = Field(
        default={}, description="Emulators that share their latents with others, by dataset."
    )
    sampling: dict[str, Sampling] = Field(
        default={}, description="How samplers generate whose steps or algorithms are compared."
    )
    twins: dict[str, str] = Field(default={}, description="Guided samplers, and those without.")
    figures: Figures | None = None
    timing: Timing | None = None
    units: dict[str, dict[str, str]] = Field(default={}, description="Those given, by dataset.")
    runs: dict[str, dict[str, SamplerEntry]] = Field(
        default={}, description="Samplers by name, by what they roll out: AUTOENCODER/EMULATOR."
    )
    seed: int | None = None
    names: dict[str, str] = Field(default={}, description="The job's dataset, autoencoder, ...")

    @property
    def steps(self) -> dict[str, range]:
        """The steps that are scored, from lead time 0, by the names of `begins`."""
        begins = self.begins or {"": (self.evaluation.start, "forward")}
        span = self.stride, self.evaluation.last
        return {name: steps_from(step, *span, way) for name, (step, way) in begins.items()}

    @property
    def span(self) -> range:
        """The steps of a rollout in its trajectory, its context included and first."""
        evaluation, sampler = self.evaluation, self.sampler
        asked = sampler.context, self.stride, evaluation.last, sampler.direction
        return rollout_steps(evaluation.start, *asked)

    def implementations(self) -> list[str]:
        """Returns what the job computes with beyond its stage's own imports, each once."""
        parts = [self.source, self.autoencoder, self.emulator]
        samplers = [one for its in self.runs.values() for one in its.values()]
        for sampler in [*samplers, *([self.sampler] if self.sampler else [])]:
            parts += [sampler.algorithm, sampler.guidance]
        named = (getattr(part, "implementation", None) for part in parts)
        return sorted({name for name in named if name is not None})

    def masks(self) -> dict[str, str]:
        """Returns the file of the mask that guidance observes through, if it has one."""
        guidance = getattr(self.sampler, "guidance", None)
        path = getattr(getattr(guidance, "operator", None), "path", None)
        return {} if path is None else {"mask": path}

    def of_split(self, split: str) -> "Task":
        """Returns the slice for the latents of one split.

        Only the training split is augmented; emulators are validated on the data as they are.
        """
        copies = {} if split == "train" else {"copies": 1}
        augment = self.augment.model_copy(update=copies)
        return self.model_copy(update={"augment": augment, "names": self.names | {"split": split}})

    def without(self, *names: str) -> "Task":
        """Returns the slice less some of its parts."""
        return self.model_copy(update=dict.fromkeys(names))

    def record(self) -> dict[str, Any]:
        """Returns the slice as plain values, for provenance.

        Values left at their default are left out: a key that a later version adds, with a default
        that changes nothing, is no reason to train again.
        """
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


class Expected(Model):
    """What a study relies on in every file of a dataset, and must find there when it arrives."""

    size: list[Positive]
    fields: list[str]
    orders: dict[str, int]
    parameters: list[str]
    steps: Positive | None
    channels: Positive | None


def expected(dataset: Dataset) -> Expected | None:
    """Returns what a dataset's files must hold; None where nothing is known before they are there.

    The Well's facts are right of grids and fields. Of steps they are not always: only a number that
    the study itself gives is expected.
    """
    source = dataset.source
    if not isinstance(source, Well):
        return None
    facts, asked = source.facts, dataset.states.fields
    used = [
        field for field in facts.fields if {field, *facts.components(field)}.intersection(asked)
    ]
    return Expected(
        size=source.size or list(facts.size),
        fields=asked,
        orders={field: facts.fields[field] for field in used},
        parameters=list(dataset.label),
        steps=source.steps,
        channels=source.channels,
    )
