"""Shaders for all kernels of a program, each with its launch, compiled in child processes and kept in the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.gpu.launch import Launch
from mdcompiler.progress import Progress

_WORKER = "mdcompiler.backends.gpu.compile_worker"


@dataclass(frozen=True)
class Shader:
    """One kernel. code: WGSL; its entry point is called `symbol` and its bindings are the kernel's parameters."""

    symbol: str
    code: str
    launch: Launch


def build_shaders(
    functions: Mapping[str, FunctionSource], fields: Mapping[str, Any], workers: int, progress: Progress
) -> dict[str, Shader]:
    """A shader for each function, by symbol.

    fields: a TVM target of kind webgpu. Raises InternalError naming the function that fails.
    """
    answers = build_objects(functions, fields, workers, progress, _WORKER)
    return {symbol: _shader(symbol, answer) for symbol, answer in zip(functions, answers, strict=True)}


def _shader(symbol: str, answer: bytes) -> Shader:
    read = json.loads(answer)
    return Shader(symbol, read["code"], Launch(tuple(read["grid"]), tuple(read["block"]), read["shared_bytes"]))
