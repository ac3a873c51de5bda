"""Stage `tune`: the temperature of a sampler's noise, chosen on the validation split."""

from lilas.devices import select_device
from lilas.evaluation.tuning import open_validation, score_temperatures, validation_span
from lilas.models.build import load_emulator
from lilas.records.provenance import provenance
from lilas.records.temperatures import write_temperature
from lilas.records.weights import read_record
from lilas.stages import add_device, add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        autoencoder="weights of the autoencoder",
        emulator="weights of the emulator",
        latents="manifest of the validation latents",
        output="temperature.json",
    )
    add_device(parser)
    args = parser.parse_args()
    config, device, sampler = args.config, select_device(args.device), args.config.sampler
    source = open_validation(args.latents, args.autoencoder)
    rows, steps = validation_span(args.latents, source, config.evaluation, config.stride, sampler)
    emulator, settings = load_emulator(args.emulator, source.shape, source.labels.shape[1], device)
    record = provenance(
        "tune",
        config.record(),
        {"autoencoder": args.autoencoder, "emulator": args.emulator, "latents": args.latents},
        [*config.implementations(), *read_record(args.emulator)["implementations"]],
    )
    span = {"rows": rows, "steps": steps, "settings": settings, "stride": config.stride}
    found = score_temperatures(emulator, source, **span, sampler=sampler, device=device)
    facts = {"trajectories": len(rows), "members": sampler.members}
    write_temperature(args.output, config.names, *found, facts, record)


if __name__ == "__main__":
    execute(main)
