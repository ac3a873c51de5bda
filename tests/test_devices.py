"""What torch.compile needs is asked for before it is needed."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from lilas.devices import compile_modules
from lilas.errors import LilasError


@pytest.mark.parametrize(
    ("device", "variable", "compiler"),
    [("cpu", "CXX", "g++"), ("cuda", "CC", "gcc")],
)
def test_a_compiler_that_is_not_there_is_told(monkeypatch, tmp_path, device, variable, compiler):
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = rf"the compiler {compiler} does not run .*{variable}, or set compile: false"
    model = torch.nn.Linear(1, 1)
    with pytest.raises(LilasError, match=words.replace("+", r"\+")):
        compile_modules(torch.device(device), model)
    monkeypatch.setenv(variable, "/opt/no/such")
    with pytest.raises(LilasError, match="the compiler /opt/no/such does not run"):
        compile_modules(torch.device(device), model)
    # One that is there and fails is no compiler either.
    monkeypatch.setenv(variable, shutil.which("false", path=os.defpath) or "false")
    with pytest.raises(LilasError, match="non-zero exit status"):
        compile_modules(torch.device(device), model)
    monkeypatch.setenv(variable, sys.executable)
    compile_modules(torch.device(device), model)


def test_the_compiler_is_the_one_that_torch_would_take():
    code = "import torch._inductor.config as c; print(*filter(None, c.cpp.cxx))"
    for given in ({}, {"CXX": "some++"}):
        environment = {k: v for k, v in os.environ.items() if k != "CXX"} | given
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        expected = given.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        assert done.stdout.split() == [expected]
