"""Stage `official`: takes an autoencoder or an emulator from a run of the official code."""

from pathlib import Path
from typing import Any

from lilas.data.about import About, without_ranges
from lilas.data.preprocess import Preprocessing
from lilas.data.well import open_files
from lilas.files import write_json
from lilas.official.adopt import check_emulation, check_latents, check_states
from lilas.official.entries import preprocessing_statistics
from lilas.official.folders import open_run, origin
from lilas.official.models import load_run_emulator, settings_and_state
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.stages import add_paths, execute, make_parser


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
    files = open_files(args.test, config.states.fields)
    data = files[0]
    check_states(official, data, config.states)
    statistics = preprocessing_statistics(official)
    inputs: dict[str, Any] = {path.name: path for path in args.run} | {"test": args.test}
    if args.what == "autoencoder":
        entry, state = settings_and_state(official, config.autoencoder)
    else:
        check_emulation(official, data, config.label or {}, config.stride, config.emulator)
        check_latents(official, args.autoencoder)
        inputs["autoencoder"] = args.autoencoder
        entry, model = load_run_emulator(official)
        state = model.state_dict()
    plain = config.model_copy(update={args.what: entry}).record()
    if args.what == "autoencoder":
        made = provenance("official", plain, inputs)
        write_json(args.statistics, statistics | {"provenance": made})
        inputs["statistics"] = args.statistics
    record = provenance("official", plain, inputs)
    record["official"] = origin(official)
    about = About.of(files, Preprocessing.from_statistics(statistics, source))
    write_weights(args.weights, state, record, without_ranges(about).as_json())


if __name__ == "__main__":
    execute(main)
