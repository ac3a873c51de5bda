# Ensembles of rollouts from the test split, stored as latents: a new metric never samples again.
TARGETS["rollout"] = every(paths.ROLLOUTS, ROLLOUTS)


rule rollout:
    message:
        "roll out {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=manifest("test"),
    output:
        f"{ROOT}/{paths.ROLLOUTS}",
    log:
        log_file(paths.ROLLOUT, "rollout"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "rollout")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(
            stride=dataset(wildcards).stride,
            evaluation=rolled_out(wildcards),
            sampler=STUDY.samplers[wildcards.sampler],
        ),
        version=VERSIONS["rollout"],
        store=f"{ROOT}/{paths.store(paths.ROLLOUTS)}",
    resources:
        gpu=1,
    shell:
        STAGE + "rollout --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--emulator {input.emulator:q} --latents {input.latents:q} --store {params.store:q} "
        "--manifest {output:q} --device {CONFIG.device:q}" + LOG
