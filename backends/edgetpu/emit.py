"""From a quantized network to the files of an artifact and the facts of its manifest."""

from __future__ import annotations

from typing import Any

from mdcompiler.backend import Emission
from mdcompiler.backends.edgetpu.compiler import COMPILED_FILE, PROGRAM, find_compiler, run_compiler
from mdcompiler.backends.edgetpu.mapping import Verdict, predict, table
from mdcompiler.backends.edgetpu.memory_plan import plan_memory, widest_moment
from mdcompiler.backends.tflite.write_file import orders_fact, tflite_bytes
from mdcompiler.backends.tflite.write_network import FILE, WrittenNetwork, write_network
from mdcompiler.module import Module
from mdcompiler.progress import Progress

_STAGE = "emit"


def emit(module: Module, progress: Progress) -> Emission:
    """Write the file, say what maps, and compile it where the compiler is installed."""
    progress(_STAGE, 0, 2)
    written = write_network(module)
    file = tflite_bytes(module, written)
    progress(_STAGE, 1, 2)
    files, facts = {FILE: file}, edgetpu_facts(written)
    program = find_compiler()
    if program is not None:
        compiled = run_compiler(program, file)
        files[COMPILED_FILE] = compiled.file
        facts["compiler"] = {"program": PROGRAM, **compiled.log.as_dict()}
    progress(_STAGE, 2, 2)
    return Emission(files, facts)


def edgetpu_facts(written: WrittenNetwork) -> dict[str, Any]:
    """The facts of the manifest.

    arena_bytes: activations alive at once. orders: of the axes in the file. mapping: predicted rows of operator, count,
    status. host: operators that are not mapped, with the reason. memory: the chip's parameter memory, in bytes.
    """
    verdicts = predict(written.graph)
    plan = plan_memory(written.graph, written.owners, [verdict.mapped for verdict in verdicts])
    return {
        "arena_bytes": widest_moment(written.graph, written.graph.operators),
        "orders": orders_fact(written),
        "mapping": [list(row) for row in table(verdicts)],
        "host": [_host(written, index, verdict) for index, verdict in enumerate(verdicts) if not verdict.mapped],
        "memory": plan.as_dict(),
    }


def _host(written: WrittenNetwork, index: int, verdict: Verdict) -> dict[str, str]:
    return {"kernel": written.owners[index], "operator": verdict.kind, "reason": f"{verdict.reason}."}
