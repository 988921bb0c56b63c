"""All kernel functions of a program, compiled in child processes or found in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.cuda.toolchain import find_toolchain
from mdcompiler.progress import Progress

_WORKER = "mdcompiler.backends.cuda.compile_worker"


def compile_kernels(
    functions: Mapping[str, FunctionSource], fields: Mapping[str, Any], workers: int, progress: Progress
) -> dict[str, CompiledKernel]:
    """Symbol -> compiled kernel, in the order of `functions`.

    fields: of the TVM target, `arch` among them. workers: processes that compile at once. Raises MissingToolError
    without NVIDIA's compilers, InternalError naming the function that fails.
    """
    # What is in the message to the child is in the cache's key as well.
    message = {"target": dict(fields), "tools": find_toolchain().versions}
    answers = build_objects(functions, message, workers, progress, _WORKER)
    return {symbol: CompiledKernel.from_bytes(answer) for symbol, answer in zip(functions, answers, strict=True)}
