# LILAS: data -> statistics -> autoencoder -> latents -> emulator -> rollout -> evaluate -> report.
# Every rule calls one stage, python -m lilas.stages.NAME; every file of rules is included.


configfile: "config.yaml"


include: "workflow/rules/common.smk"


for path in sorted((Path(workflow.basedir) / "workflow" / "rules").glob("*.smk")):

    if path.name != "common.smk":

        include: path


rule all:
    default_target: True
    input:
        f"{ROOT}/{paths.REPORT}",
        rules.tables.output,
        rules.figures.output,


# A stage of the whole study by name: snakemake all_autoencoder, all_rollout, ...
for stage, targets in TARGETS.items():

    rule:
        name:
            f"all_{stage}"
        input:
            targets,
