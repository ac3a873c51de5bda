"""Stage `figures`: rollouts beside the truth, metrics against lead time, training curves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lilas import figures
from lilas.config import Figures
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.evaluation import decode, paired_row, read_metrics
from lilas.latents import open_rollouts
from lilas.models import load_autoencoder
from lilas.stages import add_paths, parser, run
from lilas.tables import label_runs


def main() -> None:
    to = parser(__doc__)
    add_paths(
        to,
        metrics="files of metrics",
        rollouts="files: manifests of rollouts, in the order of --runs",
        autoencoders="files: weights of their autoencoders",
        statistics="files: statistics of their datasets",
        output="folder of the figures",
    )
    to.add_argument("--histories", type=Path, nargs="*", help="files of training histories")
    to.add_argument("--runs", type=json.loads, required=True, help="names of the rollouts, JSON")
    to.add_argument("--test", type=json.loads, required=True, help="files, fields by dataset, JSON")
    args = to.parse_args()
    settings = args.config.figures
    args.output.mkdir(parents=True, exist_ok=True)
    metrics = read_metrics(args.metrics)
    for dataset, rows in metrics.groupby("dataset"):
        curves = figures.metric_curves(rows)
        figures.save(curves, args.output / f"metrics_{dataset}", settings.dpi)
    if args.histories:
        curves = figures.training_curves(
            {"/".join(path.parts[2:-1]): pd.read_json(path, lines=True) for path in args.histories}
        )
        figures.save(curves, args.output / "training", settings.dpi)
    inputs = list(zip(args.runs, args.rollouts, args.autoencoders, args.statistics, strict=True))
    for dataset, test in args.test.items():
        chosen = [entry for entry in inputs if entry[0]["dataset"] == dataset]
        for index in range(_drawn(chosen, settings)):
            panels = _panels(chosen, test, index, settings)
            figures.save(panels, args.output / f"rollout_{dataset}_{index}", settings.dpi)


def _panels(chosen: list[Any], test: dict[str, Any], index: int, settings: Figures) -> Any:
    """Draws the truth, two members of each ensemble and each solver, for the first field."""
    labels = label_runs(pd.DataFrame([names for names, *_ in chosen]))
    states: dict[str, Any] = {}
    for label, (_, manifest, weights, statistics) in zip(labels, chosen, strict=True):
        dataset = open_rollouts(manifest, weights)
        preprocessing = Preprocessing.read(statistics)
        pixels = Pixels(open_files(test["files"], test["fields"]), preprocessing, {})
        after = np.flatnonzero(dataset["lead_time"].values > 0)
        found = dataset["lead_time"].values[after]
        wanted = settings.lead_times or _spaced(int(found.max()))
        places = after[[int(np.abs(found - lead).argmin()) for lead in wanted]]
        leads = dataset["lead_time"].values[places]
        row = paired_row(dataset, index, pixels)
        autoencoder = load_autoencoder(weights, pixels.files[0], torch.device("cpu"))
        states.setdefault("truth", pixels.truth(row)[dataset["step"].values[places], 0])
        latents = dataset["latent"].isel(trajectory=index, time=places).values
        decoded = decode(latents, autoencoder, preprocessing, torch.device("cpu"))[:, :, 0].numpy()
        for member in range(min(2, len(decoded))):
            suffix = f", member {member + 1}" if len(decoded) > 1 else ""
            states[label + suffix] = decoded[member]
    field = pixels.files[0].channels[0].name
    extent = [
        edge
        for axis in pixels.files[0].dimensions[:2]
        for edge in pixels.files[0].coordinates[axis][[0, -1]]
    ]
    return figures.rollout_panels(states, [f"lead time {lead}" for lead in leads], field, extent)


def _drawn(chosen: list[Any], settings: Figures) -> int:
    """How many trajectories can be drawn: as many as asked, if so many were rolled out."""
    there = [open_rollouts(entry[1], entry[2]).sizes["trajectory"] for entry in chosen]
    return min([settings.trajectories, *there]) if there else 0


def _spaced(last: int) -> list[int]:
    """Lead times from the first to the last, each about double the one before."""
    return sorted({max(1, round(last * part)) for part in (0.02, 0.1, 0.25, 0.5, 1.0)})


if __name__ == "__main__":
    run(main)
