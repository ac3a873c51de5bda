"""Laws that a dataset's states may obey: what each needs of them (`lilas.evaluation.physics`)."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Law(NamedTuple):
    """What a law is computed from: orders of fields by name, and names of parameters."""

    fields: Mapping[str, int]
    parameters: tuple[str, ...]


LawName = Literal["convection", "gas"]
LAWS: dict[str, Law] = {
    "convection": Law({"buoyancy": 0, "velocity": 1}, ("Rayleigh", "Prandtl")),
    "gas": Law({"energy": 0, "density": 0, "pressure": 0, "momentum": 1}, ("gamma",)),
}
