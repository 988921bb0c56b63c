"""Machine code for all kernel functions of a program, in child processes.

A template that LLVM refuses can abort the whole process, so TVM is never run in the caller's: a child
that dies takes one kernel with it, and the error says which.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.errors import InternalError
from mdcompiler.progress import Progress


def build_objects(
    functions: Mapping[str, FunctionSource], llvm: Mapping[str, Any], workers: int, progress: Progress
) -> list[bytes]:
    """One object file for each function, in the order of `functions`.

    workers: how many processes compile at once. Raises InternalError naming the function that fails.
    """
    if not functions:
        return []
    results: dict[str, bytes] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, min(workers, len(functions))), mp_context=context) as pool:
        jobs = {pool.submit(_compile, source, dict(llvm)): symbol for symbol, source in functions.items()}
        for job in as_completed(jobs):
            results[jobs[job]] = _result(job, functions[jobs[job]])
            progress("compile kernels", len(results), len(functions))
    return [results[symbol] for symbol in functions]


def _compile(source: FunctionSource, llvm: dict[str, Any]) -> bytes:
    from mdcompiler.backends.kernels.object_file import compile_object

    return compile_object({source.symbol: source.write()}, llvm)


def _result(job: Future[bytes], source: FunctionSource) -> bytes:
    try:
        return job.result()
    except BrokenProcessPool as error:
        raise InternalError(
            f"the compiler process died; {source} or a kernel compiled beside it is at fault. "
            "Send this message with the spec."
        ) from error
    except Exception as error:
        raise InternalError(f"compiling {source}: {error}") from error
