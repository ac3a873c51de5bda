# Metrics of rollouts, of the autoencoder's reconstruction, and of persistence and climatology; and
# frames, the few decoded states that people look at.
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
    entry, names = dataset(wildcards), dict(wildcards.items())
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
    )


rule baselines:
    message:
        "evaluate persistence and climatology on {wildcards.dataset}"
    input:
        statistics=climate,
        test=partial(split_files, "test"),
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
    shell:
        STAGE + "evaluate baselines --config {params.config:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --device cpu" + LOG


rule reconstruction:
    message:
        "evaluate the reconstruction of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        statistics=statistics,
        test=partial(split_files, "test"),
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
    resources:
        gpu=1,
    shell:
        STAGE + "evaluate reconstruction --config {params.config:q} "
        "--autoencoder {input.autoencoder:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --device {CONFIG.device:q}" + LOG


rule evaluate:
    message:
        "evaluate {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        rollouts=f"{ROOT}/{paths.ROLLOUTS}",
        statistics=statistics,
        test=partial(split_files, "test"),
        mask=mask,
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
    resources:
        gpu=1,
    shell:
        STAGE + "evaluate rollouts --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--rollouts {input.rollouts:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output.metrics:q} "
        "--frames {output.frames:q} --device {CONFIG.device:q}" + LOG
