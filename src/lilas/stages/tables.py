"""Stage `tables`: the means of each metric by horizon, as CSV and Markdown."""

from lilas.evaluation import read_metrics
from lilas.files import atomic
from lilas.metrics import METRICS
from lilas.stages import add_paths, parser, run
from lilas.tables import by_horizon, readable

# The paper's Table 6, and what its ensembles are judged by, lead.
FIRST = ("vrmse", "spread_skill")


def main() -> None:
    to = parser(__doc__)
    add_paths(to, metrics="files of metrics", csv="tidy table", markdown="the same, to be read")
    args = to.parse_args()
    table = by_horizon(read_metrics(args.metrics), args.config.horizons)
    with atomic(args.csv) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    sections = [
        readable(table, name, f"{name} (better: {metric.orientation})")
        for name, metric in sorted(METRICS.items(), key=lambda item: item[0] not in FIRST)
        if name in set(table["metric"])
    ]
    text = "\n".join(["Mean over trajectories, fields and the lead times of a horizon.", *sections])
    with atomic(args.markdown) as part:
        part.write_text(text)
    print(sections[0])


if __name__ == "__main__":
    run(main)
