"""The check of data files that exist: milliseconds a file, the first time and again.

Run `python benchmarks/checks.py`. It makes 2000 small files in a folder of its own (`--files` makes
another number), reads their headers as a plan does, and reads them again from what was kept, a new
process each time. CPU time is the process's own, elapsed time the clock's.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lilas.data.registry import data_in
from lilas.data.well_writer import write_well
from lilas.systems.base import SPLITS

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
CHECK = """
import sys, time
began, cpu = time.perf_counter(), time.process_time()
from lilas.data.check import check_files
from lilas.data.registry import data_in
from lilas.systems.base import SPLITS
from pathlib import Path
files = {split: list(map(str, data_in(Path(sys.argv[1], split)))) for split in SPLITS}
checked = check_files(files, ["density", "velocity"], sys.argv[2])
assert not checked.faults and not checked.doubts
print(time.perf_counter() - began, time.process_time() - cpu)
"""


def make(root: Path, files: int) -> int:
    """Makes files of four trajectories each; returns how many there are."""
    rng = np.random.default_rng(0)
    shape = (4, 10, 8, 8)
    for split, share in SHARES.items():
        for i in range(round(share * files)):
            write_well(
                root / split / f"{i:05}.hdf5",
                dataset="benchmark",
                fields={
                    "density": rng.normal(size=shape),
                    "pressure": rng.normal(size=shape),
                    "velocity": rng.normal(size=(*shape, 2)),
                },
                time=np.arange(10),
                coordinates={"x": np.arange(8), "y": np.arange(8)},
                parameters={"Reynolds": rng.random(), "Prandtl": rng.random(4)},
                boundaries={"x": "periodic", "y": "wall"},
            )
    return sum(len(data_in(root / split)) for split in SPLITS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        count = make(Path(folder), args.files)
        print(f"{count} files made in {time.perf_counter() - began:.0f} s")
        for what in ("first", "again", "again", "again"):
            kept = Path(folder, "headers.json")
            command = [sys.executable, "-c", CHECK, folder, str(kept)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            elapsed, cpu = map(float, done.stdout.split())
            print(
                f"{what}: {elapsed:.2f} s elapsed, {cpu:.2f} s of CPU, "
                f"{1e3 * cpu / count:.2f} ms of CPU a file"
            )
        print(f"{kept.stat().st_size / count:.0f} bytes kept of a file")


if __name__ == "__main__":
    main()
