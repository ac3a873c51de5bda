"""The stages, `python -m lilas.stages.NAME`: each parses, opens, calls the library, writes."""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from lilas import plugins, processes
from lilas.errors import LilasError
from lilas.study.tasks import Task


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the argument that every stage has: its slice of the configuration."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "the stage's slice of the study, as JSON"
    kind = Task.model_validate_json
    result.add_argument("--config", type=kind, required=True, metavar="JSON", help=text)
    return result


def add_paths(parser: argparse.ArgumentParser, **paths: str) -> None:
    """Adds required paths; a help text that starts with 'files' takes several."""
    for name, text in paths.items():
        many = "+" if text.startswith("files") else None
        parser.add_argument(f"--{name}", type=Path, nargs=many, required=True, help=text)


def add_timings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timings", type=Path, nargs="*", default=[], help="files of timings")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (default)")


def add_training(parser: argparse.ArgumentParser, **inputs: str) -> None:
    """Adds what a training is told: its inputs, what it leaves, device and checkpoints."""
    add_paths(
        parser,
        **inputs,
        weights="weights of the last step",
        best="weights of the best validation",
        history="history.jsonl",
        checkpoint="checkpoint folder",
    )
    parser.add_argument("--start", type=Path, nargs="*", default=[], help="of train.start")
    add_device(parser)
    parser.add_argument("--seconds", type=float, default=60.0, help="between checkpoints")
    parser.add_argument("--tracker", default="none", help="none (default), tensorboard or wandb")


def execute(main: Callable[[], None], again: str = "the same command goes on from here") -> None:
    """Runs a stage; a broken contract, a full disk or Ctrl-C ends it with one line, told once."""
    # What a terminal's encoding has no character for is escaped, not a reason to stop.
    sys.stdout.reconfigure(errors="backslashreplace")
    warned = "warning: {}\n" if processes.is_first() else ""
    warnings.formatwarning = lambda message, *_, **__: warned.format(message)
    try:
        plugins.check()
        main()
        processes.leave()
    except KeyboardInterrupt:
        processes.end(f"stopped; {again}")
    except (LilasError, OSError, RuntimeError) as error:
        processes.end_by(error)
