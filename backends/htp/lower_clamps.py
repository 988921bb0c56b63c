"""Spell clamps so that HTP's compiler keeps them.

    Conv -> Clip(0,6) -> Q      becomes   Conv -> Q -> DQ -> Min(6) -> Q       (0 is the smallest number of the type)

A convolution or sum must be quantized at once, or QNN does not take it. Of what follows, QNN 2.51 drops a whole Clip,
without a word, when saturation alone would keep one of its two bounds, in its input's range or in its output's. So a
bound that saturation keeps is never written:

1. both are kept so: no clamp; where the numbers take another scale all the same, Max with their smallest, as QNN takes
   no bare DQ -> Q
2. the upper one is: Relu, or Max where the lower bound is not 0
3. the lower one is: Min
4. neither is: Clip

Rounding and clamping are monotonic, so the integers are those of clamping first; the bound is therefore written as the
real number of the integer that it means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Stage
from mdcompiler.constants import scalar
from mdcompiler.kernel import KERNEL, KIND
from mdcompiler.module import Module, insert_before, producer, remove_nodes
from mdcompiler.names import fresh_node, fresh_tensor
from mdcompiler.quantization.affine import bounds, clamp_integers, representable
from mdcompiler.quantization.steps import CLAMPS, DEQUANTIZE, QUANTIZE, affine, clamp_ends
from mdcompiler.weights.quantization import Quantization

_FREE = (-math.inf, math.inf)


@dataclass(frozen=True)
class LowerClamps:
    """Clamps of a quantized network as Relu, Max, Min or a Clip of two bounds that both matter."""

    name: ClassVar[str] = "lower-clamps"
    stage: ClassVar[Stage] = "place"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        graph = module.graph
        return sum(_lower(graph, node) for node in list(graph.nodes) if node.op == QUANTIZE)


def needed(ends: tuple[float, float], source: Quantization, result: Quantization) -> tuple[float, float]:
    """`ends` of a clamp from `source` to `result`, infinite where saturation of either keeps the bound."""
    low, high = ends
    for quantization in (source, result):
        least, most = bounds(quantization.dtype)
        bottom, top = clamp_integers(quantization, *ends)
        low, high = (low if bottom > least else -math.inf), (high if top < most else math.inf)
    return low, high


def spelling(ends: tuple[float, float]) -> tuple[str, tuple[float, ...]]:
    """The operator that is compiled rightly for the bounds `ends`, and its constants; "" where there is no bound."""
    low, high = ends
    if ends == _FREE:
        return "", ()
    if math.isinf(high):
        return ("Relu", ()) if low == 0 else ("Max", (low,))
    return ("Min", (high,)) if math.isinf(low) else ("Clip", ends)


def _lower(graph: gs.Graph, quantize: gs.Node) -> int:
    """Spell what stands before `quantize` rightly; whether anything changed."""
    before = producer(quantize.inputs[0])
    if before is None:
        return 0
    if before.op == DEQUANTIZE:
        return _lower_requantize(graph, before, quantize)
    source = producer(_data(before)) if before.op in CLAMPS else None
    if source is None:
        return 0
    if source.op != DEQUANTIZE:
        return _split(graph, before, quantize)
    return _respell(graph, before, affine(source), affine(quantize))


def _data(clamp: gs.Node) -> gs.Tensor:
    """What `clamp` bounds; its other inputs are constants."""
    return next(tensor for tensor in clamp.inputs if isinstance(tensor, gs.Variable))


def _lower_requantize(graph: gs.Graph, dequantize: gs.Node, quantize: gs.Node) -> int:
    """Case 1 of numbers that take another scale."""
    source = affine(dequantize)
    clamp = _new(graph, quantize, "Max", [quantize.inputs[0]], "rescale")
    insert_before(graph, quantize, [clamp])
    quantize.inputs = [clamp.outputs[0], *quantize.inputs[1:]]
    _write(graph, clamp, "Max", (representable(source)[0],))
    return 1


def _split(graph: gs.Graph, clamp: gs.Node, quantize: gs.Node) -> int:
    """Quantize before `clamp`, too; without it where it bounds nothing."""
    result = affine(quantize)
    ends = _exact(needed(clamp_ends(clamp), result, result), result)
    op, constants = spelling(ends)
    data, parameters = _data(clamp), list(quantize.inputs[1:])
    if not op:
        remove_nodes(graph, [clamp])
        quantize.inputs = [data, *parameters]
        return 1
    first = _new(graph, quantize, QUANTIZE, [data, *parameters], "unclamped/q", result.dtype)
    second = _new(graph, quantize, DEQUANTIZE, [first.outputs[0], *parameters], "unclamped/dq")
    insert_before(graph, clamp, [first, second])
    clamp.inputs = [second.outputs[0] if tensor is data else tensor for tensor in clamp.inputs]
    _write(graph, clamp, op, constants)
    return 1


def _respell(graph: gs.Graph, clamp: gs.Node, source: Quantization, result: Quantization) -> int:
    op, constants = spelling(needed(clamp_ends(clamp), source, result))
    if not op:
        op, constants = "Max", (representable(source)[0],)
    found = tuple(value for tensor in clamp.inputs if (value := scalar(tensor)) is not None)
    if (clamp.op, found) == (op, tuple(float(np.float32(value)) for value in constants)):
        return 0
    _write(graph, clamp, op, constants)
    return 1


def _exact(ends: tuple[float, float], quantization: Quantization) -> tuple[float, float]:
    """`ends` moved to the numbers of the integers that they mean."""
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    low, high = ((value - zero_point) * scale for value in clamp_integers(quantization, *ends))
    return (low if math.isfinite(ends[0]) else -math.inf), (high if math.isfinite(ends[1]) else math.inf)


def _write(graph: gs.Graph, clamp: gs.Node, op: str, constants: tuple[float, ...]) -> None:
    name, data = clamp.outputs[0].name, _data(clamp)
    clamp.op = op
    clamp.inputs = [data]
    for word, value in zip(("bound", "upper_bound"), constants, strict=False):
        clamp.inputs.append(gs.Constant(fresh_tensor(graph, f"{name}/{word}"), np.array(value, np.float32)))


def _new(
    graph: gs.Graph, quantize: gs.Node, op: str, inputs: list[gs.Tensor], part: str, dtype: str = "float32"
) -> gs.Node:
    """A node of the kernel of `quantize` that makes a tensor of the same shape."""
    made = quantize.outputs[0]
    wanted = f"{made.name.removesuffix('/q')}/{part}"
    output = gs.Variable(fresh_tensor(graph, wanted), np.dtype(dtype), list(made.shape))
    attributes = {key: quantize.attrs[key] for key in (KERNEL, KIND) if key in quantize.attrs}
    return gs.Node(op, fresh_node(graph, wanted), attributes, inputs, [output])
