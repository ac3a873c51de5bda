# Latents: a store for each split, created once, filled by one job per source file, then named.
LATENTS = f"{ROOT}/{{dataset}}/{{autoencoder}}/latents"


def latents_task(wildcards):
    entry = dataset(wildcards)
    # Only the training split is augmented; emulators are validated on the data as they are.
    single = {} if wildcards.split == "train" else {"copies": 1}
    return task(
        states=entry.states,
        label=entry.label,
        augment=entry.augment.model_copy(update=single),
        names={"dataset": wildcards.dataset, "split": wildcards.split},
    )


def parts(wildcards):
    """One part per source file; pixel space writes no copy of the data, so it has none."""
    if resolved("autoencoder", wildcards).model.is_pixel_space:
        return []
    return expand(
        f"{LATENTS}/.{{split}}.{{part}}",
        **wildcards,
        part=range(len(FILES[wildcards.dataset][wildcards.split])),
    )


rule latents_create:
    message:
        "create the {wildcards.split} latents of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        files=lambda wildcards: FILES[wildcards.dataset][wildcards.split],
        statistics=statistics,
        weights=partial(chosen, "autoencoder"),
    output:
        temp(f"{LATENTS}/.{{split}}.created"),
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/latents_{{split}}_create.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/latents_{{split}}_create.tsv"
    conda:
        ENVIRONMENT
    params:
        config=latents_task,
        version=VERSIONS["latents"],
        store=f"{LATENTS}/{{split}}.zarr",
    shell:
        RUN + "latents create --config {params.config:q} --files {input.files:q} "
        "--statistics {input.statistics:q} --weights {input.weights:q} "
        "--store {params.store:q} --done {output:q}" + LOG


rule latents_write:
    message:
        "encode {input.file}"
    input:
        created=f"{LATENTS}/.{{split}}.created",
        file=lambda wildcards: FILES[wildcards.dataset][wildcards.split][int(wildcards.part)],
        files=lambda wildcards: FILES[wildcards.dataset][wildcards.split],
        statistics=statistics,
        weights=partial(chosen, "autoencoder"),
    output:
        temp(f"{LATENTS}/.{{split}}.{{part}}"),
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/latents_{{split}}_{{part}}.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/latents_{{split}}_{{part}}.tsv"
    conda:
        ENVIRONMENT
    params:
        config=latents_task,
        version=VERSIONS["latents"],
        store=f"{LATENTS}/{{split}}.zarr",
    resources:
        gpu=1,
    shell:
        RUN + "latents write --config {params.config:q} --files {input.files:q} "
        "--statistics {input.statistics:q} --weights {input.weights:q} "
        "--store {params.store:q} --part {wildcards.part} --done {output:q} "
        "--device {CONFIG.device:q}" + LOG


rule latents:
    message:
        "finish the {wildcards.split} latents of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        parts=parts,
        files=lambda wildcards: FILES[wildcards.dataset][wildcards.split],
        statistics=statistics,
        weights=partial(chosen, "autoencoder"),
    output:
        f"{LATENTS}/{{split}}.json",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/latents_{{split}}.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/latents_{{split}}.tsv"
    conda:
        ENVIRONMENT
    params:
        config=latents_task,
        version=VERSIONS["latents"],
        store=f"{LATENTS}/{{split}}.zarr",
    shell:
        RUN + "latents finish --config {params.config:q} --files {input.files:q} "
        "--statistics {input.statistics:q} --weights {input.weights:q} "
        "--store {params.store:q} --manifest {output:q}" + LOG
