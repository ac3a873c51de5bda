"""An autoencoder that is called: states in physical units to latents and back."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from lilas.data.about import About
from lilas.devices import arithmetic
from lilas.errors import LilasError
from lilas.interface import states as user
from lilas.interface.states import CHANNEL, TIME, TRAJECTORY
from lilas.models import autoencoder as autoencoders
from lilas.models.coding import decode, encode


@dataclass(frozen=True)
class Autoencoder:
    """A trained autoencoder that is called.

    Attributes:
        about: The data that it is of: channels, units, grid, parameters.
        module: The network.
        device: Where it computes.
        precision: float32, tf32 or bfloat16.
    """

    about: About
    module: autoencoders.Autoencoder
    device: torch.device
    precision: str = "float32"

    def __repr__(self) -> str:
        return f"<lilas.Autoencoder: {said(self)}>"

    @property
    def compression(self) -> float:
        """Numbers of a state per number of its latent."""
        return self.module.compression

    def encode(self, states: Any) -> xr.DataArray:
        """Returns the latents of states, float32.

        Args:
            states: As `lilas.interface.states.take` has them.

        Returns:
            The dimensions of the states, but for the space axes, which are coarser, and `channel`
            before them.

        Raises:
            LilasError: a channel or an axis is missing, the grid is another, or a value is not
                finite.
        """
        taken = user.take(states, self.about)
        latents = self.encoded(taken.values)
        dims = (*taken.given, CHANNEL, *self.about.axes)
        kept = {name: taken.coords[name] for name in taken.given if name in taken.coords}
        return xr.DataArray(_squeezed(latents, taken.given), kept, dims, name="latent")

    def decode(self, latents: Any, dtype: Any = "float32") -> xr.Dataset:
        """Returns the states of latents, in physical units.

        Args:
            latents: `xarray.DataArray` with the dimension `channel` and the space axes, as `encode`
                returns them and stores of latents and rollouts hold them, or an array of NumPy
                whose last axes are channel and space. All other dimensions stay.
            dtype: float32, or float64 for what varies little about a large mean.

        Raises:
            LilasError: the latents are of another autoencoder, or not finite.
        """
        axes = tuple(self.about.axes)
        if not isinstance(latents, xr.DataArray):
            values = np.asarray(latents)
            extra = [f"dim_{i}" for i in range(values.ndim - 1 - len(axes))]
            own = (*extra, CHANNEL, *axes)[-values.ndim :]
            latents = xr.DataArray(values, dims=own)
        channels = self.module.latent_channels
        if latents.sizes.get(CHANNEL) != channels or not set(axes) <= set(latents.dims):
            raise LilasError(
                f"latents: expected {channels} along {CHANNEL!r} and the axes {', '.join(axes)}, "
                f"found {dict(latents.sizes)}"
            )
        leading = [str(name) for name in latents.dims if name not in (CHANNEL, *axes)]
        ordered = latents.transpose(*leading, CHANNEL, *axes)
        values = np.ascontiguousarray(ordered.values, np.float32)
        if not np.isfinite(values).all():
            raise LilasError("latents: NaN or infinity among them; they are finite")
        kept = {
            str(name): coord
            for name, coord in latents.coords.items()
            if not {CHANNEL, *axes} & {name, *coord.dims}
        }
        states = self.decoded(values.reshape(-1, *values.shape[len(leading) :]), dtype)
        states = states.reshape(*values.shape[: len(leading)], *states.shape[1:])
        return user.as_dataset(states, leading, kept, self.about)

    def encoded(self, values: np.ndarray) -> np.ndarray:
        """Returns the latents (…, channel, *space) of states in physical units."""
        leading = values.shape[: values.ndim - 1 - len(self.about.axes)]
        flat = torch.from_numpy(values.reshape(-1, *values.shape[len(leading) :]))
        with self.arithmetic():
            found = encode(
                self.about.preprocessing.forward(flat, channel_axis=1), self.module, self.device
            )
        return found.reshape(*leading, *found.shape[1:])

    def decoded(self, latents: np.ndarray, dtype: Any) -> np.ndarray:
        """Returns the states (state, channel, *space) of latents, in physical units."""
        precise = torch.float64 if np.dtype(dtype).itemsize > 4 else torch.float32
        with self.arithmetic():
            states = decode(latents, self.module, self.about.preprocessing, self.device, precise)
        return states.cpu().numpy()

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Returns a context in which it computes in its precision."""
        return arithmetic(self.precision, self.device)


def _squeezed(values: np.ndarray, given: tuple[str, ...]) -> np.ndarray:
    """Returns values (trajectory, time, …) without the dimensions that the user's states lack."""
    return values[tuple(slice(None) if name in given else 0 for name in (TRAJECTORY, TIME))]


def said(model: Any) -> str:
    """Returns what a model is of, and where it is."""
    about = model.about
    grid = "x".join("?" if size is None else str(size) for size in about.shape)
    return f"{about.dataset}, {', '.join(about.channels)} on {grid}, on {model.device}"
