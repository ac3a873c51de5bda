# Reads and validates the configuration, and names what the rules share.
import getpass
import json
import os
import shlex
import sys
from functools import partial
from pathlib import Path

from lilas import plan
from lilas.plan.cuts import Cuts
from lilas.plan.given import check_given, model_files
from lilas.plan.on_disk import check_on_disk
from lilas.study import ablation, comparison, paths
from lilas.study.latent_analysis import counterfactual_task, parameters_task, table_lead_times
from lilas.systems.base import SPLITS
from lilas.study.read import read_config, read_study, study_path, read_swept
from lilas.errors import LilasError, told
from lilas.files import check_owner, check_writable
from lilas.plan.starts import check_starts, start_files
from lilas.plan.room import Sizes
from lilas.records.provenance import VERSIONS, metrics_fingerprint

# Snakemake keeps its records in the folder of a run, which may be another user's clone.
ELSEWHERE = (
    "Run in a folder of your own: "
    f"snakemake --snakefile {shlex.quote(str(workflow.main_snakefile))} …"
)
try:
    if not Path(".snakemake").exists():
        check_writable(".snakemake", ELSEWHERE)
    said = workflow.config_settings.config_args or []
    CONFIG = read_config(config, said, workflow.configfiles)
    STUDY_FILE = study_path(CONFIG.study, Path(workflow.basedir) / "workflow" / "studies")
    # Jobs are told it from here: a clone that is moved makes nothing again.
    if STUDY_FILE.absolute().is_relative_to(Path.cwd()):
        STUDY_FILE = STUDY_FILE.absolute().relative_to(Path.cwd())
    STUDY = read_study(STUDY_FILE)
    ROOT = f"{CONFIG.results}/{STUDY_FILE.stem}"
    FILES = plan.study_files(CONFIG, STUDY)
    ON_DISK = check_on_disk(STUDY, FILES, f"{CONFIG.results}/{paths.HEADERS}")
    plan.check_simulators(STUDY, FILES)
    plan.check_metrics()
    plan.check_masks(STUDY, ON_DISK)
    if workflow.is_main_process:
        # Jobs that read the study once more need not look at networks and weights again.
        check_starts(STUDY, CONFIG, ON_DISK)
        check_given(STUDY, CONFIG, ON_DISK)
    TWINS = STUDY.twins()
    # What is guided by the truth is no forecast, and is shown apart.
    ROLLOUTS = paths.rollouts(STUDY)
    FORECASTS = paths.forecasts(STUDY)
    OBSERVING = [run for run in ROLLOUTS if run["sampler"] in TWINS]
    # Who may only read results may see how far they are.
    if "LILAS_STATUS" not in os.environ:
        check_writable(ROOT)
    if "LILAS_ADOPT" not in os.environ:
        check_owner(ROOT, STUDY_FILE)
    JOB_BYTES = plan.job_bytes(ROOT)
    CUTS = Cuts(ROOT, CONFIG.job_rollouts, planning=workflow.is_main_process)
except (LilasError, OSError) as error:
    sys.exit(told(error))


