"""The child process: `python -m mdcompiler.backends.legalize.worker FOLDER` answers the jobs in FOLDER's folders.

It may be ended at any point by TVM or LLVM; what it answered until then stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import tvm

from mdcompiler.backends.legalize.exchange import Job, is_answered, read_job, write_kernel, write_refusal
from mdcompiler.backends.legalize.hoist import hoist_allocations
from mdcompiler.backends.legalize.legal_kernel import LegalCall, LegalKernel
from mdcompiler.backends.legalize.lower_relax import Lowered, lower
from mdcompiler.backends.legalize.plain_c import compile_plain_c
from mdcompiler.backends.legalize.self_check import check, is_small
from mdcompiler.backends.legalize.vectorise import vectorise
from mdcompiler.errors import UnsupportedError


def main(folder: Path) -> None:
    """Answer every unanswered job, in order of the folders' names."""
    for job_folder in sorted(folder.iterdir()):
        if job_folder.is_dir() and not is_answered(job_folder):
            _answer(job_folder)


def _answer(folder: Path) -> None:
    job, model = read_job(folder)
    try:
        write_kernel(folder, _legalize(job, model))
    except UnsupportedError as error:
        write_refusal(folder, str(error))


def _legalize(job: Job, model: onnx.ModelProto) -> LegalKernel:
    with _tvm_may_refuse("read"):
        lowered = lower(model, job.prefix, job.llvm_target)
    lowered.functions = {name: vectorise(function) for name, function in lowered.functions.items()}
    _hoist(lowered, model.graph.name)
    with _tvm_may_refuse("compile"):
        object_code = compile_plain_c(lowered.functions, job.llvm_target, job.alignment_bytes)
    if b"AllocWorkspace" in object_code:
        raise UnsupportedError("it needs working memory whose size TVM does not tell")
    return LegalKernel(
        name=model.graph.name,
        calls=tuple(lowered.calls),
        temporaries=lowered.temporaries,
        constants=lowered.constants,
        object_code=object_code,
        functions_json=tvm.ir.save_json(tvm.IRModule(lowered.functions)),
        checked=is_small(model, lowered, job.macs) and check(model, lowered),
    )


@contextmanager
def _tvm_may_refuse(doing: str) -> Iterator[None]:
    """TVM raises exceptions of every kind for what it does not know; each is a refusal of this kernel alone."""
    try:
        yield
    except UnsupportedError:
        raise
    except Exception as error:
        raise UnsupportedError(f"TVM cannot {doing} it ({type(error).__name__}: {_last_line(error)})") from error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _hoist(lowered: Lowered, name: str) -> None:
    """Turn large allocations into workspace arguments of the calls."""
    hoisted = {function: hoist_allocations(tir) for function, tir in lowered.functions.items()}
    lowered.functions = {function: tir for function, (tir, _) in hoisted.items()}
    calls = []
    for index, call in enumerate(lowered.calls):
        types = hoisted[call.function][1]
        workspace = {f"{name}/w{index}.{number}": kind for number, kind in enumerate(types)}
        lowered.temporaries.update(workspace)
        calls.append(LegalCall(call.function, call.inputs, call.outputs, tuple(workspace)))
    lowered.calls = calls


if __name__ == "__main__":
    main(Path(sys.argv[1]))
