"""Scores of rollouts, reconstructions and baselines, trajectory by trajectory.

Every number is a row: dataset, autoencoder, emulator, sampler, context, trajectory, field, lead
time, metric, value. Memory holds one trajectory's ensemble at a time, however many there are.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xarray as xr
from torch import Tensor

from lilas.autoencoder import Autoencoder
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.errors import LilasError, broken
from lilas.files import atomic
from lilas.metrics import evaluate
from lilas.provenance import as_json

# Numbers decoded at once: what memory holds does not grow with the length of a rollout.
DECODED = 2**26

SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("autoencoder", pa.string()),
        ("compression", pa.float64()),
        ("emulator", pa.string()),
        ("sampler", pa.string()),
        ("context", pa.int32()),
        ("members", pa.int32()),
        ("trajectory", pa.int32()),
        ("field", pa.string()),
        ("lead_time", pa.int32()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


def test_trajectories(evaluation: dict[str, Any], rows: int) -> list[int]:
    """Returns the test trajectories to evaluate: all, or as many as asked, drawn with the seed.

    Raises:
        LilasError: more are asked for than there are.
    """
    count = evaluation["trajectories"]
    if count is None:
        return list(range(rows))
    if count > rows:
        raise LilasError(
            f"evaluation.trajectories {count}: the test split has {rows}; allowed: at most {rows}"
        )
    drawn = np.random.default_rng(evaluation["seed"]).choice(rows, count, replace=False)
    return sorted(int(row) for row in drawn)


def rollout_steps(start: int, context: int, stride: int, last: int) -> slice:
    """Returns the steps of a rollout: its context, then every `stride` up to lead time `last`.

    The last context state lies at `start`, or as soon after it as the context has room
    (official_formulas, "Rollout and evaluation"); lead times count from there.
    """
    first = max(0, start - (context - 1) * stride)
    states = context + last // stride
    return slice(first, first + (states - 1) * stride + 1, stride)


def score(
    truth: Tensor, ensemble: Tensor, fields: list[str], lead_times: Iterable[int]
) -> pd.DataFrame:
    """Returns the metrics of one trajectory, a row each.

    Args:
        truth: (time, channel, *space), physical units.
        ensemble: (member, time, channel, *space), physical units.
        fields: Names of the channels.
        lead_times: Of each time, in solver steps.

    Raises:
        LilasError: a metric is not finite.
    """
    values = evaluate(truth, ensemble, spatial=truth.ndim - 2)
    index = pd.MultiIndex.from_product([list(lead_times), fields], names=["lead_time", "field"])
    table = pd.DataFrame(
        {name: value.flatten().double().cpu().numpy() for name, value in values.items()}, index
    )
    if bad := [name for name in table if not np.isfinite(table[name]).all()]:
        raise LilasError(f"metrics: {bad[0]} is not finite; the rollout diverged or lacks values")
    return table.melt(ignore_index=False, var_name="metric").reset_index()


def score_baselines(
    pixels: Pixels, trajectories: list[int], steps: slice, device: torch.device
) -> Iterator[pd.DataFrame]:
    """Yields the scores of persistence (the first state of `steps`, kept) and of climatology.

    Climatology is each field's training mean, everywhere and always.
    """
    fields = [channel.name for channel in pixels.files[0].channels]
    mean = pixels.preprocessing.inverse(torch.zeros(1, len(fields), 1), channel_axis=1)
    leads = range(steps.step, steps.stop - steps.start, steps.step)
    for row in trajectories:
        states = torch.from_numpy(pixels.truth(row, steps)).to(device)
        truth = states[1:]
        shape = (1, len(fields), *[1] * (truth.ndim - 2))
        forecasts = {
            "persistence": states[:1].expand_as(truth),
            "climatology": mean.view(shape).to(device).expand_as(truth),
        }
        for name, forecast in forecasts.items():
            yield score(truth, forecast[None], fields, leads).assign(
                emulator=name, trajectory=row, context=1, members=1
            )


@torch.inference_mode()
def score_reconstruction(
    pixels: Pixels,
    trajectories: list[int],
    steps: slice,
    autoencoder: Autoencoder,
    device: torch.device,
) -> Iterator[pd.DataFrame]:
    """Yields the scores of the autoencoder's reconstruction of the states of the rollouts."""
    fields = [channel.name for channel in pixels.files[0].channels]
    leads = range(steps.step, steps.stop - steps.start, steps.step)
    for row in trajectories:
        states = torch.from_numpy(pixels.read(row, steps))[1:]
        decoded = torch.cat(
            [autoencoder.decode(autoencoder.encode(x.to(device))) for x in states.split(16)]
        )
        truth = torch.from_numpy(pixels.truth(row, steps))[1:].to(device)
        rebuilt = pixels.preprocessing.inverse(decoded, channel_axis=1)
        yield score(truth, rebuilt[None], fields, leads).assign(
            emulator="reconstruction", trajectory=row, context=1, members=1
        )


