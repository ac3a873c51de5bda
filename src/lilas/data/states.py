"""States of a split as the models see them: preprocessed pixels with their labels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from lilas.data.preprocess import Preprocessing
from lilas.data.well import WellFile, label, read_states


class Pixels:
    """The trajectories of a split in pixel space, preprocessed; a `Source` of windows.

    Args:
        files: The split's files.
        preprocessing: Transform and standardisation of the channels.
        transforms: Transforms of the label's parameters.
    """

    def __init__(
        self, files: list[WellFile], preprocessing: Preprocessing, transforms: Mapping[str, str]
    ) -> None:
        self.files, self.preprocessing = files, preprocessing
        self.places = [(file, i) for file in files for i in range(file.trajectories)]
        self.rows, self.steps = len(self.places), files[0].steps
        self.shape = (len(files[0].channels), *files[0].shape)
        self.labels = np.concatenate([label(file, transforms) for file in files])

    def read(self, row: int, steps: slice = slice(None)) -> np.ndarray:
        """Returns a trajectory, float32 (time, channel, *space)."""
        states = self.truth(row, steps)
        self.preprocessing.forward_(torch.from_numpy(states), channel_axis=1)
        return states

    def truth(self, row: int, steps: slice = slice(None)) -> np.ndarray:
        """Returns a trajectory in physical units, float32 (time, channel, *space)."""
        return read_states(*self.places[row], steps)

    def file(self, row: int) -> Path:
        """Returns the file that holds a trajectory."""
        return self.places[row][0].path

    def origin(self, row: int) -> tuple[str, int]:
        """Returns where a trajectory lies: its file's name and its index in the file."""
        return self.file(row).name, self.places[row][1]
