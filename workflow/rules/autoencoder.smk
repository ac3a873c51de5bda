# Autoencoders. The checkpoint folder is no output, so that a killed training resumes.
AUTOENCODER = f"{ROOT}/{paths.AUTOENCODER}"
TARGETS["autoencoder"] = [chosen("autoencoder", run) for run in TRAININGS]


rule autoencoder:
    """Train an autoencoder on a dataset."""
    message:
        "train autoencoder {wildcards.autoencoder} on {wildcards.dataset}"
    input:
        statistics=f"{ROOT}/{paths.STATISTICS}",
        train=partial(split_files, "train"),
        valid=partial(split_files, "valid"),
        start=partial(started, "autoencoder"),
    output:
        weights=f"{AUTOENCODER}/{paths.WEIGHTS}",
        best=f"{AUTOENCODER}/{paths.BEST}",
        history=f"{AUTOENCODER}/{paths.HISTORY}",
    log:
        log_file(paths.AUTOENCODER, "autoencoder"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "autoencoder")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        autoencoder=named("autoencoders", given=False),
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            augment=augmentation(wildcards),
            autoencoder=resolved("autoencoder", wildcards).model,
            seed=seed("autoencoder", wildcards),
        ),
        version=VERSIONS["autoencoder"],
        checkpoint=lambda wildcards, output: str(Path(output.weights).parent / paths.CHECKPOINT),
    # The longest jobs begin first: what waits for others runs beside them.
    priority: 1
    threads: cores
    resources:
        **RESOURCES,
        processes=1,
        nodes=1,
    shell:
        TRAINING_STAGE + "autoencoder --config {params.config:q} "
        "--statistics {input.statistics:q} "
        "--train {input.train:q} --valid {input.valid:q} --start {input.start:q} "
        "--weights {output.weights:q} "
        "--best {output.best:q} --history {output.history:q} "
        "--checkpoint {params.checkpoint:q} --seconds {CONFIG.checkpoint_seconds} "
        "--device {CONFIG.device:q} --tracker {CONFIG.tracker}" + LOG
