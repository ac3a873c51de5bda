# The temperature of samplers that ask for it, chosen on the validation split. Nothing of the test
# split is read.
TARGETS["tune"] = TEMPERATURES


rule tune:
    """Choose the temperature of a sampler's noise on the validation split, where it is tuned."""
    message:
        "tune {wildcards.sampler} of {wildcards.emulator} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=manifest("valid"),
    output:
        f"{ROOT}/{paths.TEMPERATURE}",
    log:
        log_file(paths.ROLLOUT, "tune"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "tune")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(
            stride=dataset(wildcards).stride,
            evaluation=rolled_out(wildcards),
            sampler=STUDY.samplers[wildcards.sampler],
            names=dict(wildcards.items()),
        ),
        version=VERSIONS["tune"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "tune --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--emulator {input.emulator:q} --latents {input.latents:q} --output {output:q} "
        "--device {CONFIG.device:q}" + LOG
