"""Run folders as the official trainers write them: config.yaml and state.pth, or a zip of both."""

import io
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
import yaml
from torch import Tensor

from lilas.errors import LilasError, broken
from lilas.files import atomic, stand_in
from lilas.official.schema import check_config
from lilas.records.archives import damage

# The section of config.yaml that describes the model, by what the model is.
SECTIONS = {"autoencoder": "ae", "diffusion": "denoiser", "solver": "surrogate"}
CONFIG, STATE = "config.yaml", "state.pth"


@dataclass(frozen=True)
class OfficialRun:
    """A run of the official code.

    Attributes:
        path: The folder or zip.
        kind: autoencoder, diffusion or solver.
        config: What config.yaml holds.
        state: Parameters and buffers by the official names.
    """

    path: Path
    kind: str
    config: dict[str, Any]
    state: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The run's name, that of its folder or zip."""
        return self.path.stem if self.path.suffix == ".zip" else self.path.resolve().name

    @property
    def model(self) -> dict[str, Any]:
        """The section of the configuration that describes the model."""
        return self.config[SECTIONS[self.kind]]


def open_run(path: str | Path) -> OfficialRun:
    """Opens a run folder, or a zip that holds one.

    Raises:
        LilasError: a file is missing or damaged, or the configuration is of no model.
    """
    path = Path(path)
    text, stream = _unzipped(path) if path.suffix == ".zip" else _in_folder(path)
    config = _configuration(path / CONFIG, text)
    kinds = [kind for kind, section in SECTIONS.items() if section in config]
    if len(kinds) != 1 or "dataset" not in config:
        raise broken(
            path / CONFIG,
            f"a section dataset and one of {', '.join(SECTIONS.values())}",
            ", ".join(map(str, config)) or "nothing",
            "Use the folder of an autoencoder, a diffusion model or a neural solver.",
        )
    check_config(path / CONFIG, config)
    return OfficialRun(path, kinds[0], config, _state(path / STATE, stream))


def write_run(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Writes a run folder that the official code loads."""
    with atomic(folder / CONFIG) as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    with atomic(folder / STATE) as part:
        torch.save(state, part)


def origin(run: OfficialRun) -> dict[str, str]:
    """Returns what the weights made of a run keep of it: its name, and its configuration in YAML.

    JSON, which records are kept in, would turn the numbers among its keys to text.
    """
    return {"run": run.name, "config": yaml.safe_dump(run.config, sort_keys=False)}


def original_config(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the configuration of the run that weights with this record were made of."""
    return yaml.safe_load(record["official"]["config"])


def _in_folder(folder: Path) -> tuple[bytes, IO[bytes] | Path]:
    for name in (CONFIG, STATE):
        if not (folder / name).is_file():
            action = f"An official run is a folder, or a zip of one, with {CONFIG} and {STATE}."
            raise broken(folder / name, "a file", "nothing", action)
    return (folder / CONFIG).read_bytes(), folder / STATE


def _unzipped(path: Path) -> tuple[bytes, IO[bytes] | Path]:
    """Returns both files of the one run in a zip; reading them checks their CRCs."""
    if not path.is_file():
        raise broken(path, "a zip of an official run", "nothing", "Correct the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            config, state = (_member(path, archive.namelist(), n) for n in (CONFIG, STATE))
            if Path(config).parent != Path(state).parent:
                found = f"{config} and {state}"
                raise broken(path, "one run's folder inside", found, "Use the zip of one run.")
            return archive.read(config), io.BytesIO(archive.read(state))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        damage = f"a damaged one ({error})", "Delete it and fetch it again."
        found, action = stand_in(path) or damage
        raise broken(path, "a whole zip", found, action) from None


def _member(path: Path, names: list[str], wanted: str) -> str:
    files = [name for name in names if not name.endswith("/") and not name.startswith("__")]
    found = [name for name in files if Path(name).name == wanted]
    if len(found) != 1:
        action = "Use the zip of one official run."
        raise broken(path, f"one {wanted} inside", f"{len(found)}", action)
    return found[0]


def _configuration(path: Path, text: bytes) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise broken(path, "YAML", f"a damaged file ({told})", "Fetch it again.") from None
    if not isinstance(config, dict):
        raise broken(path, "a mapping", type(config).__name__, "Fetch it again.")
    return config


def _state(path: Path, stream: IO[bytes] | Path) -> dict[str, Tensor]:
    if what := damage(stream):
        found = f"a damaged or foreign file ({what})"
        raise broken(path, "a PyTorch state", found, "Fetch it again.")
    if not isinstance(stream, Path):
        stream.seek(0)
    try:
        state = torch.load(stream, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        found = f"a damaged or foreign file ({str(error).partition(chr(10))[0]})"
        raise broken(path, "a PyTorch state", found, "Fetch it again.") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise broken(path, "tensors by name", type(state).__name__, "Use the run's own state.pth.")
    if bad := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        raise LilasError(f"{path}: {bad[0]} is not finite. Use another run.")
    return state
