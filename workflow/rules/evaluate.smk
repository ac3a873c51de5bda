# Metrics of rollouts, of the autoencoder's reconstruction, and of persistence and climatology; and
# frames, the few decoded states that people look at.
# A metric that is added, or changed, evaluates again.
METRICS_CODE = metrics_fingerprint()


def evaluation_task(wildcards):
    entry, names = dataset(wildcards), dict(wildcards.items())
    if "emulator" in names:
        names["method"] = resolved("emulator", wildcards).objective
    return task(
        states=entry.states,
        stride=entry.stride,
        evaluation=evaluation(wildcards),
        names=names,
    )


rule baselines:
    message:
        "evaluate persistence and climatology on {wildcards.dataset}"
    input:
        statistics=climate,
        test=partial(split_files, "test"),
    output:
        f"{ROOT}/{{dataset}}/baselines.parquet",
    log:
        f"{ROOT}/logs/{{dataset}}/baselines.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/baselines.tsv"
    conda:
        ENVIRONMENT
    params:
        config=evaluation_task,
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    shell:
        RUN + "evaluate baselines --config {params.config:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --device cpu" + LOG


rule reconstruction:
    message:
        "evaluate the reconstruction of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        statistics=statistics,
        test=partial(split_files, "test"),
    output:
        f"{ROOT}/{{dataset}}/{{autoencoder}}/reconstruction.parquet",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/reconstruction.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/reconstruction.tsv"
    conda:
        ENVIRONMENT
    params:
        config=evaluation_task,
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    resources:
        gpu=1,
    shell:
        RUN + "evaluate reconstruction --config {params.config:q} "
        "--autoencoder {input.autoencoder:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --device {CONFIG.device:q}" + LOG


rule evaluate:
    message:
        "evaluate {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        rollouts=f"{ROLLOUT}/rollouts.json",
        statistics=statistics,
        test=partial(split_files, "test"),
    output:
        f"{ROLLOUT}/metrics.parquet",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/{{emulator}}/{{sampler}}/evaluate.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/{{emulator}}/{{sampler}}/evaluate.tsv"
    conda:
        ENVIRONMENT
    params:
        config=evaluation_task,
        metrics=METRICS_CODE,
        version=VERSIONS["evaluate"],
    resources:
        gpu=1,
    shell:
        RUN + "evaluate rollouts --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--rollouts {input.rollouts:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --output {output:q} --device {CONFIG.device:q}" + LOG


rule frames:
    message:
        "decode frames of {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        rollouts=f"{ROLLOUT}/rollouts.json",
        statistics=statistics,
        test=partial(split_files, "test"),
    output:
        f"{ROLLOUT}/frames.json",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/{{emulator}}/{{sampler}}/frames.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/{{emulator}}/{{sampler}}/frames.tsv"
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            figures={"trajectories": STUDY.figures.trajectories},
            names=dict(wildcards.items()) | {"method": resolved("emulator", wildcards).objective},
        ),
        version=VERSIONS["frames"],
        store=f"{ROLLOUT}/frames.zarr",
    resources:
        gpu=1,
    shell:
        RUN + "frames --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--rollouts {input.rollouts:q} --statistics {input.statistics:q} "
        "--test {input.test:q} --store {params.store:q} --manifest {output:q} "
        "--device {CONFIG.device:q}" + LOG
