"""Stage `simulate`: trajectories of one part of a simulated system, as three Well files."""

from lilas.data.well_writer import write_well
from lilas.files import digest
from lilas.plugins import load
from lilas.stages import add_paths, execute, make_parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--part", required=True, help="name of the part")
    add_paths(parser, train="file of the train split", valid="valid split", test="test split")
    args = parser.parse_args()
    source = args.config.source
    source.check_installed()
    simulation = {"simulation": digest(source.model_dump(mode="json"))}
    for split, trajectories in load(source.implementation)(source, args.part).items():
        write_well(
            getattr(args, split),
            dataset=source.system,
            fields=trajectories.fields,
            time=trajectories.time,
            coordinates=trajectories.coordinates,
            parameters=trajectories.parameters,
            boundaries=trajectories.boundaries,
            attributes=simulation | dict(trajectories.attributes),
        )


if __name__ == "__main__":
    execute(main)
