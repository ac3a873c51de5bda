"""In how many parts, of a job each, the rollouts of a study are made, and scored."""

import math
import re
from pathlib import Path

from lilas.records.cuts import read_cuts


def parts(trajectories: float, most: int, members: int = 1, batch: int = 1) -> int:
    """Returns in how many parts ensembles are made, or scored; parts are whole batches.

    Args:
        trajectories: How many there are, as far as that is known before a run.
        most: Rollouts of a part, at most, each member counted; more only of a single batch.
        members: Of an ensemble.
        batch: Rollouts that are generated at once.
    """
    batches = math.ceil(trajectories / max(1, batch // members))
    return max(1, min(math.ceil(trajectories * members / most), batches))


class Cuts:
    """The parts of a study's results. What is finished keeps its own: it would be made again, by
    Snakemake's rules, if it had other inputs than when it was made.

    Args:
        root: The study's results folder.
        most: Rollouts of a part, at most, of what is not finished.
        planning: Whether this process plans the run; a job of it goes by what the plan recorded.

    Attributes:
        known: As `lilas.records.cuts.read_cuts`, and of what was asked for since.
    """

    def __init__(self, root: str | Path, most: int, *, planning: bool) -> None:
        self.root, self.most, self.planning = Path(root), most, planning
        self.known = read_cuts(root)

    def parts(self, file: str, trajectories: float, **sizes: int) -> int:
        """Returns in how many parts a result is made.

        Args:
            file: Its path below the results folder.
            trajectories: As of `parts`, as are `sizes`: `members` and `batch`.
        """
        begun = self.known.get(file)
        if self.planning:
            finished = Path(self.root, file).exists()
            if finished and begun is None:
                return 1
            most = begun["most"] if finished else self.most
            begun = {"parts": parts(trajectories, most, **sizes), "most": most}
            self.known[file] = begun
        return begun["parts"] if begun else 1

    def forget(self) -> None:
        """Deletes what killed jobs left of parts that are no longer made, since the cut changed."""
        for file, begun in self.known.items():
            path, count = Path(self.root, file), begun["parts"]
            for left in path.parent.glob(f".{path.stem}.*"):
                found = re.fullmatch(rf"\.{path.stem}\.(?:\d+of(\d+)|created)", left.name)
                if found and (count == 1 or found[1] not in (None, str(count))):
                    left.unlink()
