# Ensembles of rollouts from the test split, stored as latents: a new metric never samples again.
# One job makes what is small; what is large is made in parts, by jobs of their own, before that job
# finishes it.
ROLLOUT_ARGUMENTS = (
    "--config {params.config:q} --autoencoder {input.autoencoder:q} --emulator {input.emulator:q} "
    "--latents {input.latents:q} --store {params.store:q} --output {output:q} {params.observed} "
    "--temperature {input.temperature:q} "
)
TARGETS["rollout"] = every(paths.ROLLOUTS, ROLLOUTS)


def rollout_task(wildcards):
    return task(
        states=dataset(wildcards).states if observer(wildcards) else None,
        stride=dataset(wildcards).stride,
        evaluation=rolled_out(wildcards),
        sampler=STUDY.samplers[wildcards.sampler],
    )


def observed(wildcards):
    """What guidance observes: the truth, as the autoencoder sees it."""
    if not observer(wildcards):
        return {}
    return {"statistics": statistics(wildcards), "test": split_files("test", wildcards)}


def observed_arguments(wildcards, input):
    if not observer(wildcards):
        return ""
    return f"--statistics {shlex.quote(input.statistics)} --test {shlex.join(input.test)}"


rule rollout_create:
    """Create the empty store of rollouts that parts fill."""
    message:
        "create the rollouts of {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        unpack(observed),
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=manifest("test"),
        mask=mask,
        temperature=tuned,
    output:
        temp(f"{ROOT}/{paths.created(paths.ROLLOUTS)}"),
    log:
        log_file(paths.ROLLOUT, "rollout_create"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "rollout_create")
    conda:
        ENVIRONMENT
    params:
        config=rollout_task,
        version=VERSIONS["rollout"],
        store=f"{ROOT}/{paths.store(paths.ROLLOUTS)}",
        observed=observed_arguments,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "rollout create " + ROLLOUT_ARGUMENTS + "--device cpu" + LOG


rule rollout_write:
    """Roll out an emulator with a sampler, a part of the trajectories."""
    message:
        "roll out {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}, part "
        "{wildcards.part} of {wildcards.parts}"
    input:
        unpack(observed),
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=manifest("test"),
        mask=mask,
        temperature=tuned,
        created=f"{ROOT}/{paths.created(paths.ROLLOUTS)}",
    output:
        temp(f"{ROOT}/{paths.part(paths.ROLLOUTS)}"),
    log:
        log_file(paths.ROLLOUT, "rollout_{part}of{parts}"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "rollout_{part}of{parts}")
    conda:
        ENVIRONMENT
    params:
        config=rollout_task,
        version=VERSIONS["rollout"],
        store=f"{ROOT}/{paths.store(paths.ROLLOUTS)}",
        observed=observed_arguments,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "rollout write " + ROLLOUT_ARGUMENTS + PART + "--device {CONFIG.device:q}" + LOG


rule rollout:
    """Roll out an emulator with a sampler; names a store that parts have filled."""
    message:
        "roll out {wildcards.emulator} with {wildcards.sampler} on {wildcards.dataset}"
    input:
        unpack(observed),
        autoencoder=partial(chosen, "autoencoder"),
        emulator=partial(chosen, "emulator"),
        latents=manifest("test"),
        mask=mask,
        temperature=tuned,
        parts=partial(parts_of, paths.ROLLOUTS),
    output:
        f"{ROOT}/{paths.ROLLOUTS}",
    log:
        log_file(paths.ROLLOUT, "rollout"),
    benchmark:
        benchmark_file(paths.ROLLOUT, "rollout")
    conda:
        ENVIRONMENT
    params:
        config=rollout_task,
        version=VERSIONS["rollout"],
        store=f"{ROOT}/{paths.store(paths.ROLLOUTS)}",
        observed=observed_arguments,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "rollout finish " + ROLLOUT_ARGUMENTS + "--device {CONFIG.device:q}" + LOG
