"""Stage `download`: one file of The Well, resumed where it stopped and verified when whole."""

import argparse
from pathlib import Path

from lilas.config import SPLITS
from lilas.data.download import download
from lilas.errors import LilasError
from lilas.layout import well_urls
from lilas.stages import run


def main() -> None:
    to = argparse.ArgumentParser(description=__doc__)
    to.add_argument("--dataset", required=True, help="name in The Well's registry")
    to.add_argument("--split", choices=SPLITS, required=True)
    to.add_argument("--output", type=Path, required=True, help="where it goes, by its own name")
    args = to.parse_args()
    urls = {Path(url).name: url for url in well_urls(args.dataset)[args.split]}
    if args.output.name not in urls:
        raise LilasError(
            f"{args.output}: The Well's {args.dataset} has no such file in {args.split}; "
            f"it has {', '.join(sorted(urls))}"
        )
    download(urls[args.output.name], args.output)


if __name__ == "__main__":
    run(main)
