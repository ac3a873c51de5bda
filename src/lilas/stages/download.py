"""Stage `download`: a file of The Well or a released model, resumed and verified when whole."""

import argparse
import json
from pathlib import Path

from lilas.data.arrival import check_arrived
from lilas.data.download import download
from lilas.data.registry import well_urls
from lilas.errors import LilasError
from lilas.official.released import find_released
from lilas.stages import execute
from lilas.study.tasks import Expected
from lilas.systems.base import SPLITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", help="name in The Well's registry")
    what.add_argument("--run", help="name or id of a released model's run")
    parser.add_argument("--split", choices=SPLITS, help="of the dataset")
    text = "what studies expect of the files of each dataset, as JSON"
    parser.add_argument("--expected", type=json.loads, default={}, metavar="JSON", help=text)
    parser.add_argument("--output", type=Path, required=True, help="where it goes, by its own name")
    args = parser.parse_args()
    if (args.dataset is None) != (args.split is None):
        parser.error("--dataset and --split go together")
    if args.run:
        found, source = [find_released(args.run).url], f"the released model {args.run}"
    else:
        found = well_urls(args.dataset)[args.split]
        source = f"The Well's {args.dataset} in {args.split}"
    urls = {Path(url).name: url for url in found}
    if args.output.name not in urls:
        raise LilasError(
            f"{args.output}: {source} has no such file; it has {', '.join(sorted(urls))}"
        )
    expected = [Expected(**one) for one in args.expected.get(args.dataset, [])]

    def check(path: Path) -> None:
        for one in expected:
            check_arrived(path, one)

    download(urls[args.output.name], args.output, check=check)


if __name__ == "__main__":
    execute(main)
