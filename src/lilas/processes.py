"""Processes that train one model together, as torchrun starts them.

A process on its own makes no group, and every function here gives it back what it has. Ranks are
told by torchrun's variables alone.
"""

import ctypes
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lilas.errors import SYSTEM, LilasError, told

# Torch takes seconds to import, and some who ask here need none.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

# How long a process waits for the others in one exchange: some may still read their data.
PATIENCE = timedelta(minutes=30)
# Exit status of a process that lost another one.
LOST = 75
# Linux: send me this signal when my parent dies.
_PR_SET_PDEATHSIG = 1


def count() -> int:
    """Returns how many processes work together, on all nodes."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Returns which of them this one is, from 0."""
    return int(os.environ.get("RANK", 0)) if count() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes, and tells how far it is."""
    return rank() == 0


def join(name: str) -> "torch.device":
    """Joins the other processes, and returns the device that this one computes on.

    Args:
        name: cpu, cuda or auto, of several processes; one takes any device.

    Raises:
        LilasError: the device is not there, or not one that several processes may share.
    """
    from lilas.devices import kind_of, select_device

    if count() == 1:
        return select_device(name)
    import torch

    _end_with_parent()
    kind = kind_of(name)
    if kind not in ("cpu", "cuda") or ":" in name:
        raise LilasError(
            f"device: {name}: {count()} processes train on CPUs, or on a CUDA device each; "
            "allowed: auto, cpu, cuda"
        )
    device = select_device(kind if kind == "cpu" else f"cuda:{os.environ['LOCAL_RANK']}")
    if kind == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "gloo" if kind == "cpu" else "nccl",
        timeout=PATIENCE,
        device_id=None if kind == "cpu" else device,
    )
    return device


def leave() -> None:
    """Leaves the group, once all have come so far."""
    if count() > 1:
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()


def use_threads(threads: int | None) -> None:
    """Takes this process's share of a job's CPU threads; None is all that torch would take."""
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if count() > 1 else 1
    torch.set_num_threads(max(1, threads // here) if threads else torch.get_num_threads())


def part(samples: int) -> slice:
    """Returns which of a batch's samples are this process's: as many as any other's, in a row.

    Raises:
        LilasError: the processes do not divide them.
    """
    if samples % count():
        raise LilasError(
            f"train: batch_size {samples} is not divided by {count()} processes; allowed: a "
            "multiple of them, or another number of processes"
        )
    each = samples // count()
    return slice(rank() * each, (rank() + 1) * each)


def mean(values: "Tensor") -> "Tensor":
    """Returns the mean over the processes, the same to the bit in each."""
    if count() == 1:
        return values
    import torch

    total = values.clone()
    torch.distributed.all_reduce(total)
    return total / count()


def gathered(rows: "Tensor") -> "Tensor":
    """Returns the rows (row, …) of all processes, which have as many each; differentiable.

    Gradients are those of a loss that is averaged over the processes, where each has its value.
    """
    if count() == 1:
        return rows
    import torch

    found = [torch.empty_like(rows) for _ in range(count())]
    torch.distributed.all_gather(found, rows.detach().contiguous())
    # All find the same gradient of all rows, and each is averaged with the others' zeros.
    found[rank()] = rows + (count() - 1) * (rows - rows.detach())
    return torch.cat(found)


def exchange(rows: "Tensor", sent: list[int], received: list[int]) -> "Tensor":
    """Sends rows (row, …) to all processes, and returns those received, in the order of senders.

    Args:
        rows: First those for process 0, then those for process 1, and so on.
        sent: How many go to each process.
        received: How many come from each process.
    """
    import torch

    found = torch.empty(sum(received), *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    torch.distributed.all_to_all_single(found, rows.contiguous(), received, sent)
    return found


def from_first(value: Any) -> Any:
    """Returns what the first process has, an object that can be pickled."""
    if count() == 1:
        return value
    import torch

    box = [value]
    torch.distributed.broadcast_object_list(box)
    return box[0]


def alike(tensors: "list[Tensor]") -> bool:
    """Whether tensors have the same bits in all processes, as far as their sum tells."""
    if count() == 1:
        return True
    import torch

    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    total = sum(t.detach().contiguous().view(kinds[t.element_size()]).sum() for t in tensors)
    most = torch.stack([total, -total])
    torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    return bool(most[0] == -most[1])


def end(line: str) -> NoReturn:
    """Ends the program for a reason, which the first process of a machine to fail tells."""
    if count() == 1:
        sys.exit(line)
    if _is_first_to_fail():
        print(line, file=sys.stderr, flush=True)
    # Nothing waits any more for others, which may wait for this one.
    os._exit(1)


def end_by(error: LilasError | OSError | RuntimeError) -> NoReturn:
    """Ends the program by an error that one line tells; any other one is raised again."""
    if isinstance(error, LilasError) or getattr(error, "errno", None) in SYSTEM:
        end(told(error))
    if not _is_loss(error):
        raise error
    # Another process is gone, which has told why, or the launcher does.
    os._exit(LOST)


def _is_loss(error: Exception) -> bool:
    """Whether an error says that another process is gone."""
    if count() == 1 or "torch" not in sys.modules:
        return False
    import torch

    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def _is_first_to_fail() -> bool:
    """Whether no other process on this machine has failed yet, by a file in torchrun's folder."""
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if place is None:
        return True
    try:
        (Path(place).parents[1] / "failed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _end_with_parent() -> None:
    """Has the system kill this process when torchrun is killed, which then could not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
