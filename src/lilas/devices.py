"""The devices that stages compute on."""

import contextlib
import os
import subprocess
import sys
import sysconfig
from typing import Any

import torch
from torch import nn

from lilas.errors import LilasError


def kind_of(name: str) -> str:
    """Returns the kind of the device named: cpu, cuda or mps; with `auto`, of the best there is."""
    if name != "auto":
        return name.partition(":")[0]
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(name: str) -> None:
    """Refuses a device that is not there, and leaves nothing on one that is.

    Raises:
        LilasError: it is not there.
    """
    kind, index = kind_of(name), name.partition(":")[2]
    found = torch.cuda.device_count() if kind == "cuda" else int(torch.backends.mps.is_available())
    if kind != "cpu" and int(index or 0) >= found:
        raise LilasError(
            f"config.yaml: device: {name} is not there, this machine has {found} of the kind; "
            "allowed: auto, cpu"
        )


def select_device(name: str) -> torch.device:
    """Returns the device named, or with `auto` the best there is.

    Raises:
        LilasError: the device named is not there.
    """
    # Float32 is the reference; a training that wants TF32 says so.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device(kind_of(name))
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise LilasError(f"device {name!r} is not there: {reason}. Use auto or cpu.") from None
    return torch.device(name)


def check_compiler(kind: str) -> None:
    """Refuses to compile for a kind of device without the compiler that torch.compile needs.

    Raises:
        LilasError: it does not compile.
    """
    # Inductor writes C++ for CPUs; Triton's launchers for CUDA are in C. Both are for Python.
    variable, plain, header, language = (
        ("CC", "gcc", "stdio.h", "c") if kind == "cuda" else ("CXX", "g++", "vector", "c++")
    )
    compiler = os.environ.get(variable, "clang++" if sys.platform == "darwin" else plain)
    program = f"#include <Python.h>\n#include <{header}>\n"
    options = ["-I", sysconfig.get_path("include"), "-x", language, "-fsyntax-only", "-"]
    try:
        subprocess.run(
            [compiler, *options], input=program, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[0][:120]
        raise LilasError(
            f"compile: the compiler {compiler!r} does not compile a program for Python "
            f"({told}). Install one, with Python's headers, or name one in the environment "
            f"variable {variable}, or set compile: false in the study."
        ) from None


def compile_modules(device: torch.device, *modules: nn.Module) -> None:
    """Compiles modules, at their first call, for a device.

    Raises:
        LilasError: as `check_compiler`.
    """
    check_compiler(device.type)
    for module in modules:
        module.compile()


def arithmetic(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which networks compute with float32, tf32 or bfloat16 on a device.

    Between float32 and tf32 it switches for good, until the next one is entered.
    """
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return contextlib.nullcontext()
