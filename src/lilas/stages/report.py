"""Stage `report`: one self-contained HTML file with the tables and figures of a study."""

from lilas.files import atomic
from lilas.report import render
from lilas.stages import add_paths, parser, run


def main() -> None:
    to = parser(__doc__)
    add_paths(
        to,
        tables="tables/horizons.md",
        figures="folder of the figures",
        study="the study's file",
        root="results folder of the study",
        data="folder of the data",
        output="report.html",
    )
    args = to.parse_args()
    text = render(args.tables, args.figures, args.study, args.root, args.data)
    with atomic(args.output) as part:
        part.write_text(text)
    print(f"Report: {args.output.resolve()}")


if __name__ == "__main__":
    run(main)
