# Statistics of each channel over the training split, after its field's transform.
rule statistics:
    message:
        "statistics of {wildcards.dataset}"
    input:
        train=partial(split_files, "train"),
    output:
        f"{ROOT}/{{dataset}}/statistics.json",
    log:
        f"{ROOT}/logs/{{dataset}}/statistics.log",
    benchmark:
        f"{ROOT}/benchmarks/{{dataset}}/statistics.tsv"
    conda:
        ENVIRONMENT
    params:
        config=lambda wildcards: task(states=dataset(wildcards).states),
        version=VERSIONS["statistics"],
    shell:
        RUN + "statistics --config {params.config:q} --train {input.train:q} "
        "--output {output:q}" + LOG
