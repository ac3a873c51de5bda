"""States through an autoencoder and back, a few at a time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilas.data.preprocess import Preprocessing
from lilas.models.autoencoder import Autoencoder

# States that an autoencoder sees at once, at most, and their bytes: one would waste the device, a
# whole trajectory of the paper's its memory.
TOGETHER, TOGETHER_BYTES = 16, 2**28


def together(shape: Sequence[int]) -> int:
    """Returns how many states (channel, *space) an autoencoder sees at once."""
    return max(1, min(TOGETHER, TOGETHER_BYTES // (4 * math.prod(shape))))


@torch.inference_mode()
def encode(states: Tensor, autoencoder: Autoencoder, device: torch.device) -> np.ndarray:
    """Returns the latents of preprocessed states (time, channel, *space), float32."""
    parts = states.split(together(states.shape[1:]))
    return torch.cat([autoencoder.encode(x.to(device)).float().cpu() for x in parts]).numpy()


@torch.inference_mode()
def decode(
    latents: np.ndarray,
    autoencoder: Autoencoder,
    preprocessing: Preprocessing,
    device: Any,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Returns latents (…, channel, *space) decoded to physical units, a few states at a time.

    Args:
        latents: Float32.
        autoencoder: The one that they are of.
        preprocessing: Of the states that it decodes to.
        device: Where to decode.
        dtype: Precision of the physical states: that of the data, which may hold a variation about
            a mean that float32 does not.
    """
    leading = latents.shape[: latents.ndim - 1 - autoencoder.spatial]
    flat = torch.from_numpy(latents).flatten(0, len(leading) - 1)
    space = [points * autoencoder.factor for points in flat.shape[2:]]
    parts = flat.split(together((autoencoder.pixel_channels, *space)))
    decoded = torch.cat([autoencoder.decode(z.to(device)) for z in parts])
    return preprocessing.inverse_(decoded.to(dtype), channel_axis=1).unflatten(0, leading)


@torch.inference_mode()
def autoencode(states: Tensor, autoencoder: Autoencoder, preprocessing: Preprocessing) -> Tensor:
    """Returns states (time, channel, *space) encoded and decoded, in their unit and precision."""
    inputs = preprocessing.forward(states, channel_axis=1)
    parts = inputs.split(together(inputs.shape[1:]))
    rebuilt = [autoencoder.decode(autoencoder.encode(x)) for x in parts]
    return preprocessing.inverse_(torch.cat(rebuilt).to(states.dtype), channel_axis=1)