def score_rollouts(
    dataset: xr.Dataset, pixels: Pixels, autoencoder: Autoencoder, device: torch.device
) -> Iterator[pd.DataFrame]:
    """Yields the scores of rollouts, decoded a few lead times at a time.

    Args:
        dataset: A store of rollouts, (trajectory, member, time, channel, *space).
        pixels: The test split.
        autoencoder: The one that the latents are of.
        device: Where to decode and score.

    Raises:
        LilasError: as `paired_row`, before any score, or a metric is not finite.
    """
    fields = [channel.name for channel in pixels.files[0].channels]
    context, steps = dataset.attrs["context"], dataset["step"].values
    members = dataset.sizes["member"]
    together = max(1, DECODED // (members * int(np.prod(pixels.shape))))
    rows = [paired_row(dataset, i, pixels) for i in range(dataset.sizes["trajectory"])]
    for i, row in enumerate(rows):
        truths = torch.from_numpy(pixels.truth(row)[steps])
        for first in range(context, len(steps), together):
            times = slice(first, first + together)
            latents = dataset["latent"].isel(trajectory=i, time=times).values
            ensemble = decode(latents, autoencoder, pixels.preprocessing, device)
            truth = truths[times].to(device)
            yield score(truth, ensemble, fields, dataset["lead_time"].values[times]).assign(
                trajectory=row, context=context, members=members
            )


def paired_row(dataset: xr.Dataset, index: int, pixels: Pixels) -> int:
    """Returns the row of the test split that a rollout's trajectory is to be compared with.

    Args:
        dataset: A store of rollouts.
        index: Of the trajectory among the rollouts.
        pixels: The test split.

    Raises:
        LilasError: that row is another trajectory: the files are others than those that the
            rollouts began from, or in another order.
    """
    row = int(dataset["trajectory"].values[index])
    begun = (str(dataset["file"].values[index]), int(dataset["index_in_file"].values[index]))
    found = pixels.origin(row) if row < pixels.rows else None
    if found != begun:
        raise broken(
            dataset.encoding["source"],
            f"rollouts of the test files given, whose trajectory {row} is "
            + (_place(*found) if found else f"none (they hold {pixels.rows})"),
            f"a rollout {row} of {_place(*begun)}",
            "Give the test files that the latents were made of, in the same order.",
        )
    return row


def _place(file: str, index: int) -> str:
    return f"trajectory {index} of {file}"


@torch.inference_mode()
def decode(
    latents: np.ndarray, autoencoder: Autoencoder, preprocessing: Preprocessing, device: Any
) -> Tensor:
    """Returns latents (…, channel, *space) decoded to physical units, in chunks of 16 states."""
    leading = latents.shape[: latents.ndim - 1 - autoencoder.dimensions]
    flat = torch.from_numpy(latents).flatten(0, len(leading) - 1)
    decoded = torch.cat([autoencoder.decode(z.to(device)) for z in flat.split(16)])
    return preprocessing.inverse(decoded, channel_axis=1).unflatten(0, leading)


def write_metrics(
    path: Path, frames: Iterable[pd.DataFrame], names: dict[str, Any], record: dict[str, Any]
) -> None:
    """Writes metrics as Parquet, frame by frame as they come.

    Args:
        path: The file.
        frames: Rows of one trajectory each.
        names: Columns that are the same in every row.
        record: Provenance, kept in the file's metadata.
    """
    schema = SCHEMA.with_metadata({"lilas": as_json(record)})
    with atomic(path) as part, pq.ParquetWriter(part, schema) as writer:
        for frame in frames:
            whole = frame.assign(**{k: v for k, v in names.items() if k not in frame})
            writer.write_table(pa.Table.from_pandas(whole[SCHEMA.names], schema, safe=True))


def read_metrics(paths: Iterable[Path]) -> pd.DataFrame:
    """Returns the rows of metrics files.

    Raises:
        LilasError: a file is damaged, has other columns, or holds a value that is not finite.
    """
    frames = []
    for path in paths:
        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            action = "Delete it and run again."
            raise broken(path, "a metrics file", f"{error}", action) from None
        if not table.schema.equals(SCHEMA):
            expected = ", ".join(SCHEMA.names)
            raise broken(path, expected, ", ".join(table.schema.names), "Delete it and run again.")
        frame = table.to_pandas()
        if not np.isfinite(frame["value"]).all():
            raise broken(path, "finite values", "others", "Delete it and run again.")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def metrics_record(path: Path) -> dict[str, Any]:
    """Returns the record that a metrics file carries."""
    return json.loads(pq.read_schema(path).metadata[b"lilas"])
