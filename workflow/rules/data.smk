# Data: simulated, or downloaded from The Well. A dataset that lies on disk is read in place.
SIMULATIONS = {
    d.source.folder: d.source for d in STUDY.datasets.values() if d.source.kind == "simulate"
}
WELLS = {d.source.name for d in STUDY.datasets.values() if d.source.kind == "well"}
DATA = f"{CONFIG.data}/{{folder}}/{{system}}"


rule simulate:
    message:
        "simulate {wildcards.system}, part {wildcards.part}"
    output:
        train=f"{DATA}/data/train/{{part}}.hdf5",
        valid=f"{DATA}/data/valid/{{part}}.hdf5",
        test=f"{DATA}/data/test/{{part}}.hdf5",
    log:
        f"{DATA}/logs/simulate_{{part}}.log",
    benchmark:
        f"{DATA}/benchmarks/simulate_{{part}}.tsv"
    conda:
        ENVIRONMENT
    wildcard_constraints:
        folder="|".join(SIMULATIONS) or "(?!)",
        part="[^/]+",
    params:
        config=lambda wildcards: task(source=SIMULATIONS[wildcards.folder]),
        version=VERSIONS["simulate"],
    shell:
        RUN + "simulate --config {params.config:q} --part {wildcards.part:q} "
        "--train {output.train:q} --valid {output.valid:q} --test {output.test:q}" + LOG


rule download:
    message:
        "download {wildcards.file} of {wildcards.system}"
    output:
        f"{CONFIG.data}/well/{{system}}/data/{{split}}/{{file}}",
    log:
        f"{CONFIG.data}/well/{{system}}/logs/download_{{split}}_{{file}}.log",
    benchmark:
        f"{CONFIG.data}/well/{{system}}/benchmarks/download_{{split}}_{{file}}.tsv"
    conda:
        ENVIRONMENT
    wildcard_constraints:
        system="|".join(WELLS) or "(?!)",
        file="[^/]+",
    params:
        version=VERSIONS["download"],
    resources:
        downloads=1,
    shell:
        RUN + "download --dataset {wildcards.system:q} --split {wildcards.split} "
        "--output {output:q}" + LOG
