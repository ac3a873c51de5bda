"""Stage `given`: takes an autoencoder or an emulator as it is, from weights or an official run."""

import shutil
from pathlib import Path
from typing import Any

from lilas.data.well import open_files
from lilas.files import atomic, write_json
from lilas.official.given import take_official, take_ours
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.stages import add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["autoencoder", "emulator"])
    add_paths(
        parser,
        model="files of the model: weights of ours; or the zip of a run, or its config.yaml and "
        "state.pth",
        test="files of the test split",
        weights="weights, ours",
    )
    parser.add_argument("--statistics", type=Path, help="statistics of an autoencoder, as trained")
    parser.add_argument("--autoencoder", type=Path, help="weights of an emulator's autoencoder")
    args = parser.parse_args()
    data = open_files(args.test, args.config.states.fields)
    source, ours = args.model[0], args.model[0].suffix == ".safetensors"
    if ours:
        model = take_ours(source, data, args.config, args.autoencoder)
    else:
        model = take_official(args.model, data, args.config, args.autoencoder)
    names = ["model"] if ours else [path.name for path in args.model]
    inputs: dict[str, Any] = dict(zip(names, args.model, strict=True)) | {"test": args.test}
    plain = args.config.model_copy(update={args.what: model.settings}).record()
    if args.what == "autoencoder":
        made = provenance("given", plain, inputs, model.implementations)
        write_json(args.statistics, model.statistics | {"provenance": made})
        inputs["statistics"] = args.statistics
    else:
        inputs["autoencoder"] = args.autoencoder
    if ours and args.what == "autoencoder":
        # Emulators know theirs by the sum of its file.
        with atomic(args.weights) as part:
            shutil.copyfile(source, part)
        return
    record = provenance("given", plain, inputs, model.implementations) | model.origin
    write_weights(args.weights, model.state, record, model.about.as_json())


if __name__ == "__main__":
    execute(main)
