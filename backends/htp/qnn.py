"""The optional package onnxruntime-qnn: Qualcomm's compiler for HTP, and the emulator that is part of it.

Every call is a process of its own (`mdcompiler.backends.htp.worker`). The package comes under Qualcomm's licence, which
each user accepts by installing it; nothing of it is in an artifact but the binary that it wrote.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import MissingToolError, UnsupportedError
from mdcompiler.scratch import scratch_folder

PACKAGE = "onnxruntime-qnn"
WORKER = "mdcompiler.backends.htp.worker"
CONTEXT_MODEL, CONTEXT_BINARY = "model.onnx", "model_qnn.bin"
"""What QNN writes: an ONNX file around the binary, and the binary."""
_MODULES = ("onnxruntime", "onnxruntime_qnn")
_INPUT = "network.onnx"
_LIMIT_SECONDS = 900
_TOLD_CHARACTERS = 1500
Array = NDArray[Any]


@dataclass(frozen=True)
class Context:
    """A compiled network. model: ONNX, names `binary` as the file CONTEXT_BINARY beside it."""

    model: bytes
    binary: bytes


def why_missing() -> str:
    """Why QNN cannot be called here, with the command that installs it; "" when it can."""
    if all(find_spec(name) is not None for name in _MODULES):
        return ""
    return (
        f"compiling for HTP and running it emulated needs the package {PACKAGE} (Python 3.11 or newer; Qualcomm's "
        "licence): pip install mdcompiler[htp]"
    )


def check_installed() -> None:
    """Raise MissingToolError when the package is not there."""
    missing = why_missing()
    if missing:
        raise MissingToolError(missing)


def qnn_version() -> str:
    """The package's version."""
    return version(PACKAGE)


def compile_context(model: bytes, options: Mapping[str, str]) -> Context:
    """Compile an ONNX model in QDQ form. options: QNN's own, see `archs.qnn_options`.

    Raises UnsupportedError with QNN's last words when it leaves a node to the processor or fails.
    """
    check_installed()
    with scratch_folder("htp") as folder:
        (folder / _INPUT).write_bytes(model)
        job = {"do": "compile", "model": _INPUT, "out": CONTEXT_MODEL, "options": dict(options)}
        words = _call(folder, job, "compiling for HTP")
        made = [folder / CONTEXT_MODEL, folder / CONTEXT_BINARY]
        if not all(path.is_file() for path in made):
            raise _failure("compiling for HTP", "it did not write both of its files", words)
        return Context(*(path.read_bytes() for path in made))


def run_context(context: Context, inputs: list[Array], outputs: int) -> list[Array]:
    """What the emulator says. inputs: in the model's order; outputs: how many there are.

    Raises UnsupportedError when QNN does not open the context or fails.
    """
    check_installed()
    with scratch_folder("htp") as folder:
        (folder / CONTEXT_MODEL).write_bytes(context.model)
        (folder / CONTEXT_BINARY).write_bytes(context.binary)
        np.savez(folder / "inputs.npz", **_by_order(inputs))
        words = _call(folder, {"do": "run", "model": CONTEXT_MODEL}, "running on HTP's emulator")
        if not (folder / "outputs.npz").is_file():
            raise _failure("running on HTP's emulator", "it gave no outputs", words)
        with np.load(folder / "outputs.npz", allow_pickle=False) as found:
            return [found[f"a{index}"] for index in range(outputs)]


def _by_order(arrays: list[Array]) -> dict[str, Any]:
    return {f"a{index}": array for index, array in enumerate(arrays)}


def _call(folder: Path, job: Mapping[str, Any], doing: str) -> str:
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", WORKER, str(folder)]
    # the folder is the caller's, so that what QNN leaves behind goes with it; modules are found as they are here
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_SECONDS,
            check=False,
            cwd=folder,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failure(doing, str(error), "") from error
    words = done.stdout.decode(errors="replace")
    if done.returncode:
        raise _failure(doing, f"QNN ended with {done.returncode}", words)
    return words


def _failure(doing: str, what: str, words: str) -> UnsupportedError:
    told = f": {words[-_TOLD_CHARACTERS:].strip()}" if words.strip() else ""
    return UnsupportedError(
        f"{doing}: {what}{told}. Change the network as it says, or install a tested version: "
        "pip install mdcompiler[htp] -c constraints.txt"
    )
