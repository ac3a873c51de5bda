"""Every file that the pipeline writes, described.

Tests compare the descriptions with what the stages write, in both directions.
"""

from dataclasses import dataclass, field

from lilas.study import paths

# What `lilas inspect` knows, by how such files are named.
INSPECTED = {
    "data file": ".hdf5 or .h5, in The Well's layout",
    "statistics": "statistics.json",
    "weights": "weights.safetensors, weights_best.safetensors",
    "history": "history.jsonl",
    "latents": "latents/SPLIT.zarr or its manifest SPLIT.json",
    "rollouts": "rollouts.zarr or its manifest rollouts.json",
    "frames": "frames.zarr or its manifest frames.json",
    "metrics": "metrics.parquet, reconstruction.parquet, baselines.parquet",
    "timing": "timing.json",
    "latent analysis": "latent_parameters.json, counterfactual.json",
    "checkpoint": "checkpoint/checkpoint.pt",
    "claims": "claims.json, and study.json, whose results they are",
    "table": ".csv, .tsv, .md, .tex",
    "figure": ".png, .pdf, .svg, .gif, .mp4",
    "text": "logs (.log), reports (.html), studies (.yaml)",
    "folder": "of a study's results, of a run, of data",
}

STUDY = "{results}/{study}"
AUTOENCODER = f"{STUDY}/{paths.AUTOENCODER}"
EMULATOR = f"{STUDY}/{paths.EMULATOR}"
SPACE = "*space"


