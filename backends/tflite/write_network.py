"""A quantized network as the graph of a `.tflite` file: NHWC, static, one subgraph, 8-bit integers throughout.

Where the network has float inputs or outputs, the file has their integers, with scale and zero point: the chips have
no floats, and who runs the file converts (`runnable`). Only the detections, which the host computes, are float.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.tflite.file_builder import FileBuilder
from mdcompiler.backends.tflite.storage import natural_order
from mdcompiler.backends.tflite.write_postprocess import read_real, write_postprocess
from mdcompiler.backends.tflite.write_steps import write_step
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module, consumers
from mdcompiler.quantization.scheme import SCHEME_KEY
from mdcompiler.quantization.steps import Port, affine, is_integer, port, read_steps
from mdcompiler.weights.tflite_graph import TfliteGraph

FILE = "model.tflite"
_POSTPROCESS, _QUANTIZE, _DEQUANTIZE, _CONCAT = "postprocess", "quantize", "dequantize", "concat"


@dataclass(frozen=True)
class WrittenNetwork:
    """graph: of the file. owners: the kernel that each operator comes from.

    input_orders, output_orders: how the file stores each input and output of the network, see `storage.Stored`.
    """

    graph: TfliteGraph
    owners: tuple[str, ...]
    input_orders: tuple[tuple[int, ...], ...]
    output_orders: tuple[tuple[int, ...], ...]


def write_network(module: Module) -> WrittenNetwork:
    """The file for `module`. Raises UnsupportedError for a float network and for what has no exact counterpart."""
    if SCHEME_KEY not in module.metadata:
        raise UnsupportedError(
            f"compiling for {module.target.name}: the network computes in float, the chip in 8-bit integers only. Add "
            "`--precision int8 --calibration DIR`, a folder of pictures like those the detector will see."
        )
    return _Writer(module.graph).write()


@dataclass
class _Writer:
    """reals: float tensor -> the integers that it stands for."""

    graph: gs.Graph
    builder: FileBuilder = field(default_factory=FileBuilder)
    reals: dict[str, Port] = field(default_factory=dict)
    owners: list[str] = field(default_factory=list)

    def write(self) -> WrittenNetwork:
        inputs = [self._input(tensor) for tensor in self.graph.inputs]
        for kernel in kernels(self.graph):
            self._kernel(kernel)
            self.owners += [kernel.name] * (len(self.builder.operators) - len(self.owners))
        ends = [self.builder.stored[self._integers_of(tensor.name)] for tensor in self.graph.outputs]
        graph = self.builder.graph([index for index, _ in inputs], [end.index for end in ends], FILE)
        orders = tuple(order for _, order in inputs)
        return WrittenNetwork(graph, tuple(self.owners), orders, tuple(end.order for end in ends))

    def _integers_of(self, name: str) -> str:
        return self.reals[name].name if name in self.reals else name

    def _input(self, tensor: gs.Variable) -> tuple[int, tuple[int, ...]]:
        """The number and the order of an input of the network."""
        held = _first_port(tensor)
        plain = tuple(range(len(tensor.shape)))
        turned = any(reader.op == "Transpose" for node in consumers(tensor) for reader in consumers(node.outputs[0]))
        order = plain if turned else natural_order(len(tensor.shape))
        return self.builder.place(held, order), order

    def _kernel(self, kernel: Kernel) -> None:
        if is_integer(kernel):
            for step in read_steps(kernel):
                write_step(self.builder, step)
        elif kernel.kind == _QUANTIZE and all(tensor in self.graph.inputs for tensor in kernel.inputs):
            pass  # the file's input holds the integers
        elif kernel.kind == _DEQUANTIZE:
            (node,) = kernel.nodes
            self.reals[node.outputs[0].name] = port(node, node.inputs[0])
        elif kernel.kind == _POSTPROCESS:
            write_postprocess(self.builder, kernel, self.reals)
        elif kernel.kind == _CONCAT:
            self._float_concat(kernel)
        else:
            raise _float_kernel(kernel)

    def _float_concat(self, kernel: Kernel) -> None:
        """Parts with scales of their own, joined by the host: the boxes before the post-processing."""
        (node,) = kernel.nodes
        missing = [tensor.name for tensor in node.inputs if tensor.name not in self.reals]
        if missing:
            raise _float_kernel(kernel)
        result, shape = node.outputs[0], tuple(node.outputs[0].shape)
        parts = [read_real(self.builder, self.reals[tensor.name]) for tensor in node.inputs]
        order = natural_order(len(shape))
        made = self.builder.place_float(result.name, shape, order)
        axis = order.index(int(node.attrs["axis"]) % len(shape))
        self.builder.operate("CONCATENATION", parts, [made], axis=axis)


def _first_port(tensor: gs.Variable) -> Port:
    """The integers of an input: its own, or those it is quantized to by the first that reads it."""
    for reader in consumers(tensor):
        if reader.op == "DequantizeLinear":
            return port(reader, tensor)
        if reader.op == "QuantizeLinear" and tensor.dtype == np.float32:
            return Port(str(reader.outputs[0].name), tuple(tensor.shape), affine(reader))
    readers = ", ".join(f"{reader.name} ({reader.op})" for reader in consumers(tensor)) or "nothing"
    raise UnsupportedError(
        f"writing a .tflite file: the input {tensor.name} ({tensor.dtype}) is read by {readers}, so it has no scale. "
        "Quantize the whole network: leave out --keep-float, and inputs that nothing reads."
    )


def _float_kernel(kernel: Kernel) -> UnsupportedError:
    return UnsupportedError(
        f"writing {kernel.name} as TFLite: the {kernel.kind} computes in float, which the chip cannot, and all that "
        "follows would run on the host. Leave out --keep-float for it, or compile for `cpu`."
    )
