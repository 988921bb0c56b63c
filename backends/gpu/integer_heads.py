"""Where the bytes of a head end: how far what follows is a function of one byte, or a place in a larger tensor.

    conv -> sigmoid -> concat -> dequantize -> scores      becomes      conv, which writes float32 into the scores

Tables, dequantizations, reshapes and concatenations after a head are one table of 256 numbers and an offset: the
head's convolution applies them as it stores, and their kernels are left out. A concatenation is passed only when all
its parts are such heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.integer_chain import node_of, part_table
from mdcompiler.backends.gpu.integer_limits import ROUNDING
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.quantization.affine import bounds
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.steps import Step, affine, is_integer, read_steps

Array = NDArray[Any]


@dataclass(frozen=True)
class Landing:
    """Where a head's numbers go.

    values: the number for each byte, uint8 or float32. tensor: what they become part of, from element `offset` on.
    path: names of the kernels that have nothing left to do; seen: of all tensors on the way.
    """

    tensor: gs.Variable
    values: Array
    offset: int = 0
    path: tuple[str, ...] = ()
    seen: tuple[str, ...] = field(default=())

    @property
    def elements(self) -> int:
        """Of the whole tensor."""
        return int(np.prod([int(extent) for extent in self.tensor.shape]))


def find_landings(graph: gs.Graph) -> dict[str, Landing]:
    """The landing of every quantized head, by its kernel's name."""
    everything = kernels(graph)
    readers: dict[str, list[Kernel]] = {}
    for kernel in everything:
        for tensor in kernel.inputs:
            readers.setdefault(tensor.name, []).append(kernel)
    leaving = {tensor.name for tensor in graph.outputs}
    heads = [kernel for kernel in everything if kernel.kind == "head" and is_integer(kernel)]
    blocked: set[str] = set()
    while True:
        found = {kernel.name: _follow(kernel, readers, leaving, blocked) for kernel in heads}
        reached = {name for landing in found.values() for name in landing.seen}
        passed = {name for landing in found.values() for name in landing.path}
        torn = {
            kernel.name
            for kernel in everything
            if kernel.name in passed and not {tensor.name for tensor in kernel.inputs} <= reached
        }
        if not torn:
            return found
        blocked |= torn


def _follow(head: Kernel, readers: dict[str, list[Kernel]], leaving: set[str], blocked: set[str]) -> Landing:
    tensor = head.outputs[0]
    landing = Landing(tensor, np.arange(256).astype(np.uint8), seen=(tensor.name,))
    while True:
        name = landing.tensor.name
        following = readers.get(name, [])
        if name in leaving or len(following) != 1 or following[0].name in blocked:
            return landing
        further = _pass(landing, following[0])
        if further is None:
            return landing
        passed = following[0]
        seen = (*landing.seen, further.tensor.name)
        landing = replace(further, path=(*landing.path, passed.name), seen=seen)


def _pass(landing: Landing, kernel: Kernel) -> Landing | None:
    """The landing behind `kernel`, or None where it does more than a function of one byte, or moves numbers."""
    if len(kernel.outputs) != 1:
        return None
    behind = replace(landing, tensor=kernel.outputs[0])
    if kernel.kind == "dequantize":
        return replace(behind, values=_dequantized(landing.values, kernel))
    if is_integer(kernel):
        steps = read_steps(kernel)
        return _pass_step(landing, behind, steps[0]) if len(steps) == 1 else None
    node = kernel.nodes[0]
    if len(kernel.nodes) != 1:
        return None
    if kernel.kind == "view" and node.op in ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"):
        return behind
    return _pass_join(landing, behind, node) if kernel.kind == "concat" and node.op == "Concat" else None


def _pass_step(landing: Landing, behind: Landing, step: Step) -> Landing | None:
    if step.inputs[0].dtype != "uint8" or step.output.dtype != "uint8":
        return None
    if step.operation == "table" and step.activation is not None:
        entries = table(step, ROUNDING)
        return replace(behind, values=entries[landing.values.astype(np.int64) - bounds("uint8")[0]])
    if step.operation == "move" and node_of(step).op != "Transpose":
        return behind
    if step.operation != "concat":
        return None
    found = _pass_join(landing, behind, node_of(step))
    port = next(port for port in step.inputs if port.name == landing.tensor.name)
    if found is None or port.quantization == step.output.quantization:
        return found
    return replace(found, values=part_table(port, step, ROUNDING)[landing.values])


def _pass_join(landing: Landing, behind: Landing, node: gs.Node) -> Landing | None:
    """Through a concatenation whose parts lie one behind the other."""
    shape = [int(extent) for extent in behind.tensor.shape]
    axis = int(node.attrs["axis"]) % len(shape)
    if any(extent != 1 for extent in shape[:axis]):
        return None
    sizes = [int(tensor.shape[axis]) for tensor in node.inputs]
    place = _place(landing.tensor, node)
    if place is None:
        return None
    return replace(behind, offset=landing.offset + sum(sizes[:place]) * int(np.prod(shape[axis + 1 :])))


def _place(tensor: gs.Variable, node: gs.Node) -> int | None:
    """Which operand of `node` stems from `tensor`; None when more than one does."""
    places = [index for index, operand in enumerate(node.inputs) if tensor.name in (operand.name, _integers(operand))]
    return places[0] if len(places) == 1 else None


def _integers(tensor: gs.Tensor) -> str:
    """The integers that `tensor` was dequantized from; "" for any other."""
    maker = tensor.inputs[0] if tensor.inputs else None
    return str(maker.inputs[0].name) if maker is not None and maker.op == "DequantizeLinear" else ""


def _dequantized(values: Array, kernel: Kernel) -> Array:
    node = kernel.nodes[0]
    zero, scale = affine(node).zero_point[0], np.asarray(node.inputs[1].values, np.float32).reshape(())
    return np.asarray((values.astype(np.int32) - zero).astype(np.float32) * scale)
