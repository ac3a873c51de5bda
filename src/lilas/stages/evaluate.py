"""Stage `evaluate`: scores rollouts, with frames of some, a reconstruction, or the baselines."""

from pathlib import Path

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.devices import select_device
from lilas.evaluation.frames import write_frames
from lilas.evaluation.score import score_baselines, score_reconstruction, score_rollouts
from lilas.models.build import load_autoencoder
from lilas.models.latents import open_rollouts
from lilas.models.observations import Observations
from lilas.models.rollout import evaluated_trajectories, part_of
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
    args = parser.parse_args()
    config, device = args.config, select_device(args.device)
    preprocessing = Preprocessing.read(args.statistics)
    pixels = Pixels(open_files(args.test, config.states.fields), preprocessing, {})
    trajectories = evaluated_trajectories(config.evaluation.model_dump(), pixels.rows)
    own = [trajectories[i] for i in part_of(len(trajectories), args.part)]
    inputs = {"statistics": args.statistics, "test": args.test}
    names = {"autoencoder": "", "compression": 1.0, "sampler": ""} | config.names
    how, implementations = (config.evaluation.physics, device), []
    if args.what != "baselines":
        inputs["autoencoder"] = args.autoencoder
        implementations = read_record(args.autoencoder)["implementations"]
        autoencoder = load_autoencoder(args.autoencoder, pixels.files[0], device)
        names["compression"] = autoencoder.compression
    if args.what == "baselines":
        scores = score_baselines(pixels, own, config.steps, *how)
    elif args.what == "reconstruction":
        scores = score_reconstruction(pixels, own, config.steps[""], autoencoder, *how)
    else:
        inputs |= {"rollouts": args.rollouts} | config.masks()
        dataset = open_rollouts(args.rollouts, args.autoencoder)
        observations = Observations(config.sampler, pixels) if config.sampler else None
        scores = score_rollouts(dataset, pixels, autoencoder, *how, observations, args.part)
    record = provenance("evaluate", config.without("figures").record(), inputs, implementations)
    if not keep_metrics(args.output, record, args.whole):
        if args.parts:
            join_metrics(args.output, args.parts, record)
        else:
            write_metrics(args.output, scores, names, record, args.part)
    if args.frames:
        record["config"] = config.without("stride", "evaluation").record()
        shown = {"trajectories": config.figures.trajectories, "observations": observations}
        made = {"pixels": pixels, "autoencoder": autoencoder, "device": device}
        write_frames(args.frames, dataset, names=config.names, record=record, **shown, **made)


if __name__ == "__main__":
    execute(main)
