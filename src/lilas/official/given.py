"""Weights that a study takes as they are: in a file of ours, or in a run of the official code."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lilas.data import given
from lilas.data.about import About, read_about, without_ranges
from lilas.data.preprocess import Preprocessing
from lilas.data.units import units_of
from lilas.data.well import WellFile
from lilas.models.build import make_autoencoder_for
from lilas.official.adopt import check_emulation, check_latents, check_states
from lilas.official.entries import preprocessing_statistics
from lilas.official.folders import open_run, origin
from lilas.official.models import load_run_emulator, settings_and_state
from lilas.records.weights import load_state, load_weights
from lilas.settings import Model
from lilas.study.entries import autoencoder_settings, emulator_settings
from lilas.study.tasks import Task


@dataclass(frozen=True)
class Given:
    """A model that is taken as it is.

    Attributes:
        settings: What it is.
        state: Its weights, by our names.
        statistics: What states enter its autoencoder with.
        about: What it knows of its data.
        origin: Where it is from, as its record has it.
        implementations: Of whom it is, as its record has them.
    """

    settings: Model
    state: dict[str, Tensor]
    statistics: dict[str, Any]
    about: About
    origin: dict[str, Any]
    implementations: list[str] = field(default_factory=list)


def take_official(
    files: Sequence[Path], data: Sequence[WellFile], task: Task, autoencoder: Path | None
) -> Given:
    """Returns the model of an official run, where the data and the study are those of its training.

    Args:
        files: The run's zip, or its two files.
        data: Files of the test split.
        task: What the study says of them, and of an autoencoder or an emulator.
        autoencoder: Weights of an emulator's autoencoder.

    Raises:
        LilasError: it is damaged, or something is not as in the training.
    """
    source = files[0] if files[0].suffix == ".zip" else files[0].parent
    run = open_run(source)
    check_states(run, data[0], task.states)
    if autoencoder is None:
        settings, state = settings_and_state(run, task.autoencoder)
    else:
        check_emulation(run, data[0], task.label or {}, task.stride, task.emulator)
        check_latents(run, autoencoder)
        settings, model = load_run_emulator(run)
        state = model.state_dict()
    statistics = preprocessing_statistics(run)
    about = About.of(data, Preprocessing.from_statistics(statistics, source))
    # The data are those of the test, and not of the training.
    return Given(settings, state, statistics, without_ranges(about), {"official": origin(run)})


def take_ours(
    weights: Path, data: Sequence[WellFile], task: Task, autoencoder: Path | None
) -> Given:
    """Returns the model of weights that LILAS wrote, as `take_official`."""
    what = "autoencoder" if autoencoder is None else "emulator"
    record, _ = given.read_given(weights, what)
    about, first = read_about(weights), data[0]
    known, points = asdict(about), dict(zip(first.axes, first.shape, strict=True))
    names = [channel.name for channel in first.channels]
    given.check_states(weights, known, names, points, task.states)
    given.check_units(weights, known, what, units_of(first, first.channels))
    for file in data:
        given.check_points(weights, known, file.coordinates)
    if autoencoder is None:
        given.check_space(weights, record, task.autoencoder)
        settings = autoencoder_settings(record["config"]["autoencoder"])
        model = make_autoencoder_for(settings, first)
        load_weights(weights, model)
        state = model.state_dict()
    else:
        trained = given.how_trained(record, known)
        asked = task.label or {}, task.stride, list(first.parameters)
        given.check_emulation(weights, trained, task.emulator, *asked)
        given.check_pair(weights, record, autoencoder)
        settings = emulator_settings(record["config"]["emulator"])
        _, state = load_state(weights)
    channels = {
        name: {key: one[key] for key in ("transform", "mean", "std")}
        for name, one in about.channels.items()
    }
    kept = {key: record[key] for key in ("official",) if key in record}
    origin = {"trained": record} | kept
    return Given(settings, state, {"channels": channels}, about, origin, record["implementations"])
