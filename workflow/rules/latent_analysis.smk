# What latents tell of parameters, and rollouts under other values of one, where a study asks.
ANALYSED = paths.analysed(STUDY)
COUNTERFACTUALS = paths.counterfactuals(STUDY)
ANALYSES = every(paths.LATENT_PARAMETERS, ANALYSED) + every(paths.COUNTERFACTUAL, COUNTERFACTUALS)
TARGETS["latent_analysis"] = ANALYSES


rule latent_parameters:
    """Look for parameters in latents, where a study asks for it."""
    message:
        "look for parameters in the latents of {wildcards.dataset}/{wildcards.autoencoder}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        train=manifest("train"),
        valid=manifest("valid"),
        test=manifest("test"),
    output:
        f"{ROOT}/{paths.LATENT_PARAMETERS}",
    log:
        log_file(paths.AUTOENCODER, "latent_parameters"),
    benchmark:
        benchmark_file(paths.AUTOENCODER, "latent_parameters")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(
            label=dataset(wildcards).label,
            latent_analysis=parameters_task(STUDY, wildcards.dataset),
            names=dict(wildcards.items()),
        ),
        version=VERSIONS["latent_parameters"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "latent_parameters --config {params.config:q} "
        "--autoencoder {input.autoencoder:q} --train {input.train:q} --valid {input.valid:q} "
        "--test {input.test:q} --output {output:q}" + LOG


rule counterfactual:
    """Roll out under other values of a parameter, where a study asks for it."""
    message:
        "roll out {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset} under other "
        "parameters"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=manifest("test"),
        temperature=tuned,
    output:
        f"{ROOT}/{paths.COUNTERFACTUAL}",
    log:
        log_file(paths.ROLLOUT, "counterfactual"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "counterfactual")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(
            stride=dataset(wildcards).stride,
            label=dataset(wildcards).label,
            evaluation=rolled_out(wildcards),
            sampler=STUDY.samplers[wildcards.sampler],
            latent_analysis=counterfactual_task(STUDY, wildcards.dataset),
            names=dict(wildcards.items()),
        ),
        version=VERSIONS["counterfactual"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "counterfactual --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--emulator {input.emulator:q} --latents {input.latents:q} --output {output:q} "
        "--temperature {input.temperature:q} --device {CONFIG.device:q}" + LOG
