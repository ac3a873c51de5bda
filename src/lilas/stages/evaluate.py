"""Stage `evaluate`: scores rollouts, with frames of some, a reconstruction, or the baselines."""

from pathlib import Path

from lilas.evaluation.frames import write_frames
from lilas.evaluation.scoring import Scored, Scoring
from lilas.records.metrics import join_metrics, keep_metrics, write_metrics
from lilas.records.provenance import provenance
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["rollouts", "reconstruction", "baselines"])
    add_paths(parser, statistics="statistics.json", test="files of the test split", output="file")
    parser.add_argument("--autoencoder", type=Path, help="its weights, but for baselines")
    parser.add_argument("--rollouts", type=Path, help="their manifest")
    parser.add_argument("--frames", type=Path, help="manifest of frames of rollouts")
    parser.add_argument("--parts", type=Path, nargs="*", help="files of all parts, to be joined")
    parser.add_argument("--whole", type=Path, help="what a part is of: done if that is current")
    parser.add_argument("--part", type=int, nargs=2, default=(1, 1), help="one part of so many")
    add_device(parser)
    parser.add_argument("--dask", help="address of a Dask scheduler whose workers compute")
    args = parser.parse_args()
    config = args.config
    given = config.units.get(config.names.get("dataset"), {})
    files = (args.statistics, tuple(args.test), args.autoencoder, args.rollouts)
    plain = config.model_dump_json(exclude_defaults=True)
    scored = Scored(Scoring(args.what, plain, *files, args.device))
    inputs = {"statistics": args.statistics, "test": args.test}
    names = {"autoencoder": "", "compression": 1.0, "sampler": ""} | config.names
    implementations = []
    if args.what != "baselines":
        inputs["autoencoder"] = args.autoencoder
        implementations = read_record(args.autoencoder)["implementations"]
        names["compression"] = scored.autoencoder.compression
    if args.what == "rollouts":
        inputs |= {"rollouts": args.rollouts} | config.masks()
    record = provenance(
        "evaluate", config.without("figures", "units").record(), inputs, implementations
    )
    if not keep_metrics(args.output, record, args.whole):
        if args.parts:
            join_metrics(args.output, args.parts, record)
        else:
            scores = scored.scores(args.part)
            if args.dask:
                scores = scored.scores_elsewhere(args.part, record, args.dask)
            file = scored.pixels.files[0]
            units = {one.name: (one.field, file.fields[one.field].units) for one in file.channels}
            write_metrics(args.output, scores, names, record, args.part, units)
    if args.frames:
        record["config"] = config.without("stride", "evaluation").record()
        shown = {"trajectories": config.figures.trajectories, "observations": scored.observations}
        shown["units"] = given
        made = {"pixels": scored.pixels, "autoencoder": scored.autoencoder, "device": scored.device}
        write_frames(
            args.frames, scored.dataset, names=config.names, record=record, **shown, **made
        )


if __name__ == "__main__":
    execute(main)
