"""What a run would take: against torch's own count of operations, and jobs that were run."""

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lilas import plan
from lilas.cli import main
from lilas.errors import LilasError
from lilas.models.build import make_autoencoder, make_emulator
from lilas.plan import networks, slurm
from lilas.plan.needs import ON_DEVICE, Machine, Needs
from lilas.plan.overview import SMALL, overview
from lilas.plan.room import STAGES, Job, Sizes, rows
from lilas.plan.work import Work, Works
from lilas.study import autoencoders, emulators, paths
from lilas.study.read import Config, make_study, read_study
from lilas.study.yaml import read_yaml
from test_room import DCAE, TOKENS, UNET, VIT

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "workflow" / "studies"


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        DCAE,
        DCAE | {"pixel_shuffle": False, "attention_heads": {1: 4}, "ffn_factor": 3},
        DCAE | {"kernel_size": 5, "patch_size": 2},
        VIT,
    ],
)
def test_autoencoders_compute_what_their_settings_tell(settings, spatial):
    kind = {"dcae": autoencoders.DCAESettings, "vit": autoencoders.ViTSettings}
    settings = kind[settings["architecture"]](**settings)
    size = {1: (512,), 2: (32, 32), 3: (16, 16, 16)}[spatial]
    with torch.device("meta"):
        module = make_autoencoder(settings, 4, ("x", "y", "z")[:spatial])
        state = torch.empty(1, 4, *size)
    real = counted(lambda: module.decode(module.encode(state)))
    told = networks.flops(networks.autoencoder(settings, 4, spatial), math.prod(size))
    assert told == pytest.approx(real, rel=0.05)


@pytest.mark.parametrize(
    ("network", "spatial"),
    [
        (TOKENS, 1),
        (TOKENS | {"patch_size": [2, 4]}, 2),
        (UNET, 1),
        (UNET | {"attention_heads": {0: 4}, "kernel_size": 5, "stride": [2, 2, 1]}, 2),
    ],
)
def test_emulators_compute_what_their_settings_tell(network, spatial):
    settings = emulators.SolverSettings(method="solver", network=network, window=4)
    size = (settings.window, *(8,) * spatial)
    with torch.device("meta"):
        module = make_emulator(settings, 6, 7, spatial)
        states, label = torch.empty(1, 6, *size), torch.empty(1, 7)
        mask = torch.empty(1, 1, settings.window, *(1,) * spatial)
    real = counted(lambda: module.backbone(states, mask, None, label))
    told = networks.flops(networks.emulator(settings, 6, spatial), math.prod(size))
    assert told == pytest.approx(real, rel=0.05)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_a_training_keeps_of_a_sample_is_told_within_a_factor(checkpointing):
    settings = autoencoders.DCAESettings(**DCAE | {"checkpointing": checkpointing, "dropout": 0.0})
    module = make_autoencoder(settings, 4, ("x", "y"))
    own = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = module.decode(module.encode(torch.randn(1, 4, 64, 64)))
    told = networks.kept_bytes(networks.autoencoder(settings, 4, 2), 64 * 64, checkpointing)
    assert result.shape == (1, 4, 64, 64)
    assert sum(kept.values()) / 2 <= told <= 2 * sum(kept.values())


def of(study: str, machine: Machine, **said) -> Needs:
    study = read_study(STUDIES / f"{study}.yaml")
    files = plan.study_files(Config(), study)
    return Needs(Works(Sizes(study, files, {})), machine, **said)


LARGE = Job("autoencoder", {"dataset": "rayleigh_benard", "autoencoder": "f32c64-s0"}, [])


def test_the_papers_training_asks_for_its_states_and_as_many_gpus_as_make_it_a_day():
    alone, node = (of("paper", Machine(gpus, None)).of(LARGE) for gpus in (1, 8))
    assert (alone.gpus, alone.cores) == (1, 8)
    assert (node.gpus, node.cores) == (4, 32)
    # The training split, 294 GB, and the validation split, 37 GB.
    assert 3.3e11 < alone.memory < 4e11
    assert alone.seconds > 24 * 3600 > node.seconds
    # Nothing of it depends on how often it was tried, but for what is asked for.
    assert node.minutes(2) == pytest.approx(2 * node.minutes(1), abs=10)
    assert node.memory_mb(3) == pytest.approx(2 * node.memory_mb(1), abs=100)


