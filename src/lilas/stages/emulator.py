"""Stage `emulator`: trains an emulator, of any method, on cached latents."""

import torch

from lilas import processes
from lilas.devices import compile_modules
from lilas.draws import Draws
from lilas.models.build import make_emulator_for
from lilas.models.context import training_loss
from lilas.models.latents import open_latents
from lilas.official.start import start_from, start_inputs
from lilas.records.provenance import provenance
from lilas.seeds import derive
from lilas.stages import add_training, execute, make_parser
from lilas.training.job import make_windows, train, write_training


def main() -> None:
    parser = make_parser(__doc__)
    add_training(
        parser,
        autoencoder="weights of the autoencoder",
        train="manifest of the train latents",
        valid="manifest of the valid latents",
    )
    args = parser.parse_args()
    config, device = args.config, processes.join(args.device)
    entry, settings = config.emulator, config.emulator.train.model_dump()
    processes.use_threads(settings["threads"])
    sources = [open_latents(path, args.autoencoder) for path in (args.train, args.valid)]
    inputs = {"autoencoder": args.autoencoder, "train": args.train, "valid": args.valid}
    inputs |= start_inputs(args.start)
    record = provenance("emulator", config.record(), inputs, config.implementations())
    windows = make_windows(
        sources,
        sources[0].augmentation(config.augment.model_dump()),
        length=entry.states,
        stride=config.stride,
        settings=settings,
        seed=config.seed,
        device=device,
    )
    torch.manual_seed(derive(config.seed))
    emulator = make_emulator_for(entry, sources[0].shape, sources[0].labels.shape[1]).to(device)
    start_from(emulator, "emulator", args.start, entry.train.start)
    if settings["compile"]:
        compile_modules(device, emulator.backbone)

    def loss(states: torch.Tensor, label: torch.Tensor, draws: Draws) -> torch.Tensor:
        return training_loss(emulator, entry, states, label, draws)

    outcome = train(
        emulator, loss, windows, settings=settings, seed=config.seed, record=record, files=args
    )
    write_training(args, outcome, record, sources[0].about)


if __name__ == "__main__":
    execute(main)
