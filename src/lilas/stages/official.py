"""Stage `official`: takes an autoencoder or an emulator from a run of the official code."""

from pathlib import Path
from typing import Any

from lilas.data.well import open_files
from lilas.files import write_json
from lilas.official.adopt import check_emulation, check_latents, check_pixels, check_states
from lilas.official.entries import preprocessing_statistics
from lilas.official.folders import OfficialRun, open_run, origin
from lilas.official.models import load_run_autoencoder, load_run_emulator
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.stages import add_paths, execute, make_parser
from lilas.study.autoencoders import (
    AutoencoderSettings,
    IdentitySettings,
    OfficialAutoencoder,
)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", choices=["autoencoder", "emulator"])
    add_paths(
        parser,
        run="files of the run: its zip, or its config.yaml and state.pth",
        test="files of the test split",
        weights="weights, ours",
    )
    parser.add_argument("--statistics", type=Path, help="statistics of an autoencoder, as trained")
    parser.add_argument("--autoencoder", type=Path, help="weights of an emulator's autoencoder")
    args = parser.parse_args()
    config = args.config
    source = args.run[0] if args.run[0].suffix == ".zip" else args.run[0].parent
    official = open_run(source)
    data = open_files(args.test, config.states.fields)[0]
    check_states(official, data, config.states)
    inputs: dict[str, Any] = {path.name: path for path in args.run} | {"test": args.test}
    if args.what == "autoencoder":
        entry, state = _autoencoder(official, config.autoencoder)
    else:
        check_emulation(official, data, config.label or {}, config.stride, config.emulator)
        check_latents(official, args.autoencoder)
        inputs["autoencoder"] = args.autoencoder
        entry, model = load_run_emulator(official)
        state = model.state_dict()
    plain = config.model_copy(update={args.what: entry}).record()
    if args.what == "autoencoder":
        made = provenance("official", plain, inputs)
        write_json(args.statistics, preprocessing_statistics(official) | {"provenance": made})
        inputs["statistics"] = args.statistics
    record = provenance("official", plain, inputs)
    record["official"] = origin(official)
    write_weights(args.weights, state, record)


def _autoencoder(
    official: OfficialRun, asked: OfficialAutoencoder
) -> tuple[AutoencoderSettings, dict[str, Any]]:
    """Returns the entry and state of a run's autoencoder; pixel space has no state."""
    if asked.is_pixel_space:
        check_pixels(official)
        return IdentitySettings(architecture="identity"), {}
    entry, model = load_run_autoencoder(official)
    return entry, model.state_dict()


if __name__ == "__main__":
    execute(main)
