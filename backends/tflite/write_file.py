"""From a quantized network to the bytes of a `.tflite` file and the facts that every backend for such files states."""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.tflite.labels import metadata, with_labels
from mdcompiler.backends.tflite.pack import pack
from mdcompiler.backends.tflite.write_network import WrittenNetwork
from mdcompiler.module import Module
from mdcompiler.read_network import labels_of


def tflite_bytes(module: Module, written: WrittenNetwork) -> bytes:
    """The file of `written`, with metadata and labels."""
    graph = written.graph
    names = [tensor.name for tensor in (*module.graph.inputs, *module.graph.outputs)]
    ends = dict(zip((*graph.inputs, *graph.outputs), names, strict=True))
    labels = labels_of(module)
    return with_labels(pack(graph, metadata(graph, module.graph.name, labels, ends)), labels)


def orders_fact(written: WrittenNetwork) -> dict[str, Any]:
    """How the file stores the network's inputs and outputs; `runnable` reads it."""
    return {
        "inputs": [list(order) for order in written.input_orders],
        "outputs": [list(order) for order in written.output_orders],
    }
