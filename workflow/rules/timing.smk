# What a state costs, for each dataset. The job has the machine for itself: nothing runs beside it.
TARGETS["timing"] = TIMINGS


def timed_runs(wildcards):
    return [run for run in TIMED if run["dataset"] == wildcards.dataset]


def timed_weights(kind, wildcards):
    return sorted({chosen(kind, run) for run in timed_runs(wildcards)})


def timing_task(wildcards):
    entry, runs = dataset(wildcards), {}
    for run in timed_runs(wildcards):
        # How warm noise is, is no matter of time.
        sampler = STUDY.samplers[run["sampler"]].model_dump(
            mode="json", exclude_defaults=True, exclude={"temperature", "tune_temperature"}
        )
        runs.setdefault(f"{run['autoencoder']}/{run['emulator']}", {})[run["sampler"]] = sampler
    return task(
        states=entry.states,
        source=entry.source if entry.source.kind == "simulate" else None,
        stride=entry.stride,
        timing=STUDY.timing,
        runs=runs,
        names={"dataset": wildcards.dataset},
    )


rule timing:
    """Time what makes states: simulator, autoencoders and emulators."""
    message:
        "time what makes states of {wildcards.dataset}"
    input:
        autoencoders=partial(timed_weights, "autoencoder"),
        latents=lambda wildcards: sorted(
            {manifest("test").format(**run) for run in timed_runs(wildcards)}
        ),
        emulators=partial(timed_weights, "emulator"),
        test=partial(split_files, "test"),
    output:
        f"{ROOT}/{paths.TIMING}",
    log:
        log_file("{dataset}", "timing"),
    benchmark:
        benchmark_file("{dataset}", "timing")
    conda:
        ENVIRONMENT
    params:
        config=timing_task,
        version=VERSIONS["timing"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "timing --config {params.config:q} --autoencoders {input.autoencoders:q} "
        "--latents {input.latents:q} --emulators {input.emulators:q} --test {input.test:q} "
        "--output {output:q} --device {CONFIG.device:q}" + LOG
