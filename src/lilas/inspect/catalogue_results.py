"""Metrics and what is made of them, described."""

from lilas.inspect.artifact import PROVENANCE, STUDY, Artifact, Variable
from lilas.study import paths

_ROW = ("row",)

RESULTS = (
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
                "What an emulator learns, such as diffusion; reconstruction, persistence, "
                "climatology; or truth: the data's own residuals of the laws.",
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
            "units": "of each component, its field and its unit in the data, in JSON",
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
        "Temperature",
        (f"{STUDY}/{paths.TEMPERATURE}",),
        "JSON",
        "Where a sampler's temperature is tuned: `rows` lists how its ensembles score on the "
        "validation split at each that was tried, in latent space, each channel in units of its "
        "deviation; root mean squares and means are over trajectories, channels and points.",
        (
            Variable("temperature", _ROW, "number", "1", "Factor of all noise."),
            Variable("lead_time", _ROW, "integer", "solver steps", "Since the last context state."),
            Variable("crps", _ROW, "number", "1", "Fair CRPS, mean."),
            Variable("rmse", _ROW, "number", "1", "Of the ensembles' means."),
            Variable("spread", _ROW, "number", "1", "Of the members, root mean square."),
        ),
        {
            "dataset": "of the study",
            "autoencoder": "as in the metrics",
            "emulator": "as in the metrics",
            "sampler": "as in the metrics",
            "trajectories": "of the validation split",
            "members": "of each ensemble",
            "temperature": "the one of the lowest CRPS, mean over lead times",
            "diverged": "those at which a rollout did not stay finite",
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
            Variable("unit", _ROW, "string", "", "Of the value; empty where it is not known."),
        ),
    ),
    Artifact(
        "Comparisons and paper tables",
        (
            f"{STUDY}/{paths.TABLES}/differences.{{format}}",
            f"{STUDY}/{paths.TABLES}/valid_time.{{format}}",
            f"{STUDY}/{paths.TABLES}/table1_inference_time.{{format}}",
            f"{STUDY}/{paths.TABLES}/methods.{{format}}",
            f"{STUDY}/{paths.TABLES}/methods_cost.{{format}}",
            f"{STUDY}/{paths.TABLES}/steps.{{format}}",
            f"{STUDY}/{paths.TABLES}/calibration.{{format}}",
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
        "sweep made them, how these converge. Where several emulators share their latents, "
        "`methods` has their scores at equal budget and paired differences from the best, "
        "`methods_cost` what their trainings and a state of a member took; where samplers of one "
        "emulator differ in steps or algorithm, `steps` has scores beside seconds. Of guided "
        "rollouts, errors with and without guidance and how well they fit what guided them. Of "
        "tuned temperatures, how each scored.",
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
        {"provenance": PROVENANCE},
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
        "`steps_{dataset}`: error and CRPS against seconds by sampling steps; "
        "`ablation_{dataset}`: losses by optimiser and initialisation; `latents_{dataset}`, "
        "`counterfactual_{dataset}`: latent analyses; `training`: losses, of several datasets "
        "`training_{dataset}`.",
    ),
    Artifact(
        "Record of tables or figures",
        (f"{STUDY}/{paths.TABLES}/{paths.RECORD}", f"{STUDY}/{paths.FIGURES}/{paths.RECORD}"),
        "JSON",
        "What the tables or figures beside it were made of.",
        attributes={"provenance": PROVENANCE},
    ),
    Artifact(
        "Report",
        (
            f"{STUDY}/{paths.REPORT}",
            f"{STUDY}/{paths.PAGE}",
            f"{STUDY}/{paths.CLAIMS_PAGE}",
            f"{STUDY}/{paths.METHODS_PAGE}",
        ),
        "HTML",
        "The answer, tables, claims, a viewer of the rollouts, figures and videos, time and memory "
        "by stage, and the study itself, in one file that works offline; the record of its making "
        "is in its head, in a script named `provenance`. Of several datasets "
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
            Variable(
                "called", (), "list", "", "Paths that it had, which records name its files by."
            ),
            Variable("job_bytes", (), "number", "bytes", "Data that a job encodes at most."),
            Variable(
                "cuts",
                ("result",),
                "mapping",
                "",
                "Rollouts and metrics by path: their parts, and most rollouts of a part.",
            ),
        ),
    ),
)
