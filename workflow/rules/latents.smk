# Latents of every split that a study needs. One job encodes what is small; what is large is encoded
# in parts, by jobs of their own, before that job finishes it.
LATENTS = f"{ROOT}/{paths.LATENTS}"
# The indices of the files of each part, by dataset and split; small data have none.
PARTS = {name: plan.parts(STUDY.datasets[name], needed(name), JOB_BYTES) for name in FILES}
# Where only given models are evaluated, the test split is all that is needed, and to tune their
# samplers the validation split.
WHOLE = [name for name in FILES if splits(name) == SPLITS]
TESTED = [name for name in FILES if splits(name) == ("test",)]
TARGETS["latents"] = [
    manifest(split).format(**run) for run in TRAININGS for split in splits(run["dataset"])
]


def latents_task(wildcards):
    entry = dataset(wildcards)
    names = {"dataset": wildcards.dataset}
    return task(states=entry.states, label=entry.label, augment=entry.augment, names=names)


def parts(wildcards):
    """The markers of the parts that are encoded beforehand; pixel space writes no copy of data."""
    if resolved("autoencoder", wildcards).model.is_pixel_space:
        return []
    return [
        f"{LATENTS}/.{split}.{part}".format(**wildcards)
        for split, jobs in PARTS[wildcards.dataset].items()
        for part in range(len(jobs))
    ]


def split_arguments(wildcards, input):
    return " ".join(f"--{split} {shlex.join(input[split])}" for split in needed(wildcards.dataset))


rule latents_create:
    """Create the empty stores of latents that parts fill."""
    message:
        "create the latents of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        unpack(lambda wildcards: needed(wildcards.dataset)),
        statistics=statistics,
        weights=partial(chosen, "autoencoder"),
    output:
        temp(f"{LATENTS}/.created"),
    log:
        log_file(paths.AUTOENCODER, "latents_create"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "latents_create")
    conda:
        ENVIRONMENT
    params:
        config=latents_task,
        version=VERSIONS["latents"],
        folder=LATENTS,
        splits=split_arguments,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "latents create --config {params.config:q} {params.splits} "
        "--statistics {input.statistics:q} --weights {input.weights:q} "
        "--folder {params.folder:q} --done {output:q} --device cpu" + LOG


rule latents_write:
    """Encode a part of the files of a split."""
    message:
        "encode part {wildcards.part} of the {wildcards.split} split for "
        "{wildcards.dataset}/{wildcards.autoencoder}"
    input:
        created=f"{LATENTS}/.created",
        files=lambda wildcards: split_files(wildcards.split, wildcards),
        statistics=statistics,
        weights=partial(chosen, "autoencoder"),
    output:
        temp(f"{LATENTS}/.{{split}}.{{part}}"),
    log:
        log_file(paths.AUTOENCODER, "latents_{split}_{part}"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "latents_{split}_{part}")
    conda:
        ENVIRONMENT
    params:
        config=latents_task,
        version=VERSIONS["latents"],
        folder=LATENTS,
        parts=lambda wildcards: PARTS[wildcards.dataset][wildcards.split][int(wildcards.part)],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "latents write --config {params.config:q} --{wildcards.split} {input.files:q} "
        "--statistics {input.statistics:q} --weights {input.weights:q} "
        "--folder {params.folder:q} --parts {params.parts} --done {output:q} "
        "--device {CONFIG.device:q}" + LOG


rule latents:
    """Encode a dataset with an autoencoder; names stores that parts have filled."""
    message:
        "latents of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        unpack(lambda wildcards: needed(wildcards.dataset)),
        statistics=statistics,
        weights=partial(chosen, "autoencoder"),
        parts=parts,
    output:
        [manifest(split) for split in SPLITS],
    log:
        log_file(paths.AUTOENCODER, "latents"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "latents")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        dataset=among(WHOLE),
    params:
        config=latents_task,
        version=VERSIONS["latents"],
        folder=LATENTS,
        splits=split_arguments,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "latents finish --config {params.config:q} {params.splits} "
        "--statistics {input.statistics:q} --weights {input.weights:q} "
        "--folder {params.folder:q} --device {CONFIG.device:q}" + LOG


use rule latents as latents_test with:
    output:
        manifest("test"),
    wildcard_constraints:
        dataset=among(TESTED),


use rule latents as latents_valid_test with:
    output:
        [manifest(split) for split in ("valid", "test")],
    wildcard_constraints:
        dataset=among([name for name in FILES if name not in WHOLE + TESTED]),
