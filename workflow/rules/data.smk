# Data: simulated, or downloaded from The Well. A dataset that lies on disk is read in place.
SIMULATIONS = {
    d.source.folder: d.source for d in STUDY.datasets.values() if d.source.kind == "simulate"
}
WELLS = {d.source.name for d in STUDY.datasets.values() if d.source.kind == "well"}
DATA = f"{CONFIG.data}/{{folder}}/{{system}}"


def simulation_task(wildcards):
    source = SIMULATIONS[wildcards.folder]
    rayleigh = next(ra for ra in source.rayleigh if paths.exponent(ra) == wildcards.rayleigh)
    index = source.rayleigh.index(rayleigh)
    return task(source=source, names={"index": str(index)})


rule simulate:
    message:
        "simulate {wildcards.system} at Rayleigh number {wildcards.rayleigh}"
    output:
        train=f"{DATA}/data/train/Rayleigh_{{rayleigh}}.hdf5",
        valid=f"{DATA}/data/valid/Rayleigh_{{rayleigh}}.hdf5",
        test=f"{DATA}/data/test/Rayleigh_{{rayleigh}}.hdf5",
    log:
        f"{DATA}/logs/simulate_{{rayleigh}}.log",
    benchmark:
        f"{DATA}/benchmarks/simulate_{{rayleigh}}.tsv"
    conda:
        ENVIRONMENT
    wildcard_constraints:
        folder="|".join(SIMULATIONS) or "(?!)",
    params:
        config=simulation_task,
        version=VERSIONS["simulate"],
    shell:
        RUN + "simulate --config {params.config:q} --train {output.train:q} "
        "--valid {output.valid:q} --test {output.test:q}" + LOG


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
