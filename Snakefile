# LILAS: data -> statistics -> autoencoder -> latents -> emulator -> rollout -> evaluate -> report.
# This file is the table of contents; every rule calls one stage, python -m lilas.stages.NAME.


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/autoencoder.smk"
include: "workflow/rules/latents.smk"
include: "workflow/rules/emulator.smk"
include: "workflow/rules/official.smk"
include: "workflow/rules/rollout.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/targets.smk"


rule all:
    default_target: True
    input:
        f"{ROOT}/report.html",
        rules.tables.output,
        rules.figures.output,
