# Emulators, diffusion and solver alike, trained on cached latents.
EMULATOR = f"{ROOT}/{{dataset}}/{{autoencoder}}/{{emulator}}"


rule emulator:
    message:
        "train {wildcards.emulator} on {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        weights=partial(chosen, "autoencoder"),
        train=f"{LATENTS}/train.json",
        valid=f"{LATENTS}/valid.json",
    output:
        weights=f"{EMULATOR}/weights.safetensors",
        best=f"{EMULATOR}/weights_best.safetensors",
        history=f"{EMULATOR}/history.jsonl",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/{{emulator}}/emulator.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/{{emulator}}/emulator.tsv"
    conda:
        ENVIRONMENT
    wildcard_constraints:
        emulator=named("emulators", official=False),
    params:
        config=lambda wildcards: task(
            stride=dataset(wildcards).stride,
            label=dataset(wildcards).label,
            augment=augmentation(wildcards),
            emulator=resolved("emulator", wildcards).model,
            seed=seed("emulator", wildcards),
        ),
        version=VERSIONS["emulator"],
        checkpoint=lambda wildcards, output: str(Path(output.weights).parent / "checkpoint"),
    threads: partial(training_threads, "emulator")
    resources:
        gpu=1,
    shell:
        RUN + "emulator --config {params.config:q} --autoencoder {input.weights:q} "
        "--train {input.train:q} --valid {input.valid:q} --weights {output.weights:q} "
        "--best {output.best:q} --history {output.history:q} "
        "--checkpoint {params.checkpoint:q} --seconds {CONFIG.checkpoint_seconds} "
        "--device {CONFIG.device:q}" + LOG
