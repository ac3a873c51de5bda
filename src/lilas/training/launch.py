"""Starts a training: one process, or by torchrun as many as a job was given GPUs or processes.

python -m lilas.training.launch --gpus 1 --processes 1 --nodes 1 lilas.stages.emulator --config …

The number of processes is of the job, on all its nodes together, and no part of the training.
"""

import argparse
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from typing import Any, NoReturn

from lilas import processes
from lilas.errors import LilasError, told

# Variables that tell how many threads a process may use.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of the job: a process for each")
    parser.add_argument("--processes", type=int, default=1, help="processes of a job without")
    parser.add_argument("--nodes", type=int, default=1, help="nodes of the job")
    parser.add_argument("--meet", metavar="HOST:PORT", help="where the nodes meet; set by itself")
    parser.add_argument("module", help="such as lilas.stages.emulator")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="its arguments")
    args = parser.parse_args()
    command = [args.module, *args.rest]
    try:
        # A job may be promised a GPU that the machine has not.
        count = max(args.gpus, args.processes)
        here = _per_node(count, args.nodes)
        if count == 1:
            os.execv(sys.executable, [sys.executable, "-m", *command])
        if args.nodes > 1 and args.meet is None:
            _start_on_nodes(args, command)
        _run(here, args, command)
    except LilasError as error:
        sys.exit(told(error))


def _per_node(count: int, nodes: int) -> int:
    if nodes < 1 or count < 1 or count % nodes:
        raise LilasError(
            f"{count} processes on {nodes} nodes: each has as many; allowed: gpu, or without GPUs "
            "processes, a multiple of nodes"
        )
    return count // nodes


def _start_on_nodes(args: argparse.Namespace, command: list[str]) -> NoReturn:
    """Becomes Slurm's srun, which starts this program once on each node of the job."""
    srun = shutil.which("srun")
    if srun is None:
        raise LilasError(
            f"{args.nodes} nodes: srun is not here, which starts a training on several. Run in a "
            "job of Slurm, or set nodes to 1."
        )
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    each = [f"--nodes={args.nodes}", f"--ntasks={args.nodes}", "--ntasks-per-node=1", "--overlap"]
    if threads := os.environ.get("OMP_NUM_THREADS"):
        each.append(f"--cpus-per-task={threads}")
    own = [f"--gpus={args.gpus}", f"--processes={args.processes}", f"--nodes={args.nodes}"]
    own += ["--meet", f"{socket.gethostname()}:{port}"]
    started = [sys.executable, "-m", "lilas.training.launch", *own, *command]
    os.execv(srun, [srun, *each, *started])


def _run(here: int, args: argparse.Namespace, command: list[str]) -> NoReturn:
    """Runs torchrun in this process, less its log and its traceback of what a stage has told."""
    for name in _THREADS:
        if name in os.environ:
            os.environ[name] = str(max(1, int(os.environ[name]) // here))
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.ERROR)
    options = ["--nproc-per-node", str(here)]
    if args.meet is None:
        options += ["--standalone"]
    else:
        options += ["--nnodes", str(args.nodes), "--rdzv-backend", "c10d"]
        options += ["--rdzv-endpoint", args.meet, "--rdzv-id", args.meet]
    with tempfile.TemporaryDirectory(prefix="lilas-torchrun-") as folder:
        try:
            parsed = parse_args([*options, "--log-dir", folder, "--module", command[0]])
            # Torchrun would take a stage's --start for a short --start-method.
            parsed.training_script_args = command[1:]
            run(parsed)
        except ChildFailedError as error:
            _end(error.failures)
        except SignalException as error:
            sys.exit(128 + error.sigval)
        except RendezvousError as error:
            raise LilasError(
                f"{args.nodes} nodes did not meet at {args.meet} ({error}). Run again; a training "
                "goes on from its last checkpoint."
            ) from None
    sys.exit()


def _end(failures: dict[int, Any]) -> NoReturn:
    """Ends as the process did that failed first, before others lost it or torchrun ended them."""
    after = (processes.LOST, -signal.SIGTERM)
    rank, first = min(
        failures.items(), key=lambda one: (one[1].exitcode in after, one[1].timestamp)
    )
    goes_on = "the same command goes on from the last checkpoint"
    if first.exitcode == processes.LOST:
        raise LilasError(f"a process of this training on another machine is gone; {goes_on}")
    if first.exitcode < 0:
        name = signal.Signals(-first.exitcode).name
        raise LilasError(f"process {rank} of this training was ended by {name}; {goes_on}")
    # It has told why.
    sys.exit(first.exitcode)


if __name__ == "__main__":
    main()
