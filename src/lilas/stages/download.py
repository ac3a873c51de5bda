"""Stage `download`: one file of The Well, resumed where it stopped and verified when whole."""

import argparse
from pathlib import Path

from lilas.data.download import download
from lilas.stages import run


def main() -> None:
    to = argparse.ArgumentParser(description=__doc__)
    to.add_argument("--url", required=True, help="address of the file")
    to.add_argument("--output", type=Path, required=True, help="where it goes")
    args = to.parse_args()
    download(args.url, args.output)


if __name__ == "__main__":
    run(main)
