# Ensembles of rollouts from the test split, stored as latents: a new metric never samples again.
ROLLOUT = f"{EMULATOR}/{{sampler}}"


rule rollout:
    message:
        "roll out {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=f"{LATENTS}/test.json",
    output:
        f"{ROLLOUT}/rollouts.json",
    log:
        f"{ROOT}/logs/{{dataset}}/{{autoencoder}}/{{emulator}}/{{sampler}}/rollout.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/{{autoencoder}}/{{emulator}}/{{sampler}}/rollout.tsv"
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(
            stride=dataset(wildcards).stride,
            evaluation=rolled_out(wildcards),
            sampler=STUDY.samplers[wildcards.sampler],
        ),
        version=VERSIONS["rollout"],
        store=f"{ROLLOUT}/rollouts.zarr",
    resources:
        gpu=1,
    shell:
        RUN + "rollout --config {params.config:q} --autoencoder {input.autoencoder:q} "
        "--emulator {input.emulator:q} --latents {input.latents:q} --store {params.store:q} "
        "--manifest {output:q} --device {CONFIG.device:q}" + LOG
