"""What a training starts from: another training of the study, a file, or an official run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, create_model, model_validator

from lilas.settings import Model, listed, refuse_unknown
from lilas.settings.values import Distinct, Name, PathText, Seed, Text

Shapes = Mapping[str, Sequence[int]]


class From(Model):
    """Whose weights a training starts from: those of one of `training`, `file` and `official`."""

    training: Name | None = Field(
        default=None,
        description="An autoencoder of the study, or of an emulator an emulator; the weights that "
        "it names, last or best.",
    )
    dataset: Name | None = Field(
        default=None,
        description="Where that one is trained, with the same fields; null is the same dataset.",
    )
    seed: Seed | None = Field(default=None, description="Its seed; null is the same.")
    file: PathText | None = Field(default=None, description="A file of weights, written by LILAS.")
    official: PathText | None = Field(
        default=None,
        description="The id of a released run of the paper, or the path of such a run's folder or "
        "zip.",
    )

    @model_validator(mode="after")
    def _one(self) -> "From":
        kinds = ("training", "file", "official")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"expected one of {', '.join(kinds)}, found {found}")
        for key in ("dataset", "seed"):
            if self.training is None and getattr(self, key) is not None:
                raise ValueError(f"{key} is of a training; allowed: null beside {given[0]}")
        return self


class StartSettings(Model):
    """What `Start` is made of: a key named `from` can be no word of a class."""

    @model_validator(mode="after")
    def _kept(self) -> "StartSettings":
        for part in self.freeze:
            if self.parts is not None and not within(part, self.parts):
                raise ValueError(
                    f"freeze {part}: it is not among parts, and would stay as it was drawn; "
                    f"allowed: within {listed(self.parts)}"
                )
        return self

    @property
    def source(self) -> From:
        """What `from` says, which Python has another use for."""
        return getattr(self, "from")

    def takes(self, name: str) -> bool:
        """Whether a weight is taken, and not drawn anew."""
        return self.parts is None or within(name, self.parts)

    def freezes(self, name: str) -> bool:
        """Whether a weight stays as it was taken."""
        return within(name, self.freeze)


Start: Any = create_model(
    "Start",
    __base__=StartSettings,
    __doc__="Weights that a training starts from, in the place of random ones.",
    **{
        "from": (From, Field(description="Whose.")),
        "parts": (
            Distinct[Text] | None,
            Field(
                default=None,
                min_length=1,
                description="Modules (`encoder`, `backbone.network`) or weights that are taken; "
                "null is all.",
            ),
        ),
        "freeze": (
            Distinct[Text],
            Field(default=[], description="Of these, modules or weights that are not trained."),
        ),
    },
)


def within(name: str, parts: Collection[str]) -> bool:
    """Whether a weight is one of some parts, or lies in one: `a.b` holds `a.b.c`, not `a.bc`."""
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


def check_fit(start: Any, where: str, own: Shapes, found: Shapes) -> None:
    """Refuses to start a model from weights that do not fit, and parts that it has not.

    Args:
        start: What is taken, and what of it is frozen.
        where: The key that says so.
        own: The shapes of the model's weights, by name.
        found: The shapes of the weights that it starts from.

    Raises:
        ValueError: which, and what is allowed.
    """
    steps = (name.split(".") for name in own)
    known = {".".join(its[:n]) for its in steps for n in range(1, len(its) + 1)}
    known = sorted(known, key=lambda part: (part.count("."), part))
    for key in ("parts", "freeze"):
        refuse_unknown(f"{where}.{key}", getattr(start, key) or [], known)
    names = dict.fromkeys([*own, *found])
    differ = [name for name in names if start.takes(name) and own.get(name) != found.get(name)]
    if start.parts is not None:
        # What these parts have beside, the model has no place for and does not miss.
        differ = [name for name in differ if name in own]
    if differ:
        name = differ[0]
        raise ValueError(
            f"{where}.from: another architecture: {name} is {_shape(found, name)} there and "
            f"{_shape(own, name)} here ({len(differ)} weights differ); allowed: the same "
            "architecture, or `parts` that are alike"
        )
    if all(start.freezes(name) for name in own):
        raise ValueError(
            f"{where}.freeze {', '.join(start.freeze)}: nothing is left to train; allowed: a part "
            f"of {listed(known)}"
        )


def _shape(shapes: Shapes, name: str) -> str:
    if name not in shapes:
        return "not"
    return " x ".join(map(str, shapes[name])) or "a number"


def started(study: Any, kind: str, dataset: str) -> Iterator[tuple[str, Any, Any]]:
    """Yields the (name, entry, start) of a dataset's trainings that start from other weights."""
    for name, entry in study.entries(kind, dataset).items():
        if entry.is_trained and entry.model.train.start is not None:
            yield name, entry, entry.model.train.start