@dataclass(frozen=True)
class Variable:
    """An array, column or value in an artifact.

    Attributes:
        name: Its name in the file; what stands in braces varies.
        dims: Its axes in order; `*space` stands for the space axes, `x`, `y` and perhaps `z`.
        dtype: Type on disk.
        units: Its unit; 1 is a pure number, empty where there can be none.
        text: What it is.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    text: str


@dataclass(frozen=True)
class Artifact:
    """A kind of file.

    Attributes:
        name: What it is called.
        paths: Where such files lie.
        format: How it is stored.
        text: What it holds.
        variables: What is in it.
        attributes: What its metadata say, by name.
    """

    name: str
    paths: tuple[str, ...]
    format: str
    text: str
    variables: tuple[Variable, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)


PROVENANCE = (
    "the record of its making: stage, config (the stage's slice of the study), inputs (path and "
    "SHA-256; path, size and a sample's SHA-256 for data files), code (fingerprint) and versions"
)

_ROW = ("row",)
_TIME, _POINT = ("trajectory", "time"), ("trajectory", "axis")
_FRAME = ("trajectory", "time", "channel", "x", "y")
# As the data: float64 where they are.
_FLOAT = "float32 or float64"
_CHANNEL = ("channel",)
_STEP = ("step",)
_COPY = ("augmentation", "trajectory")

ARTIFACTS = (
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
        (f"{STUDY}/{paths.STATISTICS}", f"{STUDY}/{paths.OFFICIAL_STATISTICS}"),
        "JSON",
        "Of each channel over the training split, after its field's transform. An official "
        "autoencoder brings its own, with the transform, mean and std that it was trained with.",
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
        "best validation. Pixel space has an empty file. Of an official run there is one file; "
        "its record also holds `official`, the run's name and configuration.",
        (Variable("{parameter}", ("the parameter's",), "float32", "1", "A parameter by name."),),
        {"format": "`pt`", "lilas": PROVENANCE, "crc32c": "of the weights, in the order of names"},
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
        "Checkpoint",
        tuple(f"{folder}/{paths.CHECKPOINT}/checkpoint.pt" for folder in (AUTOENCODER, EMULATOR)),
        "PyTorch",
        "Everything from which a training resumes to the bit. No job depends on it.",
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
    Artifact(
        "Metrics",
        (
            f"{STUDY}/{paths.METRICS}",
            f"{STUDY}/{paths.RECONSTRUCTION}",
            f"{STUDY}/{paths.BASELINES}",
        ),
        "Parquet",
        "A row per trajectory, field, lead time and metric: of rollouts, of the autoencoder's "
        "reconstruction, of persistence and climatology; of curves, a row per place along them.",
        (
            Variable("dataset", _ROW, "string", "", "Dataset of the study."),
            Variable("autoencoder", _ROW, "string", "", "Autoencoder and seed; empty: baseline."),
            Variable("compression", _ROW, "float64", "1", "Pixel numbers per latent number."),
            Variable(
                "emulator",
                _ROW,
                "string",
                "",
                "Emulator and seed, or as the method.",
            ),
            Variable(
                "method",
                _ROW,
                "string",
                "",
                "diffusion, solver, reconstruction, persistence, climatology, or truth: the data's "
                "own residuals of the laws.",
            ),
            Variable("sampler", _ROW, "string", "", "Sampler; of baselines, where they begin."),
            Variable("context", _ROW, "int32", "1", "True states given at the start."),
            Variable("start", _ROW, "int32", "solver steps", "The step that lead time 0 is."),
            Variable("direction", _ROW, "string", "", "forward or backward in time from there."),
            Variable("members", _ROW, "int32", "1", "Ensemble members."),
            Variable(
                "relative_to",
                _ROW,
                "string",
                "",
                "What it is compared with: truth, or autoencoder, the auto-encoded truth.",
            ),
            Variable("trajectory", _ROW, "int32", "", "Number in the test split."),
            Variable("field", _ROW, "string", "", "Channel, such as velocity_x; velocity; state."),
            Variable("lead_time", _ROW, "int32", "solver steps", "Since the last context state."),
            Variable("metric", _ROW, "string", "", "Name of the metric."),
            Variable(
                "at",
                _ROW,
                "float64",
                "cycles per pixel, or 1",
                "Place along a curve, wavenumber or rank; empty for what is no curve.",
            ),
            Variable("value", _ROW, "float64", "the metric's", "Its value, always finite."),
        ),
        {
            "lilas": PROVENANCE + "; and metrics, the fingerprint of their code",
            "seconds": "time that decoding and scoring took",
        },
    ),
    Artifact(
        "Timing",
        (f"{STUDY}/{paths.TIMING}",),
        "JSON",
        "What a state costs, of every run of a dataset and of its simulator, measured in turns by "
        "one job that had the machine for itself. `rows` lists what was measured: rollouts "
        "(networks alone), encoding, decoding, gradients (a training's loss and its gradient), the "
        "simulation, and a large product of matrices.",
        (
            Variable("kind", _ROW, "string", "", "rollout, encode, decode, gradient, ..."),
            Variable("method", _ROW, "string", "", "Of rollouts and gradients: as in the metrics."),
            Variable("autoencoder", _ROW, "string", "", "As in the metrics."),
            Variable("emulator", _ROW, "string", "", "As in the metrics."),
            Variable("sampler", _ROW, "string", "", "Of rollouts: as in the metrics."),
            Variable("compression", _ROW, "number", "1", "As in the metrics."),
            Variable("batch", _ROW, "integer", "1", "Windows, states or trajectories together."),
            Variable("states", _ROW, "integer", "1", "States that a call makes."),
            Variable("windows", _ROW, "integer", "1", "Of gradients: windows of the training."),
            Variable("parameters", _ROW, "integer", "1", "Numbers that the model stores."),
            Variable("flops", _ROW, "number", "1", "FLOPs per state, attention as products."),
            Variable("memory", _ROW, "integer", "bytes", "On CUDA: weights, and a call beside."),
            Variable("seconds", ("row", "turn"), "list", "s", "Per state; of gradients, window."),
        ),
        {
            "dataset": "of the study",
            "device": "its name",
            "threads": "of the CPU",
            "turns": "measurements of each",
            "provenance": PROVENANCE,
        },
    ),
    Artifact(
        "Latent parameters",
        (f"{STUDY}/{paths.LATENT_PARAMETERS}",),
        "JSON",
        "What latents tell of parameters, where a study asks (`latent_analysis`): lists of rows, "
        "each with its `parameter`, of central tokens, a latent's numbers at the middle of its "
        "grid. In a parameter's `scale`, log10 or none, errors are.",
        (
            Variable("scales.scale", ("parameter",), "string", "", "log10 or none."),
            *(
                Variable(f"predictions.{name}", ("parameter", "trajectory"), kind, unit, what)
                for name, kind, unit, what in (
                    ("trajectory", "integer", "", "Number in the test split."),
                    ("value", "number", "the parameter's", "The true one."),
                    ("squared_error", "number", "scale, squared", "Mean over tokens."),
                    ("squared_error_of_mean", "number", "scale, squared", "Of the training mean."),
                )
            ),
            *(
                Variable(f"distances.{name}", ("parameter", "pair"), "number", unit, what)
                for name, unit, what in (
                    ("a", "the parameter's", "The lower value."),
                    ("b", "the parameter's", "The higher value."),
                    ("distance", "1", "Bures-Wasserstein, of training tokens as Gaussians."),
                    ("low", "1", "95 % basic bootstrap interval over trajectories, of squares;"),
                    ("high", "1", "absent where a value has one trajectory."),
                )
            ),
            *(
                Variable(f"halves.{name}", ("parameter", "value"), kind, unit, what)
                for name, kind, unit, what in (
                    ("value", "number", "the parameter's", "A value."),
                    ("distance", "number", "1", "Between halves of its trajectories: chance."),
                    ("trajectories", "integer", "1", "How many it has."),
                )
            ),
            *(
                Variable(f"correlations.{name}", ("parameter",), kind, "1", what)
                for name, kind, what in (
                    ("correlation", "number", "Spearman's, of distances of values and of tokens."),
                    ("low", "number", "95 % bootstrap interval over trajectories;"),
                    ("high", "number", "absent as that of distances."),
                    ("pairs", "integer", "How many pairs of values there are."),
                )
            ),
            *(
                Variable(f"embedding.{name}", ("token",), kind, "", what)
                for name, kind, what in (
                    ("x", "number", "Place by t-SNE of a test token, as the last layer of the"),
                    ("y", "number", "predictor sees it."),
                    ("trajectory", "integer", "Number in the test split."),
                    ("step", "integer", "Step in it."),
                    ("parameters", "mapping", "Its parameters by name."),
                )
            ),
        ),
        {
            "facts": "dataset, autoencoder, compression",
            "provenance": PROVENANCE,
        },
    ),
    Artifact(
        "Counterfactual",
        (f"{STUDY}/{paths.COUNTERFACTUAL}",),
        "JSON",
        "Distances between rollouts from one state under several values of a parameter, with the "
        "same noise, where a study asks (`latent_analysis`): lists of rows.",
        (
            *(
                Variable(f"distances.{name}", ("row",), kind, unit, what)
                for name, kind, unit, what in (
                    ("trajectory", "integer", "", "Number in the test split."),
                    ("lead_time", "integer", "solver steps", "Since the last context state."),
                    ("a", "number", "the parameter's", "The lower value."),
                    ("b", "number", "the parameter's", "The higher value."),
                    ("distance", "number", "1", "Euclidean, of latents; mean over members."),
                )
            ),
            *(
                Variable(f"members.{name}", ("row",), kind, unit, what)
                for name, kind, unit, what in (
                    ("trajectory", "integer", "", "Number in the test split."),
                    ("lead_time", "integer", "solver steps", "Since the last context state."),
                    ("distance", "number", "1", "Between members at one value; mean over pairs."),
                )
            ),
        ),
        {
            "facts": "dataset, autoencoder, emulator, sampler, compression, members; parameter, "
            "its scale in the label, and known, the least and largest value in the test split",
            "provenance": PROVENANCE,
        },
    ),
    Artifact(
        "Tables",
        (f"{STUDY}/{paths.HORIZONS}.csv", f"{STUDY}/{paths.HORIZONS}.md"),
        "CSV, and Markdown to be read",
        "Means of each metric over trajectories, fields and the lead times of a horizon. Metrics "
        "in a field's unit have a row per field.",
        (
            Variable("dataset", _ROW, "string", "", "As in the metrics."),
            Variable("autoencoder", _ROW, "string", "", "As in the metrics."),
            Variable("compression", _ROW, "float64", "1", "As in the metrics."),
            Variable("emulator", _ROW, "string", "", "As in the metrics."),
            Variable("method", _ROW, "string", "", "As in the metrics."),
            Variable("sampler", _ROW, "string", "", "As in the metrics."),
            Variable("context", _ROW, "int32", "1", "As in the metrics."),
            Variable("start", _ROW, "int32", "solver steps", "As in the metrics."),
            Variable("direction", _ROW, "string", "", "As in the metrics."),
            Variable("members", _ROW, "int32", "1", "As in the metrics."),
            Variable("relative_to", _ROW, "string", "", "As in the metrics."),
            Variable("metric", _ROW, "string", "", "As in the metrics."),
            Variable("field", _ROW, "string", "", "As in the metrics; empty: mean over fields."),
            Variable("horizon", _ROW, "string", "solver steps", "First and last lead time."),
            Variable("value", _ROW, "float64", "the metric's", "The mean."),
            Variable("low", _ROW, "float64", "the metric's", "95 % bootstrap interval over"),
            Variable("high", _ROW, "float64", "the metric's", "trajectories; empty of one."),
            Variable("trajectories", _ROW, "int32", "1", "How many."),
            Variable("cell", _ROW, "string", "", "What `lilas trace` takes."),
        ),
    ),
    Artifact(
        "Comparisons and paper tables",
        (
            f"{STUDY}/{paths.TABLES}/differences.{{format}}",
            f"{STUDY}/{paths.TABLES}/valid_time.{{format}}",
            f"{STUDY}/{paths.TABLES}/table1_inference_time.{{format}}",
            f"{STUDY}/{paths.TABLES}/guidance.{{format}}",
            f"{STUDY}/{paths.TABLES}/table6_vrmse.{{format}}",
            f"{STUDY}/{paths.TABLES}/table7_vrmse_by_context.{{format}}",
            f"{STUDY}/{paths.TABLES}/tables8_10_power_spectrum_rmse.{{format}}",
            f"{STUDY}/{paths.TABLES}/table11_sliced_emd_density.{{format}}",
            f"{STUDY}/{paths.TABLES}/table12_wasserstein_vertical_velocity.{{format}}",
            f"{STUDY}/{paths.TABLES}/table13_wasserstein_density.{{format}}",
            f"{STUDY}/{paths.TABLES}/ablation.{{format}}",
            f"{STUDY}/{paths.TABLES}/ablation_tried.{{format}}",
            f"{STUDY}/{paths.TABLES}/table15_latent_distance.{{format}}",
            f"{STUDY}/{paths.TABLES}/tables16_17_bures_wasserstein.{{format}}",
            f"{STUDY}/{paths.TABLES}/latent_parameters.{{format}}",
        ),
        "CSV, Markdown to be read and, but for differences, LaTeX",
        "Paired differences of emulators with a sign-flip test; the lead time up to which a "
        "forecast is valid; the paper's tables in its layout, Table 1 where states were timed, the "
        "others where the data have their metric and field, with the paper's value where the data "
        "are the paper's; and, where autoencoders differ in optimiser or initialisation alone or a "
        "sweep made them, how these converge. Of guided rollouts, errors with and without guidance "
        "and how well they fit what guided them.",
    ),
    Artifact(
        "Claims",
        (f"{STUDY}/{paths.CLAIMS}",),
        "JSON",
        "What this run says of the paper's six claims: `claims` lists, in its order,",
        (
            Variable("number", ("claim",), "integer", "", "The claim's number."),
            Variable("claim", ("claim",), "string", "", "The claim."),
            Variable("criterion", ("claim",), "string", "", "When it is supported."),
            Variable(
                "verdict", ("claim",), "string", "", "supported, not supported or not tested."
            ),
            Variable("evidence", ("claim",), "list", "", "The numbers, a line each."),
            Variable("reason", ("claim",), "string", "", "Why, in a sentence."),
            Variable("parts", ("claim",), "list", "", "Name, verdict and evidence of each part."),
        ),
    ),
    Artifact(
        "Values behind the claims",
        (f"{STUDY}/{paths.CLAIMS_ROWS}",),
        "CSV",
        "What the numbers of the claims are computed from, a row per run, horizon and trajectory, "
        "per loss and training seed, or per time and turn. A part compares sides: of each the mean "
        "over its cells is taken, then that over trajectories, whose intervals are of bootstrap "
        "resamples, the same on all sides, or over seeds (Student's), or the median over turns.",
        (
            Variable("claim", ("row",), "int64", "", "The claim's number."),
            Variable("part", ("row",), "string", "", "The claim's part, as in claims.json."),
            Variable("side", ("row",), "string", "", "What is compared."),
            Variable(
                "cell",
                ("row",),
                "string",
                "",
                "What `lilas trace` takes; of losses and trainings, the file that has them.",
            ),
            Variable("sample", ("row",), "string", "", "trajectory, seed or turn."),
            Variable("number", ("row",), "int64", "", "Which: the test trajectory, the seed …"),
            Variable(
                "value", ("row",), "float64", "the metric's", "Mean over fields; loss; seconds."
            ),
        ),
    ),
    Artifact(
        "Figures",
        (
            f"{STUDY}/{paths.FIGURES}/{{figure}}.png",
            f"{STUDY}/{paths.FIGURES}/{{figure}}.pdf",
            f"{STUDY}/{paths.FIGURES}/{{video}}.gif",
        ),
        "PNG, PDF and GIF",
        "`rollout_{dataset}_{trajectory}_{field}`: rollouts beside the truth; `video_{dataset}_"
        "{trajectory}`: the same through lead time; `guided_{dataset}_{trajectory}_{sampler}`: "
        "guided rollouts beside the truth, what is seen of it, and the same without; "
        "`metrics_{dataset}`: metrics against lead time; `compression_{dataset}`: error against "
        "compression; `spectra_{dataset}`: power spectra; `ranks_{dataset}`: rank histograms; "
        "`ablation_{dataset}`: losses by optimiser and initialisation; `latents_{dataset}`, "
        "`counterfactual_{dataset}`: latent analyses; `training`: losses, of several datasets "
        "`training_{dataset}`.",
    ),
    Artifact(
        "Report",
        (f"{STUDY}/{paths.REPORT}", f"{STUDY}/{paths.PAGE}", f"{STUDY}/{paths.CLAIMS_PAGE}"),
        "HTML",
        "The answer, tables, claims, a viewer of the rollouts, figures and videos, time and memory "
        "by stage, and the study itself, in one file that works offline. Of several datasets "
        "`report.html` has the answers, claims, time and memory, and leads to a page of each with "
        "its viewer, figures, videos and tables: all in one folder, to be copied together.",
    ),
    Artifact(
        "Owner",
        (f"{STUDY}/{paths.OWNER}",),
        "JSON",
        "Keeps two studies of one name apart.",
        (
            Variable("study", (), "string", "", "Path of the study's file, from here."),
            Variable("sha256", (), "string", "", "Of that file; a study may move, or be edited."),
            Variable("format", (), "integer", "", "Of the results; others are refused."),
            Variable("job_bytes", (), "number", "bytes", "Data that a job encodes at most."),
        ),
    ),
)


# --- Configuration ----------------------------------------------------------------------------


# --- Metrics ----------------------------------------------------------------------------------
