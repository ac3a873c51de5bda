# Metrics of rollouts, of the autoencoder's reconstruction, and of persistence and climatology; and
# frames, the few decoded states that people look at. One job scores what is small; what is large is
# scored in parts, by jobs of their own, whose rows that job joins.
# A metric that is added, or changed, evaluates again.
METRICS_CODE = metrics_fingerprint()
METRICS = (
    every(paths.BASELINES, [{"dataset": name} for name in STUDY.datasets])
    + every(paths.RECONSTRUCTION, TRAININGS)
    + every(paths.METRICS, FORECASTS)
)
OBSERVED_METRICS = every(paths.METRICS, OBSERVING)
TARGETS["evaluate"] = METRICS + OBSERVED_METRICS


def evaluation_task(wildcards, figures=None, begins=None):
    entry = dataset(wildcards)
    names = {key: name for key, name in wildcards.items() if key not in ("part", "parts")}
    if "emulator" in names:
        names["method"] = resolved("emulator", wildcards).model.method
    return task(
        states=entry.states,
        stride=entry.stride,
        evaluation=evaluation(wildcards),
        names=names,
        figures=figures,
        begins=begins,
        sampler=observer(wildcards),
        units={wildcards.dataset: entry.units} if figures and entry.units else None,
    )


rule baselines_write:
    """Score persistence and climatology, a part of the trajectories."""
    message:
        "evaluate persistence and climatology on {wildcards.dataset}, part {wildcards.part} of "
        "{wildcards.parts}"
    input:
        statistics=climate,
        test=partial(split_files, "test"),
    output:
        temp(f"{ROOT}/{paths.part(paths.BASELINES)}"),
    log:
        log_file("{dataset}", "baselines_{part}of{parts}"),
    benchmark:
        benchmark_file("{dataset}", "baselines_{part}of{parts}")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: evaluation_task(wildcards, begins=STUDY.begins(wildcards.dataset)),
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "evaluate baselines --config {params.config:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} " + PART + DASK + "--device cpu" + LOG


rule baselines:
    """Score persistence and climatology on a dataset; joins parts, where there are any."""
    message:
        "evaluate persistence and climatology on {wildcards.dataset}"
    input:
        statistics=climate,
        test=partial(split_files, "test"),
        parts=partial(parts_of, paths.BASELINES),
    output:
        f"{ROOT}/{paths.BASELINES}",
    log:
        log_file("{dataset}", "baselines"),
    benchmark:
        benchmark_file("{dataset}", "baselines")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: evaluation_task(wildcards, begins=STUDY.begins(wildcards.dataset)),
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "evaluate baselines --config {params.config:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --parts {input.parts:q} "
        + DASK
        + "--device cpu"
        + LOG


rule reconstruction_write:
    """Score what an autoencoder reconstructs, a part of the trajectories."""
    message:
        "evaluate the reconstruction of {wildcards.dataset}/{wildcards.autoencoder}, part "
        "{wildcards.part} of {wildcards.parts}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        statistics=statistics,
        test=partial(split_files, "test"),
    output:
        temp(f"{ROOT}/{paths.part(paths.RECONSTRUCTION)}"),
    log:
        log_file(paths.AUTOENCODER, "reconstruction_{part}of{parts}"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "reconstruction_{part}of{parts}")
    conda:
        ENVIRONMENT
    params:
        config=evaluation_task,
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "evaluate reconstruction --config {params.config:q} "
        "--autoencoder {input.autoencoder:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} "
        + PART
        + DASK
        + "--device {CONFIG.device:q}"
        + LOG


rule reconstruction:
    """Score what an autoencoder reconstructs; joins parts, where there are any."""
    message:
        "evaluate the reconstruction of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        statistics=statistics,
        test=partial(split_files, "test"),
        parts=partial(parts_of, paths.RECONSTRUCTION),
    output:
        f"{ROOT}/{paths.RECONSTRUCTION}",
    log:
        log_file(paths.AUTOENCODER, "reconstruction"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "reconstruction")
    conda:
        ENVIRONMENT
    params:
        config=evaluation_task,
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "evaluate reconstruction --config {params.config:q} "
        "--autoencoder {input.autoencoder:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --parts {input.parts:q} "
        + DASK
        + "--device {CONFIG.device:q}"
        + LOG


rule evaluate_write:
    """Score the rollouts of a sampler, a part of the trajectories."""
    message:
        "evaluate {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}, part "
        "{wildcards.part} of {wildcards.parts}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        rollouts=f"{ROOT}/{paths.ROLLOUTS}",
        statistics=statistics,
        test=partial(split_files, "test"),
        mask=mask,
    output:
        temp(f"{ROOT}/{paths.part(paths.METRICS)}"),
    log:
        log_file(paths.ROLLOUT, "evaluate_{part}of{parts}"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "evaluate_{part}of{parts}")
    conda:
        ENVIRONMENT
    params:
        config=evaluation_task,
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
        whole=f"{ROOT}/{paths.METRICS}",
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "evaluate rollouts --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--rollouts {input.rollouts:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --whole {params.whole:q} "
        + PART
        + DASK
        + "--device {CONFIG.device:q}"
        + LOG


rule evaluate:
    """Score the rollouts of a sampler and decode some frames; joins parts, where there are any."""
    message:
        "evaluate {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        rollouts=f"{ROOT}/{paths.ROLLOUTS}",
        statistics=statistics,
        test=partial(split_files, "test"),
        mask=mask,
        parts=partial(parts_of, paths.METRICS),
    output:
        # Kept as long as it is current: other frames are no reason to evaluate again.
        metrics=update(f"{ROOT}/{paths.METRICS}"),
        frames=f"{ROOT}/{paths.FRAMES}",
    log:
        log_file(paths.ROLLOUT, "evaluate"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "evaluate")
    conda:
        ENVIRONMENT
    params:
        config=partial(evaluation_task, figures={"trajectories": STUDY.figures.trajectories}),
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "evaluate rollouts --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--rollouts {input.rollouts:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output.metrics:q} --parts {input.parts:q} "
        "--frames {output.frames:q} " + DASK + "--device {CONFIG.device:q}" + LOG
