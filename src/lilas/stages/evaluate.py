"""Stage `evaluate`: scores rollouts, an autoencoder's reconstruction, or the baselines.

Of rollouts it also decodes frames, a few states to look at. What is there and current is kept.
"""

from pathlib import Path

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.devices import select_device
from lilas.evaluation.frames import write_frames
from lilas.evaluation.score import score_baselines, score_reconstruction, score_rollouts
from lilas.models.build import load_autoencoder
from lilas.models.latents import open_rollouts
from lilas.models.rollout import evaluated_trajectories, rollout_steps
from lilas.records.metrics import keep_metrics, write_metrics
from lilas.records.provenance import provenance
from lilas.stages import add_device, add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["rollouts", "reconstruction", "baselines"])
    add_paths(parser, statistics="statistics.json", test="files of the test split", output="file")
    for name in ("autoencoder", "rollouts"):
        parser.add_argument(f"--{name}", help=f"{name}, where they are evaluated")
    parser.add_argument("--store", type=Path, help="Zarr store of the frames of rollouts")
    parser.add_argument("--manifest", type=Path, help="its manifest")
    add_device(parser)
    args = parser.parse_args()
    config, device = args.config, select_device(args.device)
    preprocessing = Preprocessing.read(args.statistics)
    pixels = Pixels(open_files(args.test, config.states.fields), preprocessing, {})
    trajectories = evaluated_trajectories(config.evaluation.model_dump(), pixels.rows)
    steps = rollout_steps(config.evaluation.start, 1, config.stride, config.evaluation.last)
    inputs = {"statistics": args.statistics, "test": args.test}
    names = {"autoencoder": "", "compression": 1.0, "sampler": ""} | config.names
    physics = config.evaluation.physics
    if args.what != "baselines":
        inputs["autoencoder"] = args.autoencoder
        autoencoder = load_autoencoder(args.autoencoder, pixels.files[0], device)
        names["compression"] = autoencoder.compression
    if args.what == "baselines":
        scores = score_baselines(pixels, trajectories, steps, physics, device)
    elif args.what == "reconstruction":
        scores = score_reconstruction(pixels, trajectories, steps, autoencoder, physics, device)
    else:
        inputs["rollouts"] = args.rollouts
        dataset = open_rollouts(args.rollouts, args.autoencoder)
        scores = score_rollouts(dataset, pixels, autoencoder, physics, device)
    record = provenance("evaluate", config.without("figures").record(), inputs)
    if not keep_metrics(args.output, record):
        write_metrics(args.output, scores, names, record)
    if args.manifest:
        record["config"] = config.without("stride", "evaluation").record()
        write_frames(
            *(args.store, args.manifest, dataset),
            names=config.names,
            record=record,
            pixels=pixels,
            autoencoder=autoencoder,
            trajectories=config.figures.trajectories,
            device=device,
        )


if __name__ == "__main__":
    execute(main)
