"""Stage `emulator`: trains a diffusion model or a neural solver on cached latents."""

from pathlib import Path

import torch

from lilas.data.windows import Windows
from lilas.devices import select_device
from lilas.files import fingerprint
from lilas.models.build import build_objective
from lilas.models.latents import open_latents
from lilas.models.masks import draw_masks
from lilas.records.provenance import making, provenance
from lilas.records.weights import write_weights
from lilas.seeds import Draws, derive
from lilas.stages import add_training, parser, run
from lilas.training.loop import fit, write_history


def main() -> None:
    to = parser(__doc__)
    add_training(
        to,
        autoencoder="weights of the autoencoder",
        train="manifest of the train latents",
        valid="manifest of the valid latents",
    )
    args = to.parse_args()
    config, device = args.config, select_device(args.device)
    emulator, settings = config.emulator, config.emulator.train.model_dump()
    torch.set_num_threads(settings["threads"] or torch.get_num_threads())
    sources = [open_latents(path, args.autoencoder) for path in (args.train, args.valid)]
    record = provenance(
        "emulator",
        config.record(),
        {"autoencoder": args.autoencoder, "train": args.train, "valid": args.valid},
    )
    augments = [sources[0].augmentation(config.augment.model_dump()), None]
    windows = [
        Windows(
            source,
            length=emulator.window,
            stride=config.stride,
            batch_size=settings["batch_size"],
            seed=derive(config.seed, i),
            device=device,
            memory=settings["memory_gb"] * 1e9,
            augment=augment,
        )
        for i, (source, augment) in enumerate(zip(sources, augments, strict=True))
    ]
    torch.manual_seed(derive(config.seed))
    objective = build_objective(emulator, sources[0].shape, sources[0].labels.shape[1]).to(device)
    if settings["compile"]:
        objective.backbone.compile()

    def loss(states: torch.Tensor, label: torch.Tensor, draws: Draws) -> torch.Tensor:
        mask = draw_masks(
            draws,
            emulator.window,
            rate=emulator.context_rate,
            at_least=emulator.context_at_least,
            forward=emulator.context_forward,
        )
        return objective.loss(states, label, mask.to(device), draws)

    outcome = fit(
        objective,
        loss,
        *windows,
        settings=settings,
        seed=derive(config.seed, 2),
        folder=args.checkpoint,
        fingerprint=fingerprint(making(record)),
        name="/".join(Path(args.weights).parts[-3:-1]),
        checkpoint_seconds=args.seconds,
    )
    write_history(args.history, outcome.history)
    write_weights(args.best, outcome.best, record)
    write_weights(args.weights, outcome.last, record)


if __name__ == "__main__":
    run(main)
