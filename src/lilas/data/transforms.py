"""What a channel goes through before it is standardised: nothing, a logarithm, an arcsinh."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from lilas.errors import LilasError

# By kind, the key of its number; both are in the field's unit.
NUMBERS = {"none": None, "log": "offset", "arcsinh": "scale"}


@dataclass(frozen=True)
class Transform:
    """A function f of a channel: x, log(x + offset) or arcsinh(x / scale).

    Attributes:
        kind: Which of them.
        number: The offset or the scale.
    """

    kind: Literal["none", "log", "arcsinh"] = "none"
    number: float = 0.0

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str) -> Self:
        """Returns the transform of JSON values, such as `{"kind": "log", "offset": 1.0}`.

        Args:
            values: Its kind and its number.
            where: What the transform belongs to, for messages.

        Raises:
            LilasError: there is no such transform.
        """
        kind = values.get("kind")
        if kind in NUMBERS:
            key = NUMBERS[kind]
            if set(values) == {"kind", key} - {None}:
                return cls(kind, float(values[key]) if key else 0.0)
        allowed = [
            "{" + ", ".join([f"'kind': '{kind}'", *([f"'{key}': number"] if key else [])]) + "}"
            for kind, key in NUMBERS.items()
        ]
        raise LilasError(
            f"{where}: unknown transform {dict(values)}; allowed: {', '.join(allowed)}"
        )

    def __str__(self) -> str:
        if self.kind == "none":
            return "x"
        return (
            f"log(x + {self.number:g})" if self.kind == "log" else f"arcsinh(x / {self.number:g})"
        )

    @property
    def is_odd(self) -> bool:
        """Whether f(-x) = -f(x)."""
        return self.kind != "log"

    def forward_(self, x: Any) -> Any:
        """Overwrites an array or a tensor with f(x), which is not finite where f is undefined."""
        if self.kind == "log":
            x += self.number
            _library(x).log(x, out=x)
        elif self.kind == "arcsinh":
            x /= self.number
            _library(x).arcsinh(x, out=x)
        return x

    def inverse_(self, x: Tensor) -> Tensor:
        """Overwrites a tensor with f⁻¹(x)."""
        if self.kind == "log":
            x.exp_().sub_(self.number)
        elif self.kind == "arcsinh":
            x.sinh_().mul_(self.number)
        return x


def _library(x: Any) -> Any:
    return torch if isinstance(x, Tensor) else np
