# Data: simulated, or downloaded from The Well. A dataset that lies on disk is read in place.
SIMULATIONS = {
    d.source.folder: d.source for d in STUDY.datasets.values() if d.source.kind == "simulate"
}
# What the files of each dataset of The Well must hold. It is no parameter of a download: a study
# that expects otherwise fetches nothing again.
WELLS = plan.expected_of_well(STUDY)
EXPECTED = json.dumps(WELLS)
SIMULATION = f"{CONFIG.data}/{paths.SIMULATION}/"
WELL = f"{CONFIG.data}/{paths.WELL}/"
TARGETS["data"] = [file for name in FILES for split in needed(name).values() for file in split]
# A folder of data that others own is read where nothing is missing.
try:
    for folder in {Path(file).parent for file in TARGETS["data"] if not Path(file).exists()}:
        check_writable(folder)
except (LilasError, OSError) as error:
    sys.exit(told(error))


def simulated(split):
    return f"{CONFIG.data}/{paths.SIMULATED}".replace("{split}", split)


rule simulate:
    """Simulate a part of a dataset."""
    message:
        "simulate {wildcards.system}, part {wildcards.part}"
    output:
        **{split: simulated(split) for split in SPLITS},
    log:
        SIMULATION + paths.log("simulate_{part}"),
    benchmark:
        SIMULATION + paths.benchmark("simulate_{part}")
    conda:
        ENVIRONMENT
    wildcard_constraints:
        folder=among(SIMULATIONS),
        part="[^/]+",
    params:
        config=lambda wildcards: task(source=SIMULATIONS[wildcards.folder]),
        version=VERSIONS["simulate"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "simulate --config {params.config:q} --part {wildcards.part:q} "
        "--train {output.train:q} --valid {output.valid:q} --test {output.test:q}" + LOG


rule download:
    """Download a file of The Well."""

    # Nodes of a cluster often reach no network.
    localrule: True
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
    threads: cores
    resources:
        **RESOURCES,
        downloads=1,
    shell:
        STAGE + "download --dataset {wildcards.system:q} --split {wildcards.split} "
        "--expected {EXPECTED:q} --output {output:q}" + LOG
