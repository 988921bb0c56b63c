"""Compiling and running leave no file in the user's home and open no connection, in children neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.c_compiler import shared_library

SPY_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* Notes every socket that could leave the machine; what is made over memory or pipes does not come here. */
int socket(int domain, int type, int protocol) {
    int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
    if (domain == AF_INET || domain == AF_INET6) {
        int file = open(getenv("SPY_FILE"), O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (file >= 0 && write(file, "socket\\n", 7) == 7)
            close(file);
    }
    return real(domain, type, protocol);
}
"""
WORK = """
import numpy, onnx, mdcompiler
from onnx import helper
weights = numpy.random.default_rng(0).standard_normal((8, 4, 3, 3)).astype("float32")
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Erf", ["c"], ["y"])], "g",
    [helper.make_tensor_value_info("x", 1, [1, 4, 8, 8])], [helper.make_tensor_value_info("y", 1, [1, 8, 6, 6])],
    [onnx.numpy_helper.from_array(weights, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, "net.onnx")
numpy.savez("data.npz", x=numpy.random.default_rng(1).standard_normal((8, 4, 8, 8)).astype("float32"))
mdcompiler.compile("net.onnx", out="fp32", threads=1)
mdcompiler.compile("net.onnx", "null", "int8", precision="int8", calibration="data.npz", threads=1)
mdcompiler.load("fp32").run({"x": numpy.zeros((1, 4, 8, 8), "float32")})
"""


@pytest.fixture(scope="module")
def spy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spy")
    (folder / "spy.c").write_text(SPY_C)
    return shared_library([folder / "spy.c"], folder / "spy.so")


def told_of(script: str, spy: Path, folder: Path) -> tuple[list[str], str]:
    """Files that `script` left in a new home, and the spy's notes."""
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_", "DO_NOT"))}
    variables |= {"HOME": str(home), "MDC_CACHE": str(folder / "cache"), "LD_PRELOAD": str(spy)}
    variables |= {"SPY_FILE": str(folder / "notes"), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    notes = (folder / "notes").read_text() if (folder / "notes").exists() else ""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()), notes


def test_nothing_is_written_and_nobody_is_called(spy: Path, tmp_path: Path) -> None:
    assert told_of(WORK, spy, tmp_path) == ([], "")


def test_the_spy_sees_files_and_sockets(spy: Path, tmp_path: Path) -> None:
    script = "import socket, pathlib; socket.socket(); pathlib.Path('~/id').expanduser().touch()"
    assert told_of(script, spy, tmp_path) == (["id"], "socket\n")
