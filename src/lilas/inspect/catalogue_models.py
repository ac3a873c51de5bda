"""Data, models and what they generate, described."""

from lilas.inspect.artifact import (
    AUTOENCODER,
    EMULATOR,
    PROVENANCE,
    SPACE,
    STUDY,
    Artifact,
    Variable,
)
from lilas.study import paths

_TIME = ("trajectory", "time")
_POINT = ("trajectory", "axis")
_FRAME = ("trajectory", "time", "channel", "x", "y")
# As the data: float64 where they are.
_FLOAT = "float32 or float64"
_CHANNEL = ("channel",)
_STEP = ("step",)
_COPY = ("augmentation", "trajectory")
_ABOUT = (
    "the data that it is of, in JSON: channels with units, transforms and statistics, axes with "
    "their grid points, boundaries, parameters with their ranges in training, time between states"
)

MODELS = (
    Artifact(
        "Data file",
        (
            f"{{data}}/{paths.SIMULATED}",
            f"{{data}}/{paths.DOWNLOADED}",
        ),
        "HDF5, in The Well's layout",
        "Trajectories of a simulation, simulated here or downloaded. Studies share them; a "
        "simulation's `{folder}` is `simulate-` and a hash of its parameters. Downloaded files may "
        "hold more than is listed. The Well's own files name no units of fields. Simulations that "
        "check their runs tell in the attribute `redrawn` how many of a file were drawn again.",
        (
            Variable(
                "t{order}_fields/{field}",
                ("trajectory", "time", SPACE, "*component"),
                "float32",
                "the simulation's",
                "A field; one axis of components per order, none for scalars.",
            ),
            Variable(
                "dimensions/time", ("time",), "float32", "`time_units`", "Time of the states."
            ),
            Variable("dimensions/{axis}", ("axis",), "float32", "the simulation's", "Grid points."),
            Variable(
                "scalars/{parameter}",
                ("trajectory",),
                "float32",
                "the parameter's",
                "A parameter; without axes where all trajectories share it.",
            ),
            Variable(
                "boundary_conditions/{axis}_{kind}/mask",
                ("axis",),
                "bool",
                "",
                "Where the boundary is; kind is wall, open or periodic.",
            ),
        ),
        {
            "dataset_name": "name of the dataset",
            "grid_type": "kind of grid, `cartesian`",
            "n_spatial_dims": "number of space axes",
            "n_trajectories": "number of trajectories",
            "simulation_parameters": "names of the parameters that all trajectories share",
            "{parameter}": "value of such a parameter",
            "simulation": "hash of the simulation's parameters",
            "time_units": "unit of time",
        },
    ),
    Artifact(
        "Released run",
        (f"{{data}}/{paths.RELEASED}",),
        "Zip",
        "A released run of the official code as it was fetched: `config.yaml` and `state.pth`.",
    ),
    Artifact(
        "Statistics",
        (f"{STUDY}/{paths.STATISTICS}", f"{STUDY}/{paths.GIVEN_STATISTICS}"),
        "JSON",
        "Of each channel over the training split, after its field's transform. An "
        "autoencoder that is taken as it is (`model`) brings its own, with the transform, mean and "
        "std that it was trained with.",
        (
            Variable(
                "channels.{channel}.transform",
                (),
                "mapping",
                "",
                "none, log and offset, or arcsinh and scale.",
            ),
            Variable("channels.{channel}.mean", (), "number", "the transformed field's", "Mean."),
            Variable(
                "channels.{channel}.std",
                (),
                "number",
                "the transformed field's",
                "Standard deviation, over n.",
            ),
            Variable("channels.{channel}.min", (), "number", "the transformed field's", "Minimum."),
            Variable("channels.{channel}.max", (), "number", "the transformed field's", "Maximum."),
            Variable("channels.{channel}.count", (), "integer", "1", "Number of values."),
        ),
        {"provenance": PROVENANCE},
    ),
    Artifact(
        "Weights",
        tuple(
            f"{folder}/{name}"
            for folder in (AUTOENCODER, EMULATOR)
            for name in (paths.WEIGHTS, paths.BEST)
        ),
        "safetensors",
        "Weights of a trained model, its average where one is kept: of the last step, and of the "
        "best validation. Pixel space has an empty file. Of a model that is taken as it "
        "is there is one file: of an autoencoder of ours a copy, with the record of its training; "
        "that of an emulator holds such a record as `trained`. Of an official run it holds "
        "`official`, the run's name and configuration.",
        (Variable("{parameter}", ("the parameter's",), "float32", "1", "A parameter by name."),),
        {
            "format": "`pt`",
            "lilas": PROVENANCE,
            "crc32c": "of the weights, in the order of names",
            "about": _ABOUT,
        },
    ),
    Artifact(
        "History",
        (
            f"{AUTOENCODER}/{paths.HISTORY}",
            f"{EMULATOR}/{paths.HISTORY}",
            f"{AUTOENCODER}/{paths.CHECKPOINT}/{paths.HISTORY}",
            f"{EMULATOR}/{paths.CHECKPOINT}/{paths.HISTORY}",
        ),
        "JSON lines",
        "The course of a training, a line per logged step; in the checkpoint folder, while it "
        "runs. Its provenance is that of the weights beside it.",
        (
            Variable("step", _STEP, "integer", "1", "Optimiser steps done."),
            Variable("loss", _STEP, "number", "1", "Mean loss since the line before."),
            Variable("learning_rate", _STEP, "number", "1", "Learning rate."),
            Variable("gradient_norm", _STEP, "number", "1", "Gradient norm before clipping."),
            Variable("skipped", _STEP, "integer", "1", "Steps skipped so far: not finite."),
            Variable("seconds", _STEP, "number", "s", "Wall time of steps, validations apart."),
            Variable("valid_loss", _STEP, "number", "1", "Validation loss, where it validated."),
        ),
    ),
    Artifact(
        "Tracked training",
        tuple(
            f"{folder}/{name}"
            for folder in (AUTOENCODER, EMULATOR)
            for name in (
                "tensorboard/{id}/events.out.tfevents.{run}",
                "wandb/offline-run-{run}/run-{id}.wandb",
            )
        ),
        "TensorBoard's events, or the run of Weights & Biases",
        "The history and the configuration of a training, as `tracker` in `config.yaml` has it. No "
        "job depends on it, and each start of a training writes its own anew: files of TensorBoard "
        "that are from before are empty. `{id}` is of what is trained: another configuration has "
        "another one.",
    ),
    Artifact(
        "Checkpoint",
        tuple(
            f"{folder}/{paths.CHECKPOINT}/{name}"
            for folder in (AUTOENCODER, EMULATOR)
            for name in ("checkpoint.pt", "checkpoint.before.pt")
        ),
        "PyTorch",
        "Everything from which a training resumes to the bit, and the one before, from which it "
        "does where the last one is damaged; that is kept beside them, as `checkpoint.damaged.pt`, "
        "and the last one of another configuration as `checkpoint.of-another-configuration.pt`. "
        "No job depends on any.",
        (
            Variable("making", (), "mapping", "", "Stage, version, config and inputs."),
            Variable("model", (), "mapping", "1", "Parameters by name."),
            Variable("optimizer", (), "mapping", "", "State of the optimiser."),
            Variable("average", (), "mapping", "1", "Average of the parameters, or null."),
            Variable("step", (), "integer", "1", "Steps done."),
            Variable("skipped", (), "integer", "1", "Steps skipped."),
            Variable("in_a_row", (), "integer", "1", "Steps skipped in a row."),
            Variable("best_loss", (), "number", "1", "Best validation loss."),
            Variable("best", (), "mapping", "1", "Parameters of the best validation."),
            Variable("history", (), "list", "", "Entries of the history."),
            Variable("losses", (), "list", "1", "Losses of the steps since the last entry."),
            Variable("seconds", (), "number", "s", "Wall time of steps, validations apart."),
        ),
    ),
    Artifact(
        "Latents",
        (f"{STUDY}/{paths.store(paths.MANIFEST)}",),
        "Zarr 3",
        "The encoded trajectories of a split. A chunk is a trajectory, or 16 MiB of one; a shard "
        "holds trajectories of one source file. Every chunk, of whatever values, is there and has "
        "a crc32c: a store without one is refused. The first augmentation is the data as they are. "
        "`time` and `{axis}` are there where all trajectories agree. A parameter that has the name "
        "of another variable is called `parameter_NAME`, and `a/b` is called `a_b`. Open it with "
        "`xarray.open_zarr`.",
        (
            Variable("latent", (*_COPY, "time", "channel", SPACE), "float32", "1", "The latents."),
            Variable("label", (*_COPY, "feature"), "float32", "1", "What the emulator is told."),
            Variable("flip", (*_COPY, "axis"), "bool", "", "Whether the axis was flipped."),
            Variable("roll", (*_COPY, "axis"), "int64", "grid points", "Roll along the axis."),
            Variable("permutation", (*_COPY, "axis"), "int64", "", "Axis that came here."),
            Variable("augmentation", ("augmentation",), "int64", "", "Number of the copy."),
            Variable("trajectory", ("trajectory",), "int64", "", "Number in the split."),
            Variable("steps", ("trajectory",), "int64", "", "States; NaN beyond them."),
            Variable("time", ("time",), "float64", "the data's", "Where trajectories agree."),
            Variable("trajectory_time", _TIME, "float64", "the data's", "Each one's own."),
            Variable("channel", _CHANNEL, "int64", "", "Number of the latent channel."),
            Variable("{axis}", ("axis",), "float64", "the data's", "Mean of a cell's grid points."),
            Variable("trajectory_{axis}", _POINT, "float64", "the data's", "Each one's own."),
            Variable("feature", ("feature",), "string", "", "Names of the label's features."),
            Variable("axis", ("axis",), "string", "", "Names of the space axes."),
            Variable("file", ("trajectory",), "string", "", "File that holds the trajectory."),
            Variable("index_in_file", ("trajectory",), "int64", "", "Its number in that file."),
            Variable(
                "{parameter}",
                ("trajectory",),
                "float64",
                "the data's",
                "A parameter.",
            ),
        ),
        {
            "dataset": "name of the dataset, as its files have it",
            "autoencoder_sha256": "SHA-256 of the autoencoder's weights",
            "compression": "pixel numbers per latent number",
            "about": _ABOUT,
            "provenance": PROVENANCE,
        },
    ),
    Artifact(
        "Manifest of latents",
        (f"{STUDY}/{paths.MANIFEST}",),
        "JSON",
        "Written last: the store is whole. For pixel space it names the data files, and there is "
        "no store.",
        (
            Variable("kind", (), "string", "", "`zarr`, or `files` for pixel space."),
            Variable("store", (), "string", "", "Name of the store beside it (zarr)."),
            Variable("metadata", (), "string", "", "SHA-256 of its zarr.json (zarr)."),
            Variable("files", ("file",), "string", "", "Paths of the data files (files)."),
            Variable("statistics", (), "string", "", "Path of the statistics (files)."),
        ),
        {"provenance": PROVENANCE},
    ),
    Artifact(
        "Rollouts",
        (f"{STUDY}/{paths.store(paths.ROLLOUTS)}",),
        "Zarr 3",
        "Ensembles of rollouts of test trajectories, as latents, the context first. A chunk and a "
        "shard hold a trajectory's ensemble.",
        (
            Variable(
                "latent",
                ("trajectory", "member", "time", "channel", SPACE),
                "float32",
                "1",
                "The latents.",
            ),
            Variable("trajectory", ("trajectory",), "int64", "", "Number in the test split."),
            Variable("member", ("member",), "int64", "", "Number of the ensemble member."),
            Variable("time", ("time",), "float64", "the data's", "Where trajectories agree."),
            Variable("trajectory_time", _TIME, "float64", "the data's", "Each one's own."),
            Variable("step", ("time",), "int64", "solver steps", "Step in the trajectory."),
            Variable(
                "lead_time",
                ("time",),
                "int64",
                "solver steps",
                "Steps since the last context state, which has 0.",
            ),
            Variable("file", ("trajectory",), "string", "", "File that holds the trajectory."),
            Variable("index_in_file", ("trajectory",), "int64", "", "Its number in that file."),
        ),
        {
            "context": "true states at the start",
            "stride": "solver steps between states",
            "temperature": "factor of the noise that they were sampled with",
            "provenance": PROVENANCE,
        },
    ),
    Artifact(
        "Manifest of rollouts",
        (f"{STUDY}/{paths.ROLLOUTS}",),
        "JSON",
        "Written last: the store is whole.",
        (
            Variable("kind", (), "string", "", "`zarr`."),
            Variable("store", (), "string", "", "Name of the store beside it."),
            Variable("metadata", (), "string", "", "SHA-256 of its zarr.json."),
        ),
        {"provenance": PROVENANCE},
    ),
    Artifact(
        "Frames",
        (f"{STUDY}/{paths.store(paths.FRAMES)}",),
        "Zarr 3",
        "Decoded states of a few rollouts beside the truth, in physical units and the data's "
        "precision, for figures, videos and the report's viewer; at most 41 lead times, and of "
        "three space axes the middle plane of the last.",
        (
            Variable("truth", _FRAME, _FLOAT, "the data's", "The truth."),
            Variable("autoencoder", _FRAME, _FLOAT, "the data's", "Encoded and decoded."),
            Variable("mean", _FRAME, _FLOAT, "the data's", "Mean of all members."),
            Variable("spread", _FRAME, _FLOAT, "the data's", "Their spread."),
            Variable(
                "member",
                ("trajectory", "member", *_FRAME[1:]),
                _FLOAT,
                "the data's",
                "The first members, two at most.",
            ),
            Variable(
                "observation",
                _FRAME,
                _FLOAT,
                "the data's",
                "Of guided rollouts: what guided them, NaN elsewhere.",
            ),
            Variable("trajectory", ("trajectory",), "int64", "", "Number in the test split."),
            Variable("lead_time", ("time",), "int64", "solver steps", "As in the rollouts."),
            Variable("channel", _CHANNEL, "string", "", "Channel, such as velocity_x."),
            Variable("unit", _CHANNEL, "string", "", "Of each channel, empty where unknown."),
            Variable("{axis}", ("axis",), "float64", "the data's", "Where trajectories agree."),
            Variable("trajectory_{axis}", _POINT, "float64", "the data's", "Each one's own."),
        ),
        {
            "dataset": "dataset of the study",
            "autoencoder": "autoencoder and seed",
            "compression": "pixel numbers per latent number",
            "emulator": "emulator and seed",
            "method": "diffusion or solver",
            "sampler": "sampler",
            "provenance": PROVENANCE,
        },
    ),
    Artifact(
        "Manifest of frames",
        (f"{STUDY}/{paths.FRAMES}",),
        "JSON",
        "Written last: the store is whole.",
        (
            Variable("kind", (), "string", "", "`zarr`."),
            Variable("store", (), "string", "", "Name of the store beside it."),
            Variable("metadata", (), "string", "", "SHA-256 of its zarr.json."),
        ),
        {"provenance": PROVENANCE},
    ),
)