# The trainings of autoencoders, pixel space among them.
TRAININGS = [
    {"dataset": name, "autoencoder": paths.training_name(*run)}
    for name in STUDY.datasets
    for run in STUDY.trainings("autoencoders", name)
]
# The rollouts that are timed.
TIMED = paths.timed(STUDY)
TIMINGS = sorted({f"{ROOT}/{paths.TIMING}".format(**run) for run in TIMED})
# The rollouts whose temperature is tuned.
TUNED = paths.tuned(STUDY)
TEMPERATURES = [f"{ROOT}/{paths.TEMPERATURE}".format(**run) for run in TUNED]
# What each stage makes of the whole study; each file of rules adds its own.
TARGETS = {}
# Jobs use the interpreter that Snakemake runs in, whether or not its environment is activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# Users of containers may have no name, which Snakemake and torch.compile ask for.
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ.update(USER=str(os.getuid()))
# Nor do Snakemake's own processes take what lies in the working folder for a module.
os.environ["PYTHONSAFEPATH"] = "1"
ENVIRONMENT = "../../envs/lilas.yaml"
# A job is told by SIGTERM, all of its processes at once, that its time is up: the shell waits for
# what a training saves then, and tee writes what it says. NPROC is what jax takes for the number of
# cores.
PYTHON = (
    "trap : TERM; OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads} NPROC={threads} "
    "PYTHONSAFEPATH=1 python -m lilas."
)
STAGE = PYTHON + "stages."
# The same in a process for each GPU, or as many as a profile says. They make no other training, so
# they are no parameters.
TRAINING_STAGE = (
    PYTHON + "training.launch --gpus {resources.gpu} --processes {resources.processes} "
    "--nodes {resources.nodes} lilas.stages."
)
# Where statistics and scores are computed decides none of them, and is no parameter.
DASK = f"--dask {shlex.quote(CONFIG.dask)} " if CONFIG.dask else ""
LOG = " 2>&1 | (trap '' TERM; exec tee {log:q})"
# Which part of how many a job makes.
PART = "--part {wildcards.part} {wildcards.parts} "


def log_file(*names):
    return f"{ROOT}/{paths.log(*names)}"


def benchmark_file(*names):
    return f"{ROOT}/{paths.benchmark(*names)}"


def manifest(split):
    return f"{ROOT}/{paths.MANIFEST}".replace("{split}", split)


def every(pattern, runs):
    """The file of each run."""
    return [f"{ROOT}/{pattern}".format(**run) for run in runs]


def among(names):
    """A pattern of the names given, and of nothing where there are none."""
    return "|".join(names) or "(?!)"


def named(kind, given):
    """A pattern of the folders of the entries that are trained, or that are taken as they are."""
    entries = getattr(STUDY, kind).items()
    names = [name for name, entry in entries if (entry.given is not None) == given]
    return rf"({among(names)})-s\d+"


wildcard_constraints:
    dataset=r"[A-Za-z0-9_]+",
    autoencoder=r"[A-Za-z0-9_]+-s\d+",
    emulator=r"[A-Za-z0-9_]+-s\d+",
    sampler=r"[A-Za-z0-9_]+",
    split="train|valid|test",
    part=r"\d+",
    parts=r"\d+",


def task(**parts):
    """A job's slice of the configuration as JSON: what its stage needs, and nothing else."""
    plain = {
        key: (
            part.model_dump(mode="json", exclude_defaults=True)
            if hasattr(part, "model_dump")
            else part
        )
        for key, part in parts.items()
        if part is not None
    }
    return json.dumps(plain, sort_keys=True)


def resolved(kind, wildcards):
    """The entry of a job's autoencoder or emulator, as its dataset has it."""
    name, _ = paths.split_training_name(wildcards[kind])
    return STUDY.resolve(f"{kind}s", name, wildcards["dataset"])


def trained(kind, runs):
    """Those that are trained here: pixel space and given models are not, and have no history."""
    return [run for run in runs if resolved(kind, run).is_trained]


def seed(kind, wildcards):
    return paths.split_training_name(wildcards[kind])[1]


def chosen(kind, wildcards):
    """The weights that the stages after a training use: the last, or the best validated."""
    which = resolved(kind, wildcards).weights
    folder = {"autoencoder": paths.AUTOENCODER, "emulator": paths.EMULATOR}[kind]
    name = paths.WEIGHTS if which == "last" else paths.BEST
    return f"{ROOT}/{folder}/{name}".format(**wildcards)


def started(kind, wildcards):
    """The files that a training starts from: its parent's weights, others', or none."""
    if (run := paths.parent(STUDY, kind, wildcards)) is not None:
        return chosen(kind, run)
    entry = resolved(kind, wildcards)
    start = entry.model.train.start if entry.is_trained else None
    return start_files(CONFIG, start.source) if start else []


