"""Stage `tables`: means by horizon with intervals, paired differences, and the paper's tables."""

from pathlib import Path

from lilas.files import write_json
from lilas.records.provenance import provenance
from lilas.report.table_files import write_tables
from lilas.stages import add_paths, add_timings, execute, make_parser
from lilas.study import paths


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(parser, metrics="files of metrics", output="folder of the tables")
    text = "histories of the autoencoders whose trainings are compared"
    parser.add_argument("--histories", type=Path, nargs="*", default=[], help=text)
    add_timings(parser)
    text = "files of temperatures that were tuned"
    parser.add_argument("--temperatures", type=Path, nargs="*", default=[], help=text)
    text = "files of metrics of guided rollouts"
    parser.add_argument("--guided", type=Path, nargs="*", default=[], help=text)
    text = "histories of the emulators that are compared, and of what they start from"
    parser.add_argument("--trained", type=Path, nargs="*", default=[], help=text)
    text = "files of latent analyses"
    parser.add_argument("--analyses", type=Path, nargs="*", default=[], help=text)
    args = parser.parse_args()
    config = args.config
    first = write_tables(
        args.output,
        args.metrics,
        config.horizons,
        config.sources,
        config.published,
        ablation=config.ablation,
        histories=args.histories,
        timings=args.timings,
        temperatures=args.temperatures,
        guided=args.guided,
        twins=config.twins,
        analyses=args.analyses,
        lead_times=config.lead_times,
        units=config.units,
        compared=config.compared,
        trained=args.trained,
        sampling=config.sampling,
    )
    names = "metrics", "histories", "timings", "temperatures", "guided", "analyses", "trained"
    record = provenance("tables", config.record(), {name: getattr(args, name) for name in names})
    write_json(args.output / paths.RECORD, {"provenance": record})
    print(first)


if __name__ == "__main__":
    execute(main)
