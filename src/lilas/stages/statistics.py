"""Stage `statistics`: mean, std, min and max of each channel over the training split."""

from functools import partial

from lilas.data.statistics import compute_statistics
from lilas.data.well import open_files
from lilas.files import write_json
from lilas.records.provenance import provenance
from lilas.records.workers import in_order, of_each
from lilas.stages import add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(parser, train="files of the train split", output="statistics.json")
    parser.add_argument("--dask", help="address of a Dask scheduler whose workers compute")
    args = parser.parse_args()
    states = args.config.states
    files = open_files(args.train, states.fields)
    record = provenance("statistics", args.config.record(), {"train": args.train})
    elsewhere = None
    if args.dask:
        elsewhere = partial(in_order, args.dask, records=of_each(record, "train"))
    statistics = compute_statistics(files, states.model_dump()["transform"], elsewhere)
    write_json(args.output, statistics | {"provenance": record})


if __name__ == "__main__":
    execute(main)