def given_model(kind, wildcards):
    """The files that a model is taken from, as it is."""
    return model_files(CONFIG, resolved(kind, wildcards).given, kind)


def statistics(wildcards):
    """The statistics that states enter an autoencoder with; one that is given brings its own."""
    if resolved("autoencoder", wildcards).given is not None:
        return f"{ROOT}/{paths.GIVEN_STATISTICS}".format(**wildcards)
    return f"{ROOT}/{paths.STATISTICS}".format(**wildcards)


def climate(wildcards):
    """The statistics of a dataset: with no model to train, those of its first given one."""
    runs = [
        paths.training_name(*run) for run in STUDY.trainings("autoencoders", wildcards["dataset"])
    ]
    found = [statistics(dict(wildcards) | {"autoencoder": run}) for run in runs]
    own = f"{ROOT}/{paths.STATISTICS}".format(**wildcards)
    return own if own in found else found[0]


def splits(name):
    """The splits of a dataset that a study needs: to evaluate given models, the test split; to
    tune their samplers, the validation split too."""
    entries = [
        STUDY.resolve(kind, *run[:1], name)
        for kind in ("autoencoders", "emulators")
        for run in STUDY.trainings(kind, name)
    ]
    asked = STUDY.latent_analysis.get(name)
    learns = any(entry.is_trained for entry in entries) or (asked and asked.parameters)
    tunes = any(run["dataset"] == name for run in TUNED)
    return SPLITS if learns else ("valid", "test") if tunes else ("test",)


def needed(name):
    """The files of those splits, by split."""
    return {split: FILES[name][split] for split in splits(name)}


# How many test trajectories are rolled out. Of The Well's data, facts tell, before and after they
# are there.
TRAJECTORIES = {
    name: Sizes(
        STUDY,
        {name: needed(name)},
        {} if STUDY.datasets[name].source.kind == "well" else ON_DISK,
    ).tested(name)
    for name in STUDY.datasets
}


def parts_of(pattern, wildcards):
    """What the jobs leave that make, or score, a part of a result each; none of a single one."""
    file, sizes = pattern.format(**wildcards), {}
    if sampler := STUDY.samplers.get(wildcards.get("sampler")):
        sizes = {"members": sampler.members, "batch": sampler.batch_size}
    count = CUTS.parts(file, TRAJECTORIES[wildcards.dataset], **sizes)
    named = f"{ROOT}/{paths.part(file)}"
    return [named.format(part=i, parts=count) for i in range(1, count + 1) if count > 1]


def split_files(split, wildcards):
    return FILES[wildcards.dataset][split]


def observer(wildcards):
    """The sampler of a rollout that observes the truth; None of a forecast."""
    return STUDY.samplers[wildcards.sampler] if wildcards.get("sampler") in TWINS else None


def mask(wildcards):
    """The file of the mask that a rollout is guided through, where it has one."""
    operator = observer(wildcards).guidance.operator if observer(wildcards) else None
    return getattr(operator, "path", [])


def tuned(wildcards):
    """The file of the temperature that is tuned for a rollout's sampler, where it is."""
    if STUDY.samplers[wildcards.sampler].tune_temperature is None:
        return []
    return f"{ROOT}/{paths.TEMPERATURE}".format(**wildcards)


def dataset(wildcards):
    return STUDY.datasets[wildcards.dataset]


def augmentation(wildcards):
    """Augmentation of batches as they are drawn: how many copies are cached is not its concern."""
    return dataset(wildcards).augment.model_copy(update={"copies": 1, "seed": 0})


def evaluation(wildcards):
    """What scores depend on; how lead times are averaged is for the tables."""
    entry = dataset(wildcards).evaluation
    return entry.model_copy(update={"horizons": [(1, entry.last)]})


def rolled_out(wildcards):
    """What rollouts depend on: the laws are for their scores."""
    return evaluation(wildcards).model_copy(update={"physics": None})
