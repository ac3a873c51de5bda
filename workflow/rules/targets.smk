# A stage of the whole study by name: snakemake all_autoencoder, all_rollout, ...
TARGETS = {
    "data": [
        file for name, files in FILES.items() for split in splits(name) for file in files[split]
    ],
    "statistics": [climate({"dataset": name}) for name in STUDY.datasets],
    "autoencoder": [chosen("autoencoder", run) for run in RUNS],
    "latents": [
        LATENTS.format(**run) + f"/{split}.json" for run in RUNS for split in splits(run["dataset"])
    ],
    "emulator": sorted({chosen("emulator", run) for run in ROLLOUTS}),
    "rollout": [ROLLOUT.format(**run) + "/rollouts.json" for run in ROLLOUTS],
    "evaluate": METRICS,
}

for stage, targets in TARGETS.items():

    rule:
        name:
            f"all_{stage}"
        input:
            targets,
