# Autoencoders. The checkpoint folder is no output, so that a killed training resumes.
rule autoencoder:
    message:
        "train autoencoder {wildcards.autoencoder} on {wildcards.dataset}"
    input:
        statistics=f"{ROOT}/{{dataset}}/statistics.json",
        train=partial(split_files, "train"),
        valid=partial(split_files, "valid"),
    output:
        weights=f"{ROOT}/{{dataset}}/{{autoencoder}}/weights.safetensors",
        best=f"{ROOT}/{{dataset}}/{{autoencoder}}/weights_best.safetensors",
        history=f"{ROOT}/{{dataset}}/{{autoencoder}}/history.jsonl",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/autoencoder.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/autoencoder.tsv"
    conda:
        ENVIRONMENT
    wildcard_constraints:
        autoencoder=named("autoencoders", official=False),
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            augment=augmentation(wildcards),
            autoencoder=resolved("autoencoder", wildcards).model,
            seed=seed("autoencoder", wildcards),
        ),
        version=VERSIONS["autoencoder"],
        checkpoint=lambda wildcards, output: str(Path(output.weights).parent / "checkpoint"),
    threads: partial(training_threads, "autoencoder")
    resources:
        gpu=1,
    shell:
        RUN + "autoencoder --config {params.config:q} --statistics {input.statistics:q} "
        "--train {input.train:q} --valid {input.valid:q} --weights {output.weights:q} "
        "--best {output.best:q} --history {output.history:q} "
        "--checkpoint {params.checkpoint:q} --seconds {CONFIG.checkpoint_seconds} "
        "--device {CONFIG.device:q}" + LOG
