"""Weights of a trained model: one safetensors file with its provenance inside."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
from safetensors import SafetensorError, safe_open

from lilas.errors import LilasError, broken
from lilas.files import atomic, stand_in
from lilas.records.provenance import as_json

# Claims read records and shapes alone, which needs no torch.
if TYPE_CHECKING:
    from torch import Tensor, nn

_AGAIN = "Delete it and run the training again; it resumes from its checkpoint."


def write_weights(
    path: str | Path,
    state: "dict[str, Tensor]",
    record: dict[str, Any],
    about: str | None = None,
) -> None:
    """Writes weights by parameter name; with their sum, and the record of their making, beside.

    Args:
        path: Of the file.
        state: The weights.
        record: Provenance.
        about: What is known of the data that it is of, a line of `lilas.data.about`; or None.
    """
    from safetensors.torch import save_file

    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    metadata = {"format": "pt", "lilas": as_json(record), "crc32c": _sum(tensors)}
    if about is not None:
        metadata["about"] = about
    with atomic(path) as part:
        save_file(tensors, part, metadata=metadata)


def _sum(state: "dict[str, Tensor]") -> str:
    """Returns the crc32c of the bytes of weights, in the order of their names."""
    import torch

    found = google_crc32c.Checksum()
    for key in sorted(state):
        found.update(state[key].flatten().view(torch.uint8).numpy())
    return found.hexdigest().decode()


def read_record(path: str | Path) -> dict[str, Any]:
    """Returns the record of a weights file's making, without reading the weights.

    Raises:
        LilasError: the file is missing, damaged, or not written by LILAS.
    """
    record = read_metadata(path).get("lilas")
    if record is None:
        raise broken(
            path, "weights written by LILAS", "safetensors without its record", "Use its own file."
        )
    try:
        found = json.loads(record)
    except json.JSONDecodeError as error:
        raise broken(path, "a record in JSON", f"a damaged one ({error})", _AGAIN) from None
    if not isinstance(found, dict):
        raise broken(path, "a record in JSON", f"a {type(found).__name__}", _AGAIN)
    return _renamed(found)


def _renamed(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a record with the names of this version in place of those of 0.1.0."""
    if record.get("versions", {}).get("lilas") == "0.1.0":
        record.setdefault("implementations", [])
        emulator = record.get("config", {}).get("emulator", {})
        if "objective" in emulator:
            emulator["method"] = emulator.pop("objective")
            for unused in ("autoencoders", "samplers"):
                emulator.pop(unused, None)
    return record


def read_metadata(path: str | Path) -> dict[str, str]:
    """Returns the texts beside weights: `lilas`, their record, `crc32c` and `about`.

    Raises:
        LilasError: the file is missing or damaged.
    """
    with _opened(path, "np") as file:
        return file.metadata() or {}


def read_weights(path: str | Path) -> "Iterator[tuple[str, Tensor]]":
    """Yields the name and the values of each weight, one in memory at a time.

    Raises:
        LilasError: the file is missing or damaged.
    """
    with _opened(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield name, file.get_tensor(name)


def read_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each weight by name, without reading the weights.

    Raises:
        LilasError: the file is missing or damaged.
    """
    with _opened(path, "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: str | Path, framework: str) -> Iterator[Any]:
    path = Path(path)
    if not path.is_file():
        raise broken(path, "a weights file", "nothing", "Run the training that makes it.")
    try:
        with safe_open(path, framework) as file:
            yield file
    except SafetensorError as error:
        found, action = stand_in(path) or (f"a damaged file ({error})", _AGAIN)
        raise broken(path, "safetensors", found, action) from None


def load_weights(path: str | Path, model: "nn.Module") -> dict[str, Any]:
    """Loads weights into a model, strictly, and returns their record.

    Raises:
        LilasError: the file is damaged, or its names or shapes differ from the model's.
    """
    record, state = load_state(path)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if wrong := sorted(key for key in expected | found if expected.get(key) != found.get(key)):
        key = wrong[0]
        raise broken(
            path,
            f"{key} of shape {expected.get(key, 'none')}",
            f"{found.get(key, 'none')} ({len(wrong)} names differ)",
            "The configuration does not belong to these weights.",
        )
    model.load_state_dict(state)
    return record


def load_state(path: str | Path) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """Returns the record of weights, and all of them by name.

    Raises:
        LilasError: the file is damaged, or weights are not finite.
    """
    record, state = read_record(path), dict(read_weights(path))
    if bad := [key for key, value in state.items() if not value.isfinite().all()]:
        raise LilasError(f"{path}: {bad[0]} is not finite. Train again with a lower rate.")
    if (found := _sum(state)) != (written := read_metadata(path).get("crc32c", found)):
        raise broken(path, f"weights with the crc32c {written}", f"damaged ones, {found}", _AGAIN)
    return record, state
