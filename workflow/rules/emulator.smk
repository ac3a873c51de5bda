# Emulators, of all methods alike, trained on cached latents.
EMULATOR = f"{ROOT}/{paths.EMULATOR}"
TARGETS["emulator"] = sorted({chosen("emulator", run) for run in ROLLOUTS})


rule emulator:
    """Train an emulator, of any method, on cached latents."""
    message:
        "train {wildcards.emulator} on {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        weights=partial(chosen, "autoencoder"),
        train=manifest("train"),
        valid=manifest("valid"),
        start=partial(started, "emulator"),
    output:
        weights=f"{EMULATOR}/{paths.WEIGHTS}",
        best=f"{EMULATOR}/{paths.BEST}",
        history=f"{EMULATOR}/{paths.HISTORY}",
    log:
        log_file(paths.EMULATOR, "emulator"),
    benchmark:
        benchmark_file(paths.EMULATOR, "emulator")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        emulator=named("emulators", given=False),
    params:
        config=lambda wildcards: task(
            stride=dataset(wildcards).stride,
            label=dataset(wildcards).label,
            augment=augmentation(wildcards),
            emulator=resolved("emulator", wildcards).model,
            seed=seed("emulator", wildcards),
        ),
        version=VERSIONS["emulator"],
        checkpoint=lambda wildcards, output: str(Path(output.weights).parent / paths.CHECKPOINT),
    # The longest jobs begin first: what waits for others runs beside them.
    priority: 1
    threads: cores
    resources:
        **RESOURCES,
        processes=1,
        nodes=1,
    shell:
        TRAINING_STAGE + "emulator --config {params.config:q} --autoencoder {input.weights:q} "
        "--train {input.train:q} --valid {input.valid:q} --start {input.start:q} "
        "--weights {output.weights:q} "
        "--best {output.best:q} --history {output.history:q} "
        "--checkpoint {params.checkpoint:q} --seconds {CONFIG.checkpoint_seconds} "
        "--device {CONFIG.device:q} --tracker {CONFIG.tracker}" + LOG