def parent(
    study: Any, kind: str, dataset: str, name: str, seed: int
) -> tuple[str, str, int] | None:
    """Returns the (dataset, name, seed) of the training that one starts from, if it is of one.

    Args:
        study: The study.
        kind: autoencoders or emulators.
        dataset: The training's.
        name: Its entry's.
        seed: Its own.
    """
    entry = study.resolve(kind, name, dataset)
    start = entry.model.train.start if entry.is_trained else None
    if start is None or start.source.training is None:
        return None
    source = start.source
    other = source.dataset or dataset
    if source.seed is not None:
        seed = source.seed
    elif not study.resolve(kind, source.training, other).is_trained:
        # Weights that are taken as they are have none.
        seed = 0
    return other, source.training, seed


def check_starts(study: Any) -> None:
    """Refuses trainings that start from none, or from one that starts from them.

    Raises:
        ValueError: which, and what is allowed.
    """
    for kind in ("autoencoders", "emulators"):
        for dataset in study.datasets:
            for name, entry, start in started(study, kind, dataset):
                if start.source.training is not None:
                    _check_parent(study, kind, dataset, name, entry, start.source)
    # Only now that each is known to have its parent.
    for kind in ("autoencoders", "emulators"):
        for dataset in study.datasets:
            for name, seed in study.trainings(kind, dataset):
                _check_circle(study, kind, (dataset, name, seed))


def _check_parent(study: Any, kind: str, dataset: str, name: str, entry: Any, source: From) -> None:
    def key(last: str) -> str:
        return study.key(kind, name, dataset, "train", "start", "from", last)

    refuse_unknown(key("training"), [source.training], getattr(study, kind))
    refuse_unknown(key("dataset"), [source.dataset] if source.dataset else [], study.datasets)
    other = source.dataset or dataset
    there = study.entries(kind, other)
    refuse_unknown(f"{key('training')}, on {other}", [source.training], there)
    model = there[source.training]
    if kind == "autoencoders" and model.model.is_pixel_space:
        raise ValueError(f"{key('training')}: {source.training} is pixel space, without weights")
    fields = [study.datasets[one].states.fields for one in (dataset, other)]
    if fields[0] != fields[1]:
        raise ValueError(
            f"{key('dataset')}: the fields of {other} are {', '.join(fields[1])}, those of "
            f"{dataset} {', '.join(fields[0])}; allowed: a dataset with the same, in this order"
        )
    for seed in entry.seeds:
        _, _, wanted = parent(study, kind, dataset, name, seed)
        if wanted not in model.seeds:
            raise ValueError(
                f"{key('seed')}: {source.training} has no training of seed {wanted} on {other}; "
                f"allowed: {listed(model.seeds)}"
            )
    if kind == "emulators":
        _check_latents(study, key("training"), dataset, other, entry, model)


def _check_latents(study: Any, key: str, dataset: str, other: str, entry: Any, model: Any) -> None:
    """Refuses an emulator of latents that the one that it starts from is not trained on."""
    here, there = (study.trainings("autoencoders", one) for one in (dataset, other))
    for autoencoder, seed in here:
        if autoencoder not in entry.autoencoders:
            continue
        if autoencoder not in model.autoencoders or (autoencoder, seed) not in there:
            has = [f"{name} of seed {s}" for name, s in there if name in model.autoencoders]
            raise ValueError(
                f"{key}: {entry.model.train.start.source.training} is not trained on the latents "
                f"of {autoencoder} of seed {seed} on {other}; allowed: an emulator that is, or "
                f"autoencoders among {listed(has)}"
            )


def _check_circle(study: Any, kind: str, run: tuple[str, str, int]) -> None:
    seen = [run]
    while (found := parent(study, kind, *seen[-1])) is not None:
        if found == run:
            dataset, name, _ = run
            key = study.key(kind, name, dataset, "train", "start", "from", "training")
            way = " from ".join(f"{n} of {d} (seed {s})" for d, n, s in [*seen, found])
            raise ValueError(f"{key}: a circle: {way}; allowed: another training")
        if found in seen:
            return
        seen.append(found)
