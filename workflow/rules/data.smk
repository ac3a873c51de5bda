# Data: simulated, or downloaded from The Well. A dataset that lies on disk is read in place.
SIMULATIONS = {
    d.source.folder: d.source for d in STUDY.datasets.values() if d.source.kind == "simulate"
}
WELLS = {d.source.name for d in STUDY.datasets.values() if d.source.kind == "well"}
SIMULATION = f"{CONFIG.data}/{paths.SIMULATION}/"
WELL = f"{CONFIG.data}/{paths.WELL}/"
TARGETS["data"] = [
    file for name in FILES for split in needed(name).values() for file in split
]


def simulated(split):
    return f"{CONFIG.data}/{paths.SIMULATED}".replace("{split}", split)


def simulation_task(wildcards):
    source = SIMULATIONS[wildcards.folder]
    rayleigh = next(ra for ra in source.rayleigh if paths.exponent(ra) == wildcards.rayleigh)
    index = source.rayleigh.index(rayleigh)
    return task(source=source, names={"index": str(index)})


rule simulate:
    message:
        "simulate {wildcards.system} at Rayleigh number {wildcards.rayleigh}"
    output:
        **{split: simulated(split) for split in SPLITS},
    log:
        SIMULATION + paths.log("simulate_{rayleigh}"),
    benchmark:
        SIMULATION + paths.benchmark("simulate_{rayleigh}")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        folder=among(SIMULATIONS),
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
        f"{CONFIG.data}/{paths.DOWNLOADED}",
    log:
        WELL + paths.log("download_{split}_{file}"),
    benchmark:
        WELL + paths.benchmark("download_{split}_{file}")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        system=among(WELLS),
        file="[^/]+",
    params:
        version=VERSIONS["download"],
    resources:
        downloads=1,
    shell:
        RUN + "download --dataset {wildcards.system:q} --split {wildcards.split} "
        "--output {output:q}" + LOG
