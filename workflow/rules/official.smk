# Models taken from runs of the official code instead of being trained. A released run is fetched
# once, into the data folder, and shared by all studies.
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


rule official_autoencoder:
    """Take an autoencoder from an official run."""
    message:
        "take autoencoder {wildcards.autoencoder} of {wildcards.dataset} from an official run"
    input:
        run=partial(official_run, "autoencoder"),
        test=partial(split_files, "test"),
    output:
        weights=f"{ROOT}/{paths.AUTOENCODER}/{paths.WEIGHTS}",
        statistics=f"{ROOT}/{paths.OFFICIAL_STATISTICS}",
    log:
        log_file(paths.AUTOENCODER, "official"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "official")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        autoencoder=named("autoencoders", official=True),
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            autoencoder=resolved("autoencoder", wildcards).model,
        ),
        version=VERSIONS["official"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "official autoencoder --config {params.config:q} --run {input.run:q} "
        "--test {input.test:q} --weights {output.weights:q} "
        "--statistics {output.statistics:q}" + LOG


rule official_emulator:
    """Take an emulator from an official run."""
    message:
        "take {wildcards.emulator} on {wildcards.dataset}/{wildcards.autoencoder} from an "
        "official run"
    input:
        run=partial(official_run, "emulator"),
        test=partial(split_files, "test"),
        autoencoder=partial(chosen, "autoencoder"),
    output:
        f"{ROOT}/{paths.EMULATOR}/{paths.WEIGHTS}",
    log:
        log_file(paths.EMULATOR, "official"),
    benchmark:
        benchmark_file(paths.EMULATOR, "official")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        emulator=named("emulators", official=True),
    params:
        config=lambda wildcards: task(
            states=dataset(wildcards).states,
            label=dataset(wildcards).label,
            stride=dataset(wildcards).stride,
            emulator=resolved("emulator", wildcards).model,
        ),
        version=VERSIONS["official"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "official emulator --config {params.config:q} --run {input.run:q} "
        "--test {input.test:q} --autoencoder {input.autoencoder:q} "
        "--weights {output:q}" + LOG
