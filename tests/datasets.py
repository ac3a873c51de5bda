"""What each dataset of The Well gives: its tiny twin, read and run through the whole pipeline.

Run `make test-datasets`: every twin of `tests/twins.py`, and Euler's two joined, from files to
scores in one study; docs/data.md gets the table. Half an hour on two cores.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from the_well.data import WellDataset

import twins
from lilas.data.states import label, read_states
from lilas.data.well import open_well
from lilas.errors import LilasError
from lilas.plan import data_files
from lilas.plan.on_disk import check_on_disk
from lilas.study.read import Config, make_study

ROOT = Path(__file__).parents[1]
EULER = ("euler_multi_quadrants_openBC", "euler_multi_quadrants_periodicBC")
# Datasets by name: those that each joins.
DATASETS = {name: (name,) for name in twins.TWINS} | {"euler_multi_quadrants": EULER}
# Of each stage, a file that it leaves in the folder of the dataset.
STAGES = {
    "statistics": "statistics.json",
    "latents": "a-s0/latents/test.json",
    "scores": "a-s0/s-s0/direct/metrics.parquet",
}
BEGIN, END = "<!-- datasets: begin -->", "<!-- datasets: end -->"


def differences(folder: Path) -> str:
    """Returns where our reader and The Well's differ on a dataset; nothing where they agree.

    Compared, bitwise, of every split: every window of 4 states, names of the channels, labels.
    """
    for split in ("train", "valid", "test"):
        files = [open_well(path) for path in sorted((folder / "data" / split).iterdir())]
        theirs = WellDataset(
            path=str(folder),
            well_split_name=split,
            n_steps_input=3,
            n_steps_output=1,
            normalize_time_grid=False,
        )
        names = [name for order in range(3) for name in theirs.metadata.field_names[order]]
        kept = [names.index(channel.name) for channel in files[0].channels]
        places = [
            (file, i, step)
            for file in files
            for i in range(file.trajectories)
            for step in range(file.steps - 3)
        ]
        if len(places) != len(theirs):
            return f"{split}: {len(places)} windows for {len(theirs)}"
        for index, (file, i, step) in enumerate(places):
            sample, where = theirs[index], f"trajectory {i} of {file.path.name}, step {step}"
            window = np.concatenate([sample["input_fields"], sample["output_fields"]])
            ours = read_states(file, i, slice(step, step + 4))
            if not np.array_equal(np.moveaxis(window, -1, 1)[:, kept], ours):
                return f"{split}: the states of {where}"
            features = [
                *sample.get("constant_scalars", ()),
                *sample["boundary_conditions"].flatten(),
            ]
            if not np.array_equal(np.array(features, "f4"), label(file, {})[i]):
                return f"{split}: the label of {where}"
    return ""


def study(folders: dict[str, list[str]]) -> dict:
    """Returns a study of datasets by the folders that each joins, as small as a study can be."""
    train = {
        "steps": 2,
        "batch_size": 2,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "validate_every": 2,
        "threads": 1,
    }
    evaluation = {"start": 0, "horizons": [[1, 3], [4, 8]]}
    return {
        "datasets": {
            name: {
                "source": {"kind": "path", "path": paths if len(paths) > 1 else paths[0]},
                "states": {"fields": list(twins.TWINS[DATASETS[name][0]].fields)},
                "augment": {"flip": ["x"], "roll": ["x", "y"], "copies": 2}
                if len(paths) > 1
                else {},
                "evaluation": evaluation,
            }
            for name, paths in folders.items()
        },
        "autoencoders": {
            "a": {
                "architecture": "dcae",
                "latent_channels": 4,
                "channels": [4, 8, 8],
                "blocks": [1, 1, 1],
                "train": train,
            }
        },
        "emulators": {
            "s": {
                "method": "solver",
                "autoencoders": ["a"],
                "samplers": ["direct"],
                "network": {"channels": 8, "blocks": 1, "heads": 1, "embedding": 8},
                "train": train,
            }
        },
        "samplers": {"direct": {"algorithm": "direct"}},
    }


def make(names: Sequence[str], folder: Path) -> dict[str, list[str]]:
    """Makes the twins of datasets under `folder`; returns the folders that each joins."""
    for name in dict.fromkeys(twin for each in names for twin in DATASETS[each]):
        twins.make(name, folder / "twins")
    return {each: [str(folder / "twins" / twin) for twin in DATASETS[each]] for each in names}


def planned(name: str, folders: list[str], folder: Path) -> str:
    """Returns what a plan of a dataset alone says: `yes`, or the line that refuses it."""
    try:
        checked = make_study(folder / "alone.yaml", study({name: folders}))
        files = {name: data_files(Config(study="alone.yaml"), checked.datasets[name])}
        check_on_disk(checked, files, folder / "headers.json")
    except LilasError as error:
        return str(error)
    return "yes"


def run(folders: dict[str, list[str]], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs datasets through the pipeline in one study, results under `folder`.

    What fails does not keep the others from going on.
    """
    (folder / "twins.yaml").write_text(yaml.safe_dump(study(folders)), encoding="utf-8")
    return subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "2", "--keep-going"),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)),
            *("--configfile", str(ROOT / "config.yaml"), "--config"),
            *("study=twins.yaml", f"results={folder / 'results'}", f"data={folder / 'data'}"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def read(folders: list[str]) -> str:
    """Returns `equal` where our reader agrees with The Well's, else where it does not."""
    try:
        return next(filter(None, (differences(Path(one)) for one in folders)), "equal")
    except LilasError as error:
        return str(error)


def done(name: str, folder: Path) -> dict[str, str]:
    """Returns which stages of a dataset a run has done."""
    results = folder / "results" / "twins" / name
    return {stage: "yes" if (results / file).is_file() else "no" for stage, file in STAGES.items()}


def remark(name: str) -> str:
    """Returns what LILAS does not do yet for a dataset, in a sentence."""
    twin = twins.TWINS[DATASETS[name][0]]
    said = []
    if twin.constant:
        fields = ", ".join(twin.constant)
        said.append(f"Left out as constant, so that models do not see the medium: {fields}.")
    if twin.grid != "cartesian":
        said.append("Every point of the grid counts alike: metrics have no area weights.")
    if name == "post_neutron_star_merger":
        said.append(
            "Its 66 points along phi are divided by 2, 3 and 11 alone: there is no padding."
        )
    return " ".join(said)


def main() -> None:
    """Runs every dataset and writes the table of docs/data.md."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folders = make(list(DATASETS), folder)
        rows = {
            name: {"reader": read(its), "plan": planned(name, its, folder)}
            for name, its in folders.items()
        }
        kept = {name: its for name, its in folders.items() if rows[name]["plan"] == "yes"}
        finished = run(kept, folder)
        print(finished.stdout, finished.stderr, sep="\n")
        rows = {name: row | done(name, folder) for name, row in rows.items()}
    columns = ("reader", "plan", *STAGES)
    lines = [
        f"| dataset | {' | '.join(columns)} | what is left out |",
        "|---" * (len(columns) + 2) + "|",
        *(
            f"| {name} | {' | '.join(row[column] for column in columns)} | {remark(name)} |"
            for name, row in sorted(rows.items())
        ),
    ]
    page = ROOT / "docs" / "data.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join([BEGIN, *lines, END])
    page.write_text(before + table + after, encoding="utf-8")
    print("\n".join(lines))
    sys.exit(finished.returncode)


if __name__ == "__main__":
    main()
