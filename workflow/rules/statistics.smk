# Statistics of each channel over the training split, after its field's transform.
TARGETS["statistics"] = [climate({"dataset": name}) for name in STUDY.datasets]


rule statistics:
    """Compute mean, deviation and range of each channel over the training split."""
    message:
        "statistics of {wildcards.dataset}"
    input:
        train=partial(split_files, "train"),
    output:
        f"{ROOT}/{paths.STATISTICS}",
    log:
        log_file("{dataset}", "statistics"),
    benchmark:
        benchmark_file("{dataset}", "statistics")
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(states=dataset(wildcards).states),
        version=VERSIONS["statistics"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "statistics --config {params.config:q} --train {input.train:q} "
        "--output {output:q} " + DASK + LOG