def test_a_budget_takes_its_hours_or_the_steps_that_its_flops_are():
    """Those of 25 steps and a half are 25; a hundred hours ask for no more GPUs than these."""

    def need(**train):
        values = read_yaml(STUDIES / "paper.yaml")
        values["autoencoders"]["f32c64"]["train"] |= {"validate_every": 4, "warmup": 0} | train
        study = make_study("study.yaml", values)
        works = Works(Sizes(study, plan.study_files(Config(), study), {}))
        return works.of(LARGE), Needs(works, Machine(8, None)).of(LARGE)

    validated = {"validation_batches": 1, "optimizer": "adam", "precondition_every": None}
    steps, few = need(steps=25, **validated)
    ten, _ = need(steps=10, **validated)
    # Each validation of a batch is a third of a step.
    each = (ten.flops - ten.flops / (10 * 3 + 2) * 2) / 10
    flops, _ = need(steps=None, budget={"flops": 25.5 * each}, **validated)
    assert flops.flops == pytest.approx(steps.flops)
    work, asked = need(steps=None, budget={"hours": 100.0}, **validated)
    assert (work.seconds, asked.gpus) == (360_000, few.gpus)
    assert 100 < asked.seconds / 3600 < 101


def test_threads_are_the_studys_the_users_the_machines_or_by_hours():
    training = {"dataset": "rayleigh_benard", "autoencoder": "c32-s0"}
    job = Job("autoencoder", training, [])
    assert of("demo", Machine(0, 32)).of(job).cores == 1
    assert of("demo", Machine(0, 6)).of(Job("reconstruction", training, [])).cores == 1
    assert of("paper", Machine(0, 6)).of(LARGE).cores == 6
    assert of("paper", Machine(0, None)).of(LARGE).cores == 16
    assert of("paper", Machine(0, None, most=4)).of(LARGE).cores == 4
    assert of("paper", Machine(0, None), threads={"autoencoder": 3}).of(LARGE).cores == 3
    assert of("paper", Machine(1, None), gpus={"autoencoder": 2}).of(LARGE).gpus == 2


def test_a_device_holds_a_share_of_the_batch_and_main_memory_all_of_it_without_one():
    work = Work(flops=1e12, held=5e9, network=30e9, samples=200e9, together=12)

    class Fixed(Works):
        def of(self, job):
            return work

    sizes = of("paper", Machine(0, 1)).works.sizes
    needs = [Needs(Fixed(sizes), Machine(gpus, None)).of(LARGE) for gpus in (0, 1, 16)]
    # 30 + 200 / 4 GB are more than a GPU has, and 12 samples are not dealt out to 8.
    assert [need.gpus for need in needs] == [0, 1, 4]
    assert [need.device for need in needs] == [0, 230e9, 80e9]
    assert needs[0].memory == 1e9 + 5e9 + 230e9
    assert needs[2].memory == 4 * (1e9 + 4e9) + 5e9
    # Of micro-batches of two a GPU holds no more.
    work = replace(work, micro=2)
    (alone,) = [Needs(Fixed(sizes), Machine(16, None)).of(LARGE)]
    assert alone.gpus == 1
    assert alone.device == pytest.approx(30e9 + 200e9 / 6)
    # Three of the twelve do not go into micro-batches of two.
    work = replace(work, flops=1e20)
    assert Needs(Fixed(sizes), Machine(16, None)).of(LARGE).gpus == 2


