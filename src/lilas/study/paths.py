"""Where everything lies: the data files of a dataset and the folders of a study's runs.

The path is an experiment's identity. Every path of data and results is named here, once: as a
pattern, whose words in braces the workflow's rules and `str.format` fill.
"""

from collections.abc import Mapping

from lilas.study import starts
from lilas.study.datasets import Well
from lilas.study.latent_analysis import analysed_autoencoders, rolls_out
from lilas.study.study import Study
from lilas.systems.base import System

# In the folder of the data, which studies share.
SIMULATION = "{folder}/{system}"
SIMULATED = f"{SIMULATION}/data/{{split}}/{{part}}.hdf5"
WELL = "well/{system}"
DOWNLOADED = f"{WELL}/data/{{split}}/{{file}}"
OFFICIAL = "official"
RELEASED = f"{OFFICIAL}/{{run}}.zip"

# In the results of a study: the folder of an autoencoder, of an emulator on it, of its rollouts.
AUTOENCODER = "{dataset}/{autoencoder}"
EMULATOR = f"{AUTOENCODER}/{{emulator}}"
ROLLOUT = f"{EMULATOR}/{{sampler}}"
# What a training leaves in its folder.
WEIGHTS = "weights.safetensors"
BEST = "weights_best.safetensors"
HISTORY = "history.jsonl"
CHECKPOINT = "checkpoint"
STATISTICS = "{dataset}/statistics.json"
GIVEN_STATISTICS = f"{AUTOENCODER}/statistics.json"
LATENTS = f"{AUTOENCODER}/latents"
# Manifests; the stores that they are of lie beside them.
MANIFEST = f"{LATENTS}/{{split}}.json"
TEMPERATURE = f"{ROLLOUT}/temperature.json"
ROLLOUTS = f"{ROLLOUT}/rollouts.json"
FRAMES = f"{ROLLOUT}/frames.json"
METRICS = f"{ROLLOUT}/metrics.parquet"
RECONSTRUCTION = f"{AUTOENCODER}/reconstruction.parquet"
LATENT_PARAMETERS = f"{AUTOENCODER}/latent_parameters.json"
COUNTERFACTUAL = f"{ROLLOUT}/counterfactual.json"
BASELINES = "{dataset}/baselines.parquet"
TIMING = "{dataset}/timing.json"
TABLES = "tables"
# In the folders of tables and figures: the record of their making.
RECORD = "record.json"
HORIZONS = f"{TABLES}/horizons"
CLAIMS = "claims.json"
# What their numbers rest on, and a page of both.
CLAIMS_ROWS = "claims.csv"
CLAIMS_PAGE = "claims.html"
# Of studies with several emulators on the same latents.
METHODS_PAGE = "methods.html"
FIGURES = "figures"
REPORT = "report.html"
# Of studies with several datasets. No folder is in the way: names of datasets have no dot.
PAGE = "report_{dataset}.html"
OWNER = "study.json"
# Headers of data files that plans have read, in the folder of all results.
HEADERS = ".headers.json"

# The paper's datasets: The Well's that each is, as a whole, start step and stride of its rollouts,
# and the fields that its averages are over.
PUBLISHED = {
    "euler_multi_quadrants": (
        {"euler_multi_quadrants_openBC", "euler_multi_quadrants_periodicBC"},
        *(0, 4, {"energy", "density", "pressure", "momentum"}),
    ),
    "rayleigh_benard": ({"rayleigh_benard"}, 16, 1, {"buoyancy", "pressure", "velocity"}),
    "turbulence_gravity_cooling": (
        {"turbulence_gravity_cooling"},
        *(4, 1, {"density", "pressure", "temperature", "velocity"}),
    ),
}


def store(manifest: str) -> str:
    """Returns the path of the store that a manifest is of."""
    return manifest.removesuffix(".json") + ".zarr"


def part(file: str) -> str:
    """Returns the path of what a job leaves that made a part of a file, until all are joined."""
    folder, _, name = file.rpartition("/")
    return f"{folder}/.{name.partition('.')[0]}.{{part}}of{{parts}}"


def created(manifest: str) -> str:
    """Returns the path of what says that the empty store of a manifest is there, to be filled."""
    folder, _, name = manifest.rpartition("/")
    return f"{folder}/.{name.partition('.')[0]}.created"


def log(*names: str) -> str:
    """Returns the path of a job's log: below the folders of its results, then its own name."""
    return "/".join(("logs", *names)) + ".log"


