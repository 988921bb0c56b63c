"""From a quantized network to the files of an artifact and the facts of its manifest."""

from __future__ import annotations

from mdcompiler.backend import Emission
from mdcompiler.backends.tflite.write_file import orders_fact, tflite_bytes
from mdcompiler.backends.tflite.write_network import FILE, WrittenNetwork, write_network
from mdcompiler.backends.vela.report import as_facts, read_layers, read_summary
from mdcompiler.backends.vela.vela import COMPILED_FILE, check_vela, run_vela
from mdcompiler.module import Module
from mdcompiler.progress import Progress

_STAGE = "emit"


def emit(module: Module, progress: Progress) -> Emission:
    """Write the file, compile it with Vela and read its reports. Needs the extra `vela`."""
    progress(_STAGE, 0, 2)
    written = write_network(module)
    check_vela(module.target.name)
    file = tflite_bytes(module, written)
    progress(_STAGE, 1, 2)
    compiled = run_vela(file, module.target.name)
    network = read_summary(compiled.summary)
    facts = {
        "arena_bytes": network.sram_bytes,
        "orders": orders_fact(written),
        **as_facts(network, read_layers(compiled.layers, _owners(written))),
    }
    progress(_STAGE, 2, 2)
    return Emission({FILE: file, COMPILED_FILE: compiled.file}, facts)


def _owners(written: WrittenNetwork) -> dict[str, str]:
    """Tensor of the file -> the kernel that makes it."""
    graph = written.graph
    pairs = zip(graph.operators, written.owners, strict=True)
    return {graph.tensors[index].name: owner for operator, owner in pairs for index in operator.outputs}