def test_every_rule_asks_by_the_same_functions_and_has_its_stage():
    text = "".join(path.read_text("utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = dict(re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.MULTILINE))
    assert set(rules) == set(STAGES) | set(SMALL)
    for name, body in rules.items():
        assert "    threads: cores\n    resources:\n        **RESOURCES,\n" in body, name
    device = {name for name, body in rules.items() if "{CONFIG.device" in body}
    assert device == ON_DEVICE - {"latents_test", "latents_valid_test"}


def test_jobs_stay_within_what_they_ask_for(miniature, monkeypatch):
    """Every job of the miniature: its most memory and its seconds, as Snakemake measured them."""
    monkeypatch.chdir(miniature.folder)
    study = read_study(miniature.study)
    files = plan.study_files(Config(), study)
    needs = Needs(Works(Sizes(study, files, {})), Machine(0, 2))
    data = {"dataset": "convection"}
    jobs = {("convection", "statistics"): Job("statistics", data, [])}
    jobs["convection", "baselines"] = Job("baselines", data, [])
    for name in ("c16-s0", "pixel-s0"):
        for rule in ("autoencoder", "latents", "reconstruction"):
            jobs["convection", name, rule] = Job(rule, data | {"autoencoder": name}, [])
    for run in paths.rollouts(study):
        folders = tuple(run.values())
        emulator = {key: run[key] for key in ("dataset", "autoencoder", "emulator")}
        jobs[*folders[:3], "emulator"] = Job("emulator", emulator, [])
        for rule in ("rollout", "evaluate"):
            jobs[*folders, rule] = Job(rule, run, [])
    for rule in ("tables", "claims", "figures", "report"):
        jobs[rule,] = Job(rule, {}, [])
    for names, job in jobs.items():
        with open(miniature.results / paths.benchmark(*names), encoding="utf-8") as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        need = needs.of(job)
        assert need.known
        assert float(row["s"]) <= 60 * need.minutes(1), names
        if row["max_rss"] not in ("-", "NA"):
            assert float(row["max_rss"]) <= need.memory_mb(1) <= 2400, names


def test_what_goes_beyond_a_profile_is_told():
    needs = of("paper", Machine(1, None, memory_mb=64_000, minutes=1440, retries=2))
    jobs = [LARGE, Job("statistics", {"dataset": "rayleigh_benard"}, [])]
    lines = overview(jobs, needs, rows(needs.works.sizes, jobs, "data", "results")).splitlines()
    asked = needs.of(LARGE).memory_mb(1)
    assert lines[-3] == (
        "beyond the 64 GB of memory that the profile allows: 1 of autoencoder; lower "
        f"train.memory_gb, or allow {asked} MB."
    )
    assert lines[-2].startswith("beyond a GPU of 70 GB, up to 78 GB by these estimates: 1 of")
    times = math.ceil(needs.of(LARGE).seconds / 86400) - 1
    assert lines[-1].endswith(f"up to {times} times; `retries` is 2.")
    free = of("paper", Machine(1, None))
    said = overview(jobs, free, rows(free.works.sizes, jobs, "data", "results"))
    assert [line for line in said.splitlines() if line.startswith("beyond")] == [lines[-2]]


def test_a_plan_counts_the_jobs_of_a_dry_run(pipeline, monkeypatch, capsys):
    monkeypatch.chdir(pipeline.folder)
    monkeypatch.setattr("os.environ", pipeline.environment)
    jobs = pipeline.planned()
    line = ["lilas", "plan", "miniature.yaml"]
    monkeypatch.setattr("sys.argv", line)
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("estimated ")
    counts = {cells[0]: int(cells[1]) for cells in (re.split("  +", one) for one in lines[1:-1])}
    assert counts.pop("all") == sum(jobs.values()) == sum(counts.values())
    assert counts["autoencoders"] == jobs["autoencoder"]
    # What is free on the disk changes with whatever else runs.
    told, said = (
        re.sub(r"needed, .* free", "needed", text)
        for text in ("\n".join(lines), pipeline.run("--dry-run").stdout)
    )
    assert "needed" in told
    assert told in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["papier"], "study 'papier' not found, did you mean paper?"),
        (["demo", "--profile", "gpus"], "profile 'gpus' not found, did you mean gpu?"),
        (["demo", "--config", "devise=cpu"], "devise: unknown key, did you mean 'device'?"),
    ],
)
def test_a_plan_that_is_none_is_refused_in_a_line(pipeline, monkeypatch, line, words):
    monkeypatch.chdir(pipeline.folder)
    monkeypatch.setattr("os.environ", pipeline.environment)
    monkeypatch.setattr("sys.argv", ["lilas", "plan", *line])
    with pytest.raises(SystemExit) as caught:
        main()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_jobs_ask_for_reruns_nothing(miniature, tmp_path):
    copy = miniature.copy(tmp_path / "copy")
    asked = ["autoencoder:mem_mb=1", "autoencoder:gpu=1", "emulator:runtime=1"]
    assert copy.planned("--set-resources", *asked, "--resources", "gpu=1") == {}


def test_no_rank_is_told_by_slurms_variables():
    """Of a job of several tasks Slurm's are about the job, and torchrun's about the training."""
    places = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    assert len(places) > 100
    for path in places:
        assert "SLURM_" not in path.read_text("utf-8"), path


def test_parts_share_the_work_and_the_job_that_joins_them_has_none():
    needs = of("paper", Machine(1, None))
    run = paths.rollouts(needs.works.study)[0]
    whole, part, joined = (
        needs.works.of(job)
        for job in (
            Job("rollout", run, []),
            Job("rollout_write", run | {"part": "1", "parts": "4"}, []),
            Job("rollout", run, [], joins=True),
        )
    )
    assert part.flops == whole.flops / 4
    assert (part.samples, part.held) == (whole.samples, whole.held)
    assert (joined.flops, joined.samples) == (0, 0)


def test_a_slurm_that_does_not_answer_is_told(tmp_path, monkeypatch):
    program = tmp_path / "sbatch"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "PATIENCE", 0.2)
    with pytest.raises(LilasError, match=r"Slurm has not answered .* for 0\.2 s"):
        slurm.check_slurm([("emulator", {"gpu": 1})])
