"""How a file that the pipeline writes is described."""

from dataclasses import dataclass, field

from lilas.study import paths

STUDY = "{results}/{study}"
AUTOENCODER = f"{STUDY}/{paths.AUTOENCODER}"
EMULATOR = f"{STUDY}/{paths.EMULATOR}"
SPACE = "*space"


@dataclass(frozen=True)
class Variable:
    """An array, column or value in an artifact.

    Attributes:
        name: Its name in the file; what stands in braces varies.
        dims: Its axes in order; `*space` stands for the space axes, `x`, `y` and perhaps `z`.
        dtype: Type on disk.
        units: Its unit; 1 is a pure number, empty where there can be none.
        text: What it is.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    text: str


@dataclass(frozen=True)
class Artifact:
    """A kind of file.

    Attributes:
        name: What it is called.
        paths: Where such files lie.
        format: How it is stored.
        text: What it holds.
        variables: What is in it.
        attributes: What its metadata say, by name.
    """

    name: str
    paths: tuple[str, ...]
    format: str
    text: str
    variables: tuple[Variable, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)


PROVENANCE = (
    "the record of its making: stage, config (the stage's slice of the study), inputs (path and "
    "SHA-256; path, size and a sample's SHA-256 for data files), code (fingerprint) and versions"
)
