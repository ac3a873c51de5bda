"""What explains the laptop study's scores: chaos, and the size of ensembles.

Run `python benchmarks/laptop.py` after `snakemake --config study=laptop`. First the VRMSE of
emulators at the middle compression by the Rayleigh number of the trajectories, with 95 % bootstrap
intervals over them, beside that of diffusion less the solver's, paired. Then the VRMSE of the mean
of the first members of ensembles, over all test trajectories. docs/laptop has what it said.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import lilas
from lilas.evaluation.metrics import EPS_VARIANCE
from lilas.evaluation.uncertainty import bootstrap_interval
from lilas.study.read import read_study

EMULATORS = {
    "diffusion": "diffusion-s0/ab16",
    "flow": "flow-s0/ab16",
    "ensemble": "ensemble-s0/drawn",
    "retrofitted": "retrofitted-s0/drawn",
    "solver": "solver-s0/direct",
}
MEMBERS = (1, 2, 4, 8)
STUDY = "workflow/studies/laptop.yaml"


def shown(values: np.ndarray) -> str:
    """Returns the mean over trajectories of (trajectory,) with its interval."""
    found = bootstrap_interval(values[:, None])
    assert found is not None
    return f"{values.mean():.3f} [{found[0][0]:.3f}, {found[1][0]:.3f}]"


def of_trajectories(
    study: lilas.Study, rollouts: str, horizons: list[tuple[int, int]]
) -> pd.DataFrame:
    """Returns the VRMSE by trajectory, and a column per horizon: means of fields and lead times."""
    rows = study.metrics(rollouts)
    rows = rows[(rows["metric"] == "vrmse") & (rows["relative_to"] == "truth")]
    return pd.DataFrame(
        {
            f"{first}-{last}": rows[rows["lead_time"].between(first, last)]
            .groupby("trajectory")["value"]
            .mean()
            for first, last in horizons
        }
    )


def chaos(study: lilas.Study, folder: str, horizons: list[tuple[int, int]]) -> None:
    """Prints scores by Rayleigh number."""
    rayleigh = study.latents(folder)["Rayleigh"].compute()
    scores = {
        name: of_trajectories(study, f"{folder}/{run}", horizons) for name, run in EMULATORS.items()
    }
    scores["diffusion less solver"] = scores["diffusion"] - scores["solver"]
    print(f"| Rayleigh | emulator | {' | '.join(scores['solver'])} |\n|---|---|{'---|' * 3}")
    for value in np.unique(rayleigh.values):
        for name, table in scores.items():
            own = table[rayleigh.sel(trajectory=table.index).values == value]
            cells = [shown(own[column].to_numpy()) for column in own]
            print(f"| {value:g} | {name} | {' | '.join(cells)} |")


def members(study: lilas.Study, folder: str, horizons: list[tuple[int, int]]) -> None:
    """Prints the VRMSE of the mean of the first members."""
    print(f"| emulator | members | {' | '.join(f'{a}-{b}' for a, b in horizons)} |")
    print(f"|---|---|{'---|' * 3}")
    for name in ("diffusion", "flow", "ensemble", "retrofitted"):
        latents = study.rollout(f"{folder}/{EMULATORS[name]}")["latent"]
        model = lilas.load(study.path / folder / f"{name}-s0", device="cpu")
        found = []
        for row in latents["trajectory"].values:
            truth = study.truth(folder, int(row))
            own = model.decode(latents.sel(trajectory=row).isel(time=slice(1, None)))
            errors = []
            for count in MEMBERS:
                fields = []
                for field in own:
                    x = truth[field].values[1 : own.sizes["time"] + 1]
                    y = own[field].transpose("member", "time", ...).values[:count].mean(0)
                    error = np.square(y - x).mean((1, 2)) / (x.var((1, 2)) + EPS_VARIANCE)
                    fields.append(np.sqrt(error))
                errors.append(np.mean(fields, 0))
            found.append(errors)
        scores = np.array(found)
        for i, count in enumerate(MEMBERS):
            cells = [shown(scores[:, i, first - 1 : last].mean(1)) for first, last in horizons]
            print(f"| {name} | {count} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/laptop"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    horizons = read_study(STUDY).datasets["rayleigh_benard"].evaluation.horizons
    study = lilas.open_study(args.results)
    chaos(study, "rayleigh_benard/c64-s0", horizons)
    print()
    members(study, "rayleigh_benard/c64-s0", horizons)


if __name__ == "__main__":
    main()
