"""Stage `claims`: what this run says of the paper's six claims, and the rows that it rests on."""

from pathlib import Path

from lilas.files import digest
from lilas.records.metrics import read_metrics
from lilas.records.provenance import provenance
from lilas.records.timings import read_timings
from lilas.report.claims import check, write_claims
from lilas.report.costs import costs, validation_losses
from lilas.report.paired import Results
from lilas.report.trajectories import by_trajectory
from lilas.stages import add_paths, add_timings, execute, make_parser
from lilas.study.read import read_study


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        metrics="files of metrics",
        study="the study's YAML file",
        root="results folder of the study, for benchmarks, weights and histories",
        data="folder of the data, for the simulations' benchmarks",
        output="claims.json",
        rows="claims.csv",
    )
    add_timings(parser)
    text = "histories of the trainings, whose losses are read from the folder of results"
    parser.add_argument("--histories", type=Path, nargs="*", default=[], help=text)
    args = parser.parse_args()
    study = read_study(args.study)
    results = Results(
        summary=by_trajectory(map(read_metrics, args.metrics), args.config.horizons),
        costs=costs(study, args.root, args.data),
        losses=validation_losses(study, args.root),
        study=study,
        timings=read_timings(args.timings),
    )
    verdicts = check(results)
    inputs = {name: getattr(args, name) for name in ("metrics", "histories", "timings")}
    record = provenance("claims", args.config.record(), inputs)
    record["study"] = digest(study.runs())
    write_claims(args.output, args.rows, verdicts, record)
    for verdict in verdicts:
        print(f"{verdict.number}. {verdict.verdict}: {verdict.claim}")


if __name__ == "__main__":
    execute(main)
