"""What a kernel will be in the file, before it is written: for `why_not`, which is asked of float networks, too.

Float tensors are taken for the 8-bit integers that they become. Clamps right after a convolution or a sum are fused
into it, transposes and conversions of the picture are no operators.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.activation import single_activation
from mdcompiler.backends.tflite.described import Described, DescribedTensor
from mdcompiler.backends.tflite.storage import natural_order, stored_shape
from mdcompiler.backends.tflite.write_convolution import convolution_kind
from mdcompiler.kernel import Kernel
from mdcompiler.module import consumers, producer
from mdcompiler.weights.tflite_head import POSTPROCESS

_KINDS = {
    "Add": "ADD",
    "Mul": "MUL",
    "Concat": "CONCATENATION",
    "GlobalAveragePool": "MEAN",
    "Sigmoid": "LOGISTIC",
    "HardSwish": "HARD_SWISH",
    "HardSigmoid": "HARD_SIGMOID",
    "Relu": "RELU",
    "Clip": "RELU6",
    "Reshape": "RESHAPE",
    "Flatten": "RESHAPE",
    "Squeeze": "RESHAPE",
    "Unsqueeze": "RESHAPE",
    "MaxPool": "MAX_POOL_2D",
    "AveragePool": "AVERAGE_POOL_2D",
    "Softmax": "SOFTMAX",
    "LeakyRelu": "LEAKY_RELU",
}
_SILENT = frozenset({"Cast", "Transpose", "Identity", "QuantizeLinear", "DequantizeLinear", "Max", "Min"})
_FUSING = frozenset({"Conv", "Add"})
_WRITTEN = frozenset({"ADD", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC", "MEAN", "MUL", "RESHAPE"})
_OF_TENSORS = ("ADD", "MUL")


def describe_kernel(kernel: Kernel) -> Iterator[Described]:
    """The operators that `kernel` becomes, in order."""
    for node in kernel.nodes:
        kind = None if kernel.kind == "stem" and _is_picture(node) else _kind(node)
        if kind is not None:
            yield Described(
                kind,
                str(node.name),
                tuple(_tensor(tensor) for tensor in node.inputs if not tensor.is_empty()),
                tuple(_tensor(tensor) for tensor in node.outputs),
                dilation=_dilation(node),
            )


def is_written(operator: Described) -> bool:
    """Whether `write_steps` has an exact form for `operator`: sums and products only of two computed tensors."""
    constants = any(tensor.values is not None for tensor in operator.inputs)
    return operator.kind in _WRITTEN and not (operator.kind in _OF_TENSORS and constants)


def _kind(node: gs.Node) -> str | None:
    """The schema's word for `node`; None when it is no operator of its own."""
    if node.domain:
        return POSTPROCESS
    if node.op in _SILENT or _is_fused(node):
        return None
    if node.op == "Conv":
        channels = int(node.inputs[0].shape[1])
        return convolution_kind(node, tuple(node.inputs[1].shape), channels) or "GROUPED_CONV_2D"
    if node.op == "Sigmoid" and any(node.inputs[0] in reader.inputs for reader in consumers(node.outputs[0])):
        return "SWISH"
    return _KINDS.get(node.op, str(node.op).upper())


def _is_fused(node: gs.Node) -> bool:
    """Whether `node` is a clamp that the operator before it does."""
    found = single_activation(node)
    source = producer(node.inputs[0])
    return found is not None and found.kind in ("relu", "clip") and source is not None and source.op in _FUSING


def _is_picture(node: gs.Node) -> bool:
    """Whether `node` scales or shifts by a constant: the meaning of the picture's bytes."""
    return node.op in ("Mul", "Add") and any(isinstance(tensor, gs.Constant) for tensor in node.inputs)


def _tensor(tensor: gs.Tensor) -> DescribedTensor:
    shape = tuple(int(extent) for extent in tensor.shape or ())
    held = _integers(tensor)
    values = held.values if isinstance(held, gs.Constant) else None
    wide = held.dtype in (np.dtype(np.int16), np.dtype(np.uint16))
    stored = stored_shape(shape, natural_order(len(shape)))
    return DescribedTensor(str(tensor.name), stored, "INT16" if wide else "INT8", values)


def _integers(tensor: gs.Tensor) -> gs.Tensor:
    """The integers that a float tensor of a quantized network stands for, else `tensor`."""
    source = producer(tensor)
    if source is not None and source.op == "DequantizeLinear":
        return source.inputs[0]
    readers = consumers(tensor) if isinstance(tensor, gs.Variable) else []
    return next((reader.outputs[0] for reader in readers if reader.op == "QuantizeLinear"), tensor)


def _dilation(node: gs.Node) -> tuple[int, int]:
    rows, columns = node.attrs.get("dilations", [1, 1]) if node.op == "Conv" else (1, 1)
    return int(rows), int(columns)
