"""Compiled artifacts: an edited manifest, damaged files beside it. What is accepted must compute what it computed."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mdcompiler
from mdcompiler.artifact import MANIFEST
from mdcompiler.conformance import MODELS
from mdcompiler.sampling import seeded_inputs
from mdcompiler.self_check import CHECK_FILE
from tests.fuzz.kind import Kind
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.mutate_text import mutate_json
from tests.fuzz.outcome import Outcome

_LIBRARY = "model.so"


@functools.cache
def _artifact() -> Path:
    """A small network, compiled once for each process."""
    folder = Path(tempfile.mkdtemp(prefix="artifact-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "m.onnx").write_bytes(MODELS["odd-operators"]().SerializeToString())
    mdcompiler.compile(folder / "m.onnx", out=folder / "out", threads=1)
    return folder / "out"


@functools.cache
def _expected() -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    with mdcompiler.load(_artifact()) as network:
        inputs = seeded_inputs(network.artifact.manifest.inputs)
        return inputs, network.run(inputs)


def _file(name: str) -> Callable[[], Sequence[bytes]]:
    return lambda: ((_artifact() / name).read_bytes(),)


def _use(file: Path) -> Outcome:
    """Open and run the artifact with this file in the place of its own."""
    folder = file.parent
    for item in _artifact().iterdir():
        if item.name != file.name:
            shutil.copy(item, folder / item.name)
    inputs, expected = _expected()
    with mdcompiler.load(folder) as network:
        got = network.run(inputs)
    same = set(got) == set(expected) and all(np.array_equal(got[name], expected[name]) for name in expected)
    return Outcome("done") if same else Outcome("wrong", "an altered artifact was accepted and computes something else")


KINDS = (
    Kind("manifest", MANIFEST, _file(MANIFEST), mutate_json, _use, 80),
    Kind("library", _LIBRARY, _file(_LIBRARY), mutate_bytes, _use, 20),
    Kind("artifact-check", CHECK_FILE, _file(CHECK_FILE), mutate_bytes, _use, 20),
)
