"""Stage `figures`: rollouts beside the truth, metrics against lead time, training curves."""

import json
from typing import Any

import numpy as np
import pandas as pd
import torch

from lilas import figures, stores
from lilas.config import Figures
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.evaluation import decode, read_metrics
from lilas.models import load_autoencoder
from lilas.stages import add_paths, parser, run


def main() -> None:
    to = parser(__doc__)
    add_paths(
        to,
        metrics="files of metrics",
        histories="files of training histories",
        rollouts="files: manifests of rollouts, in the order of --runs",
        autoencoders="files: weights of their autoencoders",
        statistics="files: statistics of their datasets",
        output="folder of the figures",
    )
    to.add_argument("--runs", type=json.loads, required=True, help="names of the rollouts, JSON")
    to.add_argument("--test", type=json.loads, required=True, help="files, fields by dataset, JSON")
    args = to.parse_args()
    settings = args.config.figures
    args.output.mkdir(parents=True, exist_ok=True)
    metrics = read_metrics(args.metrics)
    for dataset, rows in metrics.groupby("dataset"):
        curves = figures.metric_curves(rows)
        figures.save(curves, args.output / f"metrics_{dataset}", settings.dpi)
    curves = figures.training_curves(
        {"/".join(path.parts[2:-1]): pd.read_json(path, lines=True) for path in args.histories}
    )
    figures.save(curves, args.output / "training", settings.dpi)
    inputs = list(zip(args.runs, args.rollouts, args.autoencoders, args.statistics, strict=True))
    for dataset, test in args.test.items():
        chosen = [entry for entry in inputs if entry[0]["dataset"] == dataset]
        for index in range(settings.trajectories if chosen else 0):
            panels = _panels(chosen, test, index, settings)
            figures.save(panels, args.output / f"rollout_{dataset}_{index}", settings.dpi)


def _panels(chosen: list[Any], test: dict[str, Any], index: int, settings: Figures) -> Any:
    """Draws the truth, two members of each ensemble and each solver, for the first field."""
    states: dict[str, Any] = {}
    for names, manifest, weights, statistics in chosen:
        dataset = stores.open_store(manifest, "latent")
        preprocessing = Preprocessing.read(statistics)
        pixels = Pixels(open_files(test["files"], test["fields"]), preprocessing, {})
        leads = settings.lead_times or _spaced(int(dataset["lead_time"].max()))
        places = [int(np.abs(dataset["lead_time"].values - lead).argmin()) for lead in leads]
        row = int(dataset["trajectory"][index])
        autoencoder = load_autoencoder(weights, pixels.files[0], torch.device("cpu"))
        truth = pixels.truth(row)[dataset["step"].values[places]]
        states.setdefault("truth", truth[:, 0])
        latents = dataset["latent"].isel(trajectory=index, time=places).values
        decoded = decode(latents, autoencoder, preprocessing, torch.device("cpu"))[:, :, 0].numpy()
        short = f"{names['emulator'].rsplit('-s')[0]} {names['autoencoder'].rsplit('-s')[0]}"
        for member in range(min(2, len(decoded))):
            suffix = f", member {member + 1}" if len(decoded) > 1 else ""
            states[short + suffix] = decoded[member]
    field = pixels.files[0].channels[0].name
    extent = [
        edge
        for axis in pixels.files[0].dimensions[:2]
        for edge in pixels.files[0].coordinates[axis][[0, -1]]
    ]
    return figures.rollout_panels(states, [f"lead time {lead}" for lead in leads], field, extent)


def _spaced(last: int) -> list[int]:
    """Lead times from the first to the last, each about double the one before."""
    return sorted({max(1, round(last * part)) for part in (0.02, 0.1, 0.25, 0.5, 1.0)})


if __name__ == "__main__":
    run(main)
