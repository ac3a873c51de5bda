"""Stage `autoencoder`: trains an autoencoder on single states, or names pixel space as one."""

import torch

from lilas import processes
from lilas.data.about import About
from lilas.data.augment import Augmentation
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_splits
from lilas.devices import compile_modules
from lilas.draws import Draws
from lilas.models.build import make_autoencoder_for
from lilas.official.start import start_from, start_inputs
from lilas.records.provenance import provenance
from lilas.seeds import derive
from lilas.stages import add_training, execute, make_parser
from lilas.training.job import make_windows, train, write_training
from lilas.training.loop import Outcome


def main() -> None:
    parser = make_parser(__doc__)
    add_training(
        parser,
        statistics="statistics.json",
        train="files of the train split",
        valid="files of the valid split",
    )
    args = parser.parse_args()
    config, device = args.config, processes.join(args.device)
    entry, preprocessing = config.autoencoder, Preprocessing.read(args.statistics)
    train_files, valid_files = open_splits(args.train, args.valid, fields=config.states.fields)
    inputs = {"statistics": args.statistics, "train": args.train, "valid": args.valid}
    inputs |= start_inputs(args.start)
    record = provenance("autoencoder", config.record(), inputs, config.implementations())
    torch.manual_seed(derive(config.seed))
    model = make_autoencoder_for(entry, train_files[0]).to(device)
    if entry.is_pixel_space:
        outcome = Outcome(model.state_dict(), model.state_dict(), [])
    else:
        start_from(model, "autoencoder", args.start, entry.train.start, train_files[0])
        settings = entry.train.model_dump()
        processes.use_threads(settings["threads"])
        windows = make_windows(
            [Pixels(files, preprocessing, {}) for files in (train_files, valid_files)],
            Augmentation(config.augment.model_dump(), train_files, preprocessing),
            length=1,
            settings=settings,
            seed=config.seed,
            device=device,
        )
        if settings["compile"]:
            compile_modules(device, model.encoder, model.decoder)

        def loss(states: torch.Tensor, _: torch.Tensor, draws: Draws) -> torch.Tensor:
            return model.loss(states.squeeze(2), entry.loss, entry.similarity_weight, draws)

        outcome = train(
            model, loss, windows, settings=settings, seed=config.seed, record=record, files=args
        )
    about = About.of(train_files, preprocessing)
    write_training(args, outcome, record, about.as_json())


if __name__ == "__main__":
    execute(main)
