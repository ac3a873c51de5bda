"""The devices that stages compute on."""

import torch

from lilas.errors import LilasError


def select_device(name: str) -> torch.device:
    """Returns the device named, or with `auto` the best there is.

    Raises:
        LilasError: the device named is not there.
    """
    # Float32 is the reference; a training that wants TF32 says so.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise LilasError(f"device {name!r} is not there: {reason}. Use auto or cpu.") from None
    return torch.device(name)
