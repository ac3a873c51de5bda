"""Stage `counterfactual`: rollouts of one state under several values of a parameter."""

from pathlib import Path

from lilas.devices import select_device
from lilas.evaluation.tokens import feature_of, in_own_unit
from lilas.models.build import load_emulator
from lilas.models.counterfactual import compare
from lilas.models.latents import open_latents
from lilas.models.rollout import evaluated_trajectories
from lilas.records.analyses import write_analysis
from lilas.records.provenance import provenance
from lilas.records.temperatures import tuned
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        autoencoder="weights of the autoencoder",
        emulator="weights of the emulator",
        latents="manifest of the test latents",
        output="counterfactual.json",
    )
    parser.add_argument("--temperature", type=Path, nargs="*", default=[], help="where it is tuned")
    add_device(parser)
    args = parser.parse_args()
    config, device = args.config, select_device(args.device)
    sampler = tuned(config.sampler, args.temperature, args.emulator)
    asked = config.latent_analysis.counterfactual
    source = open_latents(args.latents, args.autoencoder)
    column = feature_of(source.features, asked.parameter)
    transform = (config.label or {}).get(asked.parameter, "none")
    emulator, settings = load_emulator(args.emulator, source.shape, source.labels.shape[1], device)
    inputs = {"autoencoder": args.autoencoder, "emulator": args.emulator, "latents": args.latents}
    inputs |= {"temperature": args.temperature[0]} if args.temperature else {}
    implementations = [*config.implementations(), *read_record(args.emulator)["implementations"]]
    record = provenance("counterfactual", config.record(), inputs, implementations)
    rows = evaluated_trajectories(config.evaluation.model_dump(), source.trajectories)
    tables = compare(
        source,
        emulator,
        rows=rows[: asked.trajectories],
        column=column,
        values=asked.values,
        transform=transform,
        stride=config.stride,
        steps=config.span,
        settings=settings,
        sampler=sampler,
        device=device,
    )
    known = in_own_unit(source.labels[:, column], transform)
    facts = {"compression": source.dataset.attrs["compression"], "members": sampler.members}
    facts |= {"parameter": asked.parameter, "scale": "log10" if transform == "log" else "none"}
    facts |= {"known": [float(known.min()), float(known.max())]}
    write_analysis(args.output, config.names | facts, tables, record)


if __name__ == "__main__":
    execute(main)
