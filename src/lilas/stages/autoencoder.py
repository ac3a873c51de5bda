"""Stage `autoencoder`: trains an autoencoder on single states, or names pixel space as one."""

from pathlib import Path

import torch

from lilas.data.augment import Augmentation
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.data.windows import Windows
from lilas.devices import select_device
from lilas.files import fingerprint
from lilas.models.build import build_autoencoder
from lilas.models.losses import LOSSES, similarity
from lilas.records.provenance import making, provenance
from lilas.records.weights import write_weights
from lilas.seeds import Draws, derive
from lilas.stages import add_training, parser, run
from lilas.training.loop import Outcome, fit, write_history


def main() -> None:
    to = parser(__doc__)
    add_training(
        to,
        statistics="statistics.json",
        train="files of the train split",
        valid="files of the valid split",
    )
    args = to.parse_args()
    config, device = args.config, select_device(args.device)
    train_files, valid_files = (
        open_files(files, config.states.fields) for files in (args.train, args.valid)
    )
    record = provenance(
        "autoencoder",
        config.record(),
        {"statistics": args.statistics, "train": args.train, "valid": args.valid},
    )
    torch.manual_seed(derive(config.seed))
    model = build_autoencoder(config.autoencoder, train_files[0]).to(device)
    if config.autoencoder.train is None:
        outcome = Outcome(model.state_dict(), model.state_dict(), [])
    else:
        settings = config.autoencoder.train.model_dump()
        torch.set_num_threads(settings["threads"] or torch.get_num_threads())
        preprocessing = Preprocessing.read(args.statistics)
        augmentation = Augmentation(config.augment.model_dump(), train_files, preprocessing)
        windows = [
            Windows(
                Pixels(files, preprocessing, {}),
                length=1,
                batch_size=settings["batch_size"],
                seed=derive(config.seed, i),
                device=device,
                memory=settings["memory_gb"] * 1e9,
                augment=augment,
            )
            for i, (files, augment) in enumerate([(train_files, augmentation), (valid_files, None)])
        ]
        if settings["compile"]:
            model.encoder.compile()
            model.decoder.compile()
        measure, weight = LOSSES[config.autoencoder.loss], config.autoencoder.similarity_weight

        def loss(states: torch.Tensor, _: torch.Tensor, draws: Draws) -> torch.Tensor:
            x = states.squeeze(2)
            z = model.encode(x)
            value = measure(model.decode(z, draws), x)
            return value + weight * similarity(z) if weight else value

        outcome = fit(
            model,
            loss,
            *windows,
            settings=settings,
            seed=derive(config.seed, 2),
            folder=args.checkpoint,
            fingerprint=fingerprint(making(record)),
            name=Path(args.weights).parent.name,
            checkpoint_seconds=args.seconds,
        )
    write_history(args.history, outcome.history)
    write_weights(args.best, outcome.best, record)
    write_weights(args.weights, outcome.last, record)


if __name__ == "__main__":
    run(main)
