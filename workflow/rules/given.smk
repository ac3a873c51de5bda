# Models that are taken as they are instead of being trained: weights of ours, or runs of the official
# code. A released run is fetched once, into the data folder, and shared by all studies.
rule fetch:
    """Fetch a released run of the official code."""
    localrule: True
    message:
        "fetch the released run {wildcards.run}"
    output:
        f"{CONFIG.data}/{paths.RELEASED}",
    log:
        f"{CONFIG.data}/{paths.OFFICIAL}/" + paths.log("{run}"),
    benchmark:
        f"{CONFIG.data}/{paths.OFFICIAL}/" + paths.benchmark("{run}")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        run=r"\w+",
    params:
        version=VERSIONS["download"],
    threads: cores
    resources:
        **RESOURCES,
        downloads=1,
    shell:
        STAGE + "download --run {wildcards.run} --output {output:q}" + LOG


rule given_autoencoder:
    """Take an autoencoder as it is."""
    message:
        "take autoencoder {wildcards.autoencoder} of {wildcards.dataset} as it is"
    input:
        model=partial(given_model, "autoencoder"),
        test=partial(split_files, "test"),
    output:
        weights=f"{ROOT}/{paths.AUTOENCODER}/{paths.WEIGHTS}",
        statistics=f"{ROOT}/{paths.GIVEN_STATISTICS}",
    log:
        log_file(paths.AUTOENCODER, "given"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "given")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        autoencoder=named("autoencoders", given=True),
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            autoencoder=resolved("autoencoder", wildcards).model,
        ),
        version=VERSIONS["given"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "given autoencoder --config {params.config:q} --model {input.model:q} "
        "--test {input.test:q} --weights {output.weights:q} "
        "--statistics {output.statistics:q}" + LOG


rule given_emulator:
    """Take an emulator as it is."""
    message:
        "take {wildcards.emulator} on {wildcards.dataset}/{wildcards.autoencoder} as it is"
    input:
        model=partial(given_model, "emulator"),
        test=partial(split_files, "test"),
        autoencoder=partial(chosen, "autoencoder"),
    output:
        f"{ROOT}/{paths.EMULATOR}/{paths.WEIGHTS}",
    log:
        log_file(paths.EMULATOR, "given"),
    benchmark:
        benchmark_file(paths.EMULATOR, "given")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        emulator=named("emulators", given=True),
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            label=dataset(wildcards).label,
            stride=dataset(wildcards).stride,
            emulator=resolved("emulator", wildcards).model,
        ),
        version=VERSIONS["given"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "given emulator --config {params.config:q} --model {input.model:q} "
        "--test {input.test:q} --autoencoder {input.autoencoder:q} "
        "--weights {output:q}" + LOG
