"""The results of a study: tables and metrics as pandas, latents and rollouts as xarray."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from lilas.data.well import open_well
from lilas.errors import LilasError, broken
from lilas.files import read_json
from lilas.interface.names import check_names
from lilas.interface.states import read_trajectory
from lilas.records import stores
from lilas.records.metrics import read_metrics
from lilas.records.provenance import check_record, located
from lilas.study import paths
from lilas.systems.base import SPLITS

# Files in the folder of a run or of rollouts.
_LATENTS = paths.MANIFEST.format(dataset="*", autoencoder="*", split="train")
_ROLLOUTS, _METRICS = Path(paths.ROLLOUTS).name, Path(paths.METRICS).name


@dataclass(frozen=True)
class Study:
    """The results of a study.

    Attributes:
        path: Their folder, such as results/demo.
    """

    path: Path

    @property
    def tables(self) -> list[str]:
        """Names of the tables that there are."""
        return sorted(path.stem for path in (self.path / paths.TABLES).glob("*.csv"))

    @property
    def runs(self) -> list[str]:
        """Paths of the trained models, for `lilas.load`: PATH / run."""
        return self._below(paths.WEIGHTS)

    @property
    def rollouts(self) -> list[str]:
        """Paths of the rollouts: DATASET/AUTOENCODER/EMULATOR/SAMPLER."""
        return self._below(_ROLLOUTS)

    def table(self, name: str) -> pd.DataFrame:
        """Returns a table, such as `horizons`; empty where a method has no such word.

        Raises:
            LilasError: there is none of this name.
        """
        check_names("table", [name], self.tables)
        path = self.path / paths.TABLES / f"{name}.csv"
        # Of one trajectory there is no interval.
        return pd.read_csv(path, keep_default_na=False, na_values={"low": "", "high": ""})

    def metrics(self, rollouts: str) -> pd.DataFrame:
        """Returns the scores of rollouts, a row for each trajectory, lead time, metric and field.

        Raises:
            LilasError: there are no such rollouts, or they are damaged.
        """
        check_names("rollouts", [rollouts], self.rollouts)
        return read_metrics(self.path / rollouts / Path(paths.METRICS).name)

    def latents(self, autoencoder: str, split: str = "test") -> xr.Dataset:
        """Returns the latents of a split, read as they are asked for.

        Args:
            autoencoder: Path of its run: DATASET/AUTOENCODER.
            split: train, valid or test.

        Returns:
            `latent` (augmentation, trajectory, time, channel, *space) with labels and parameters.

        Raises:
            LilasError: there are none, or they are of pixel space, which has the data files alone.
        """
        return _opened(self._manifest(autoencoder, split))

    def truth(self, autoencoder: str, row: int = 0, split: str = "test") -> xr.Dataset:
        """Returns a trajectory of the data behind latents or rollouts, in physical units.

        Its coordinate `trajectory` is the row: a rollout from it draws what the pipeline's draws.

        Args:
            autoencoder: Path of its run: DATASET/AUTOENCODER.
            row: Its place in the split, as in `latents` and in rollouts.
            split: train, valid or test.

        Raises:
            LilasError: there are no such latents, or the data are not here.
        """
        manifest = self._manifest(autoencoder, split)
        record = check_record(manifest, read_json(manifest, ("provenance",))["provenance"])
        first = 0
        for entry in record["inputs"]["files"]:
            path = located(entry["path"], manifest)
            if path is None:
                action = "Copy the data along with the results."
                raise broken(manifest, f"the data {entry['path']}", "nothing there", action)
            count = open_well(path).trajectories
            if 0 <= row - first < count:
                return read_trajectory(path, row - first).assign_coords(trajectory=row)
            first += count
        raise LilasError(f"truth: row {row}; the {split} split has the rows 0 to {first - 1}")

    def rollout(self, rollouts: str) -> xr.Dataset:
        """Returns rollouts in their latent space, read as they are asked for.

        `lilas.load(PATH / EMULATOR).decode(...)` makes states of them.

        Returns:
            `latent` (trajectory, member, time, channel, *space).

        Raises:
            LilasError: there are no such rollouts, or they are damaged.
        """
        check_names("rollouts", [rollouts], self.rollouts)
        return _opened(self.path / rollouts / _ROLLOUTS)

    def _manifest(self, autoencoder: str, split: str) -> Path:
        found = [path.relative_to(self.path) for path in self.path.glob(_LATENTS)]
        check_names("autoencoder", [autoencoder], sorted(str(path.parents[1]) for path in found))
        check_names("split", [split], SPLITS)
        return self.path / autoencoder / found[0].parent.name / f"{split}.json"

    def _below(self, name: str) -> list[str]:
        return sorted(str(path.parent.relative_to(self.path)) for path in self.path.rglob(name))


def open_study(path: str | Path) -> Study:
    """Returns the results of a study.

    Args:
        path: Their folder, such as results/demo.

    Raises:
        LilasError: it holds no results.
    """
    study = Study(Path(path))
    if not study.runs and not study.tables:
        action = "Name its folder of results, such as results/demo, or run snakemake."
        raise broken(path, "the results of a study", "none", action)
    return study


def _opened(manifest: Path) -> xr.Dataset:
    if read_json(manifest, ("kind",))["kind"] != "zarr":
        action = "Read its states: lilas.read_trajectory(FILE)."
        raise broken(manifest, "latents", "pixel space, whose latents are the data files", action)
    return stores.open_store(manifest, "latent", "file", "index_in_file")
