"""Stage `figures`: figures of metrics, rollouts and training, and videos."""

from pathlib import Path

from lilas.files import write_json
from lilas.records.provenance import provenance
from lilas.report.figure_files import write_figures
from lilas.stages import add_paths, execute, make_parser
from lilas.study import paths


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        metrics="files of metrics",
        table="table by horizon, CSV",
        output="folder of the figures",
    )
    parser.add_argument(
        "--histories", type=Path, nargs="*", default=[], help="histories of trainings"
    )
    parser.add_argument("--frames", type=Path, nargs="*", default=[], help="manifests of frames")
    text = "manifests of frames of guided rollouts"
    parser.add_argument("--guided", type=Path, nargs="*", default=[], help=text)
    text = "files of latent analyses"
    parser.add_argument("--analyses", type=Path, nargs="*", default=[], help=text)
    args = parser.parse_args()
    write_figures(
        args.output,
        args.metrics,
        args.table,
        args.histories,
        args.frames,
        args.config.figures,
        guided=args.guided,
        twins=args.config.twins,
        analyses=args.analyses,
    )
    names = "metrics", "table", "histories", "frames", "guided", "analyses"
    inputs = {name: getattr(args, name) for name in names}
    record = provenance("figures", args.config.record(), inputs)
    write_json(args.output / paths.RECORD, {"provenance": record})


if __name__ == "__main__":
    execute(main)
