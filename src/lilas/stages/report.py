"""Stage `report`: the answer, viewer, tables and figures as self-contained HTML pages."""

from pathlib import Path

from lilas.files import atomic
from lilas.records.carried import files_of, with_record
from lilas.records.provenance import provenance
from lilas.report.report import render
from lilas.stages import add_paths, execute, make_parser
from lilas.study import paths


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        tables="folder of the tables",
        claims="claims.json",
        rows="claims.csv",
        figures="folder of the figures",
        study="the study's file",
        root="results folder of the study",
        data="folder of the data",
        output="report.html; the claims' page, and of several datasets each one's, go beside it",
    )
    text = "files: manifests of the frames; none where nothing was rolled out"
    parser.add_argument("--frames", type=Path, nargs="*", required=True, help=text)
    args = parser.parse_args()
    results = args.tables, args.claims, args.rows, args.figures, args.frames
    inputs = {name: getattr(args, name) for name in ("study", "claims", "rows", "frames")}
    for name in ("tables", "figures"):
        inputs[name] = files_of(getattr(args, name))
    record = provenance("report", args.config.record(), inputs)
    for name, page in render(*results, args.study, args.root, args.data):
        if name == paths.REPORT:
            page = with_record(page, record)
        with atomic(args.output.with_name(name)) as part:
            part.write_text(page, encoding="utf-8")
    print(f"Report: {args.output.resolve()}")


if __name__ == "__main__":
    execute(main)
