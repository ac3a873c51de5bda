"""What torch.compile needs is asked for before it is needed."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import torch

from lilas.devices import check_compiler, compile_modules
from lilas.errors import LilasError


@pytest.mark.parametrize(
    ("device", "variable", "compiler"),
    [("cpu", "CXX", "g++"), ("cuda", "CC", "gcc")],
)
def test_a_compiler_that_is_not_there_is_told(monkeypatch, tmp_path, device, variable, compiler):
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = rf"the compiler '{re.escape(compiler)}' does not .*{variable}, or set compile: false"
    model = torch.nn.Linear(1, 1)
    with pytest.raises(LilasError, match=words):
        compile_modules(torch.device(device), model)
    for named in ("/opt/no/such", ""):
        monkeypatch.setenv(variable, named)
        with pytest.raises(LilasError, match=f"the compiler '{named}' does not compile"):
            compile_modules(torch.device(device), model)
    # One that is there and fails is no compiler either, whatever it says of itself.
    broken = tmp_path / "broken"
    broken.write_text(
        "#!/bin/sh\n"
        'test "$1" = --version && exit\n'
        "echo 'fatal error: Python.h: No such file' >&2; echo more >&2; exit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv(variable, str(broken))
    with pytest.raises(LilasError, match=r"\(fatal error: Python\.h: No such file\)\. Install one"):
        compile_modules(torch.device(device), model)
    monkeypatch.setenv(variable, shutil.which("true", path=os.defpath) or "true")
    compile_modules(torch.device(device), model)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
def test_a_compiler_that_works_is_not_refused():
    check_compiler("cpu")
    check_compiler("cuda")


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
