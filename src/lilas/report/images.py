"""Figures as the report embeds them: those of a dataset, and of these as many as fit."""

import base64
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

# Bytes of base64, on a page that has room for them.
IMAGE_BUDGET = 7_600_000
# And of what is written around each: its tag, name and caption.
AROUND = 1000
# By the first word of a figure's name, in the order of the page.
CAPTIONS = {
    "metrics": "Metrics against lead time, averaged over test trajectories and fields; bands are "
    "95 % bootstrap intervals over trajectories. Persistence, climatology and the "
    "autoencoder's own reconstruction are for comparison.",
    "compression": "Error of the emulators and of the autoencoder's own reconstruction against the "
    "compression rate, by horizon; bars are 95 % bootstrap intervals over trajectories.",
    "spectra": "Power spectra of the truth, of the rollouts and of the autoencoder's own "
    "reconstruction at several lead times; dotted lines part the bands of the spectral errors.",
    "ranks": "Rank histograms of the truth within the ensemble: flat where the ensemble is "
    "calibrated, a valley where it is too narrow, a hill where it is too wide.",
    "steps": "VRMSE of the ensemble mean and CRPS over the truth's standard deviation, by horizon, "
    "against the seconds that a state of one member takes without decoding: as timed, or of whole "
    "jobs, as the axis says. A line is of an algorithm, numbers at its points are steps; methods "
    "of a single evaluation are points. Bars are 95 % bootstrap intervals over trajectories.",
    "ablation": "Validation loss of autoencoders by optimiser and initialisation, each at the best "
    "of the rates that it was tried with, against steps and against wall time: mean over training "
    "seeds; bands reach from the least to the largest. Where several rates were tried, the other "
    "figures show the reconstructions of these trainings alone, of their first seeds.",
    "guided": "Rollouts guided by noisy observations of part of each state, which the second row "
    "shows, beside the same without, of one test trajectory on the truth's colour scale. What is "
    "not observed is grey.",
    "latents": "Central tokens of test trajectories, as a perceptron that predicts the parameters "
    "sees them, in two dimensions by t-SNE; coloured by parameter.",
    "counterfactual": "Distance of the latents of rollouts from one state under two values of a "
    "parameter, with the same noise, against lead time; dashed, of rollouts that differ in noise "
    "alone.",
    "training": "Losses on the training and the validation split, by training step.",
    "rollout": "Rollouts of one test trajectory: the truth, and what each emulator makes of it "
    "from its first states, on the truth's colour scale.",
    "video": "The truth beside two members of the ensemble and the solver, where there are such, "
    "through lead time.",
}
# Figures of single trajectories, which the viewer shows too: there are many.
FOLDED = {"rollout": "Rollouts, picture by picture", "video": "Videos"}
# What follows the dataset in their names.
_TRAJECTORY = {"rollout": r"_\d+_.+", "guided": r"_\d+_.+", "video": r"_\d+"}


def find_images(figures: Path) -> list[Path]:
    """Returns the figures and videos of a folder that a page can show."""
    return [*figures.glob("*.png"), *figures.glob("*.gif")]


def dataset_of(figure: Path, datasets: Collection[str]) -> str:
    """Returns which dataset a figure is of, by its name; empty if it is of none or of all."""
    kind, _, rest = figure.stem.partition("_")
    after = _TRAJECTORY.get(kind, "")
    found = [name for name in datasets if re.fullmatch(re.escape(name) + after, rest)]
    return max(found, key=len, default="")


def embed_images(paths: Sequence[Path], room: int) -> dict[str, list[Any]]:
    """Returns the `images` to embed, in the page's order, and the names of those `left_out`.

    Where they do not all fit, figures go before videos, and the first trajectories before others.

    Args:
        paths: The figures and videos of a page.
        room: Bytes that the page has left for them.
    """
    kinds = list(CAPTIONS)

    def place(path: Path) -> tuple[int, str]:
        kind = path.stem.split("_")[0]
        return (kinds.index(kind) if kind in kinds else len(kinds), path.name)

    def urgency(path: Path) -> tuple[bool, int, tuple[int, str]]:
        number = re.search(r"_(\d+)(?=_|$)", path.stem)
        return (path.suffix == ".gif", int(number[1]) if number else 0, place(path))

    left, chosen = min(IMAGE_BUDGET, room - len(paths) * AROUND), {}
    for path in sorted(paths, key=urgency):
        data = base64.b64encode(path.read_bytes()).decode()
        if len(data) <= left:
            left -= len(data)
            chosen[path] = data
    images = [
        {
            "name": path.name,
            "type": path.suffix[1:],
            "folder": FOLDED.get(path.stem.split("_")[0], ""),
            "caption": CAPTIONS.get(path.stem.split("_")[0], ""),
            "data": chosen[path],
        }
        for path in sorted(chosen, key=place)
    ]
    return {
        "images": images,
        "left_out": sorted(path.name for path in paths if path not in chosen),
    }
