# LILAS: data -> statistics -> autoencoder -> latents -> emulator -> rollout -> evaluate -> report.
# Every rule calls one stage, python -m lilas.stages.NAME; every file of rules is included.


import sys
from pathlib import Path

# Snakemake looks for modules beside the Snakefile first; a user's random.py there is no module.
sys.path.sort(key=lambda place: place in ("", str(Path.cwd()), str(workflow.basedir)))
# A run in another folder (snakemake -d) needs no config.yaml of its own.
CONFIG_FILE = Path("config.yaml")
if not CONFIG_FILE.is_file():
    CONFIG_FILE = Path(workflow.basedir) / CONFIG_FILE


configfile: CONFIG_FILE


include: "workflow/rules/common.smk"
include: "workflow/rules/plan.smk"


for path in sorted((Path(workflow.basedir) / "workflow" / "rules").glob("*.smk")):

    if path.name not in ("common.smk", "plan.smk"):

        include: path


rule all:
    """The report, tables and figures, and all that they need."""
    default_target: True
    input:
        rules.report.output,
        rules.tables.output,
        rules.figures.output,


# A stage of the whole study by name: snakemake all_autoencoder, all_rollout, ...
for stage, targets in TARGETS.items():

    rule:
        """One stage alone, of all that the study has."""
        name:
            f"all_{stage}"
        input:
            targets,
