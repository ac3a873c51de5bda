"""Stage `simulate`: Rayleigh-Bénard trajectories of one Rayleigh number, as three Well files."""

import numpy as np

from lilas.data.well_writer import write_well
from lilas.files import fingerprint
from lilas.progress import progress
from lilas.seeds import derive
from lilas.stages import add_paths, parser, run
from lilas.systems.rayleigh_benard import coordinates, simulate


def main() -> None:
    to = parser(__doc__)
    add_paths(to, train="file of the train split", valid="valid split", test="test split")
    args = to.parse_args()
    source = args.config.source
    rayleigh = source.rayleigh[int(args.config.names["index"])]
    counts = source.trajectories
    total = counts.train + counts.valid + counts.test
    flows = []
    steps = len(source.prandtl) * source.steps
    with progress(total=steps, desc=f"Rayleigh {rayleigh:g}", unit="state") as bar:
        for prandtl in source.prandtl:
            # No two pairs of parameters share an initial perturbation.
            pair = derive(source.seed, int(rayleigh), round(1e6 * prandtl))
            flows.append(
                simulate(
                    rayleigh=rayleigh,
                    prandtl=prandtl,
                    size=source.size,
                    time_step=source.time_step,
                    start=source.start,
                    interval=source.interval,
                    steps=source.steps,
                    trajectories=total,
                    seed=pair,
                    progress=bar.update,
                )
            )
    x, y = coordinates(source.size)
    first = 0
    for split in ("train", "valid", "test"):
        count = getattr(counts, split)
        chosen = slice(first, first + count)
        first += count
        write_well(
            getattr(args, split),
            dataset=source.system,
            fields={
                name: np.concatenate([getattr(flow, name)[chosen] for flow in flows])
                for name in ("buoyancy", "pressure", "velocity")
            },
            time=flows[0].time,
            coordinates={"x": x, "y": y},
            parameters={
                "Rayleigh": rayleigh,
                "Prandtl": np.repeat(np.asarray(source.prandtl), count),
            },
            boundaries={"x": "periodic", "y": "wall"},
            attributes={
                "simulation": fingerprint(source.model_dump(mode="json")),
                "time_units": "free-fall time",
            },
        )


if __name__ == "__main__":
    run(main)
