"""Stage `latent_parameters`: what the latents of a dataset tell of parameters."""

from lilas.evaluation.latent_parameters import analyse
from lilas.evaluation.tokens import central_tokens
from lilas.models.latents import open_latents
from lilas.records.analyses import write_analysis
from lilas.records.provenance import provenance
from lilas.stages import add_paths, execute, make_parser
from lilas.systems.base import SPLITS


def main() -> None:
    parser = make_parser(__doc__)
    add_paths(
        parser,
        autoencoder="weights of the autoencoder",
        train="manifest of the training latents",
        valid="manifest of the validation latents",
        test="manifest of the test latents",
        output="latent_parameters.json",
    )
    args = parser.parse_args()
    config = args.config
    asked, transforms = config.latent_analysis, config.label or {}
    manifests = {split: getattr(args, split) for split in SPLITS}
    record = provenance(
        "latent_parameters", config.record(), {"autoencoder": args.autoencoder} | manifests
    )
    sources = {split: open_latents(path, args.autoencoder) for split, path in manifests.items()}
    tokens = {
        split: central_tokens(
            source, asked.parameters, transforms, copies=source.copies if split == "train" else 1
        )
        for split, source in sources.items()
    }
    logarithms = {name: transforms.get(name) == "log" for name in asked.parameters}
    compression = sources["test"].dataset.attrs["compression"]
    write_analysis(
        args.output,
        config.names | {"compression": compression},
        analyse(tokens, logarithms, seed=asked.seed),
        record,
    )


if __name__ == "__main__":
    execute(main)
