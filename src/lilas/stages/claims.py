"""Stage `claims`: what this run says of the paper's six claims, as JSON."""

from lilas.claims import Results, check, write_claims
from lilas.config import read_study
from lilas.costs import costs, validation_losses
from lilas.scores import read_scores
from lilas.stages import add_paths, parser, run
from lilas.tables import by_trajectory


def main() -> None:
    to = parser(__doc__)
    add_paths(
        to,
        metrics="files of metrics",
        study="the study's YAML file",
        root="results folder of the study, for benchmarks, weights and histories",
        data="folder of the data, for the simulations' benchmarks",
        output="claims.json",
    )
    args = to.parse_args()
    study = read_study(args.study)
    results = Results(
        summary=by_trajectory(map(read_scores, args.metrics), args.config.horizons),
        costs=costs(study, args.root, args.data),
        losses=validation_losses(study, args.root),
        study=study,
    )
    verdicts = check(results)
    write_claims(args.output, verdicts)
    for verdict in verdicts:
        print(f"{verdict.number}. {verdict.verdict}: {verdict.claim}")


if __name__ == "__main__":
    run(main)