def benchmark(*names: str) -> str:
    """Returns the path of a job's benchmark, as `log`."""
    return "/".join(("benchmarks", *names)) + ".tsv"


def training_name(name: str, seed: int) -> str:
    """Returns the folder name of a training: its entry's name and its seed."""
    return f"{name}-s{seed}"


def split_training_name(run: str) -> tuple[str, int]:
    """Returns the (name, seed) of a training's folder name."""
    name, _, seed = run.rpartition("-s")
    return name, int(seed)


def parent(study: Study, kind: str, run: Mapping[str, str]) -> dict[str, str] | None:
    """Returns the run whose training one starts from, if it starts from one of the study.

    Args:
        study: The study.
        kind: autoencoder or emulator.
        run: The dataset, and folders by kind.
    """
    name, seed = split_training_name(run[kind])
    found = starts.parent(study, f"{kind}s", run["dataset"], name, seed)
    if found is None:
        return None
    dataset, name, seed = found
    return {**run, "dataset": dataset, kind: training_name(name, seed)}


def rollouts(study: Study) -> list[dict[str, str]]:
    """Returns the (dataset, autoencoder, emulator, sampler) of every rollout of a study."""
    return [
        {
            "dataset": dataset,
            "autoencoder": training_name(autoencoder, a),
            "emulator": training_name(emulator, e),
            "sampler": sampler,
        }
        for dataset in study.datasets
        for emulator, e in study.trainings("emulators", dataset)
        for autoencoder, a in study.trainings("autoencoders", dataset)
        if autoencoder in study.resolve("emulators", emulator, dataset).autoencoders
        for sampler in study.resolve("emulators", emulator, dataset).samplers
    ]


def forecasts(study: Study) -> list[dict[str, str]]:
    """Returns the rollouts that are not guided by what they are to forecast."""
    guided = study.twins()
    return [run for run in rollouts(study) if run["sampler"] not in guided]


def tuned(study: Study) -> list[dict[str, str]]:
    """Returns the rollouts, as `rollouts`, whose temperature is tuned on the validation split."""
    return [run for run in rollouts(study) if study.samplers[run["sampler"]].tune_temperature]


def timed(study: Study) -> list[dict[str, str]]:
    """Returns the forecasts that are timed: of each entry the first seed; others take as long."""
    firsts = {
        (dataset, training_name(name, study.resolve(kind, name, dataset).seeds[0]))
        for dataset in study.datasets
        for kind in ("autoencoders", "emulators")
        for name, _ in study.trainings(kind, dataset)
    }
    return [
        run
        for run in (forecasts(study) if study.timing else [])
        if {(run["dataset"], run[kind]) for kind in ("autoencoder", "emulator")} <= firsts
    ]


def analysed(study: Study) -> list[dict[str, str]]:
    """Returns the (dataset, autoencoder) of latents in which parameters are looked for."""
    return [
        {"dataset": dataset, "autoencoder": training_name(name, seed)}
        for dataset, analysis in study.latent_analysis.items()
        for name, seed in study.trainings("autoencoders", dataset)
        if analysis.parameters and name in analysed_autoencoders(study, dataset)
    ]


def counterfactuals(study: Study) -> list[dict[str, str]]:
    """Returns the rollouts, as `rollouts`, that are made under other values of a parameter too."""
    return [
        run
        for run in rollouts(study)
        if rolls_out(
            *(study, run["dataset"]),
            *(split_training_name(run[key])[0] for key in ("autoencoder", "emulator")),
            run["sampler"],
        )
    ]


def origins(study: Study) -> dict[str, dict[str, str]]:
    """Returns what tables say of datasets: `sources` in words, and `published` by the paper's name.

    Only whole datasets of The Well are the paper's, rolled out from its start step by its stride in
    all of its fields: an error depends on where in a flow a forecast begins. Its Euler dataset
    joins two of them.
    """
    sources, published = {}, {}
    for name, dataset in study.datasets.items():
        source = dataset.source
        if isinstance(source, Well):
            sources[name] = f"{_joined(source.names)} of The Well"
            rolled_out = dataset.evaluation.start, dataset.stride, set(dataset.states.fields)
            asked = (set(source.names), *rolled_out)
            papers = [paper for paper, its in PUBLISHED.items() if its == asked]
            if papers and not (source.include or source.files):
                published[name] = papers[0]
        elif isinstance(source, System):
            sources[name] = f"{source.system}, simulated"
        else:
            sources[name] = f"files of {_joined(source.paths)}"
    return {"sources": sources, "published": published}


def _joined(names: tuple[str, ...]) -> str:
    return " and ".join(names)
