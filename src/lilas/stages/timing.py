"""Stage `timing`: what a state costs, of every run of a dataset and of its simulator, in turns."""

from functools import partial

import torch

from lilas.data.well import open_files
from lilas.devices import select_device
from lilas.models.build import load_autoencoder, load_emulator
from lilas.models.latents import open_latents
from lilas.models.timing import coding, emulation, matmul, measure, simulation
from lilas.records.provenance import provenance
from lilas.records.timings import processor, write_timings
from lilas.stages import add_device, add_paths, execute, make_parser
from lilas.systems.base import System


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        autoencoders="files of weights of the autoencoders",
        latents="files: manifests of their test latents",
        emulators="files of weights of the emulators",
        test="files of the test split",
        output="timing.json",
    )
    add_device(parser)
    args = parser.parse_args()
    config, device = args.config, select_device(args.device)
    data = open_files(args.test, config.states.fields)[0]
    latents = {path.parents[1].name: path for path in args.latents}
    emulators = {(path.parents[1].name, path.parent.name): path for path in args.emulators}
    inputs, pieces = {}, []
    for weights in args.autoencoders:
        name = weights.parent.name
        model, source = (
            load_autoencoder(weights, data, device),
            open_latents(latents[name], weights),
        )
        names = {"autoencoder": name, "compression": model.compression}
        pieces += coding(model, (len(data.channels), *data.shape), device, names=names)
        inputs |= {name: weights, f"{name}/latents": latents[name]}
        sizes = source.shape, source.labels.shape[1]
        for (of, emulator), path in emulators.items():
            if of == name:
                samplers = config.runs[f"{name}/{emulator}"]
                load = partial(load_emulator, path, *sizes, device)
                own = names | {"emulator": emulator}
                pieces += emulation(load, *sizes, samplers, device, names=own)
                inputs[f"{name}/{emulator}"] = path
    if isinstance(config.source, System) and config.source.stepper:
        pieces.append(simulation(config.source, config.stride))
    rows = measure([*pieces, matmul(device)], device, turns=config.timing.turns)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    machine = {"device": name, "threads": torch.get_num_threads(), "turns": config.timing.turns}
    record = provenance("timing", config.record(), inputs, config.implementations())
    write_timings(args.output, config.names["dataset"], rows, machine, record)


if __name__ == "__main__":
    execute(main)
