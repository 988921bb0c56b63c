"""Give every node its kernel and every kernel its kind.

After this pass nothing is without a home: a node that no fuse pass joined leads a kernel of its own. The
kinds are listed in `mdcompiler.kernel_kinds`. The pass also proves that the kernels can run one by one.

A network that the toolkit quantized comes with its marks, which are kept: between its integers stand conversions that
would hide what kind of kernel each was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Stage
from mdcompiler.kernel import KERNEL, KIND, kernels
from mdcompiler.module import Module
from mdcompiler.names import kernel_names
from mdcompiler.operators import DOMAIN
from mdcompiler.quantization.scheme import SCHEME_KEY

_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"})
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_ARITHMETIC = frozenset({"Abs", "Add", "Cast", "Div", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Sqrt", "Sub"})
_CURVES = frozenset({"Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"})
_ELEMENTWISE = _ARITHMETIC | _CURVES


@dataclass(frozen=True)
class MarkKernels:
    """Write `mdc.kernel` and `mdc.kind` on every node."""

    name: ClassVar[str] = "mark-kernels"
    stage: ClassVar[Stage] = "fuse"
    after: ClassVar[tuple[str, ...]] = ("fuse-head",)

    def run(self, module: Module) -> int:
        if SCHEME_KEY in module.metadata and all(KIND in node.attrs for node in module.graph.nodes):
            kernels(module.graph)
            return 0
        names = kernel_names(module.graph)
        edits = sum(_set(node, KERNEL, node.attrs.get(KERNEL, names[node.name])) for node in module.graph.nodes)
        for kernel in kernels(module.graph):
            kind = kind_of(kernel.nodes)
            edits += sum(_set(node, KIND, kind) for node in kernel.nodes)
        return edits


def _set(node: gs.Node, key: str, value: str) -> bool:
    changed = bool(node.attrs.get(key) != value)
    node.attrs[key] = value
    return changed


def kind_of(nodes: tuple[gs.Node, ...]) -> str:
    """The kind of a kernel that consists of `nodes`, in order of execution."""
    ops = [node.op for node in nodes]
    if any(node.domain == DOMAIN for node in nodes):
        return "postprocess"
    if "GlobalAveragePool" in ops and "Conv" in ops:
        return "squeeze_excite"
    if "Conv" in ops:
        return _convolution_kind(nodes, nodes[ops.index("Conv")])
    return _single_kind(nodes[0]) if len(nodes) == 1 else "generic"


def _convolution_kind(nodes: tuple[gs.Node, ...], conv: gs.Node) -> str:
    if nodes[0].op == "Cast":
        return "stem"
    if nodes[-1].op == "Reshape":
        return "head"
    out_channels, depth, *window = conv.inputs[1].shape
    groups = int(conv.attrs.get("group", 1))
    if len(window) != 2:
        return "generic"
    if groups > 1:
        return "depthwise" if depth == 1 and groups == out_channels else "grouped_conv"
    return "pointwise" if list(window) == [1, 1] else "conv"


def _single_kind(node: gs.Node) -> str:
    if node.op == "Add" and _equal_shapes(node):
        return "add"
    for kind, ops in (("pool", _POOLS), ("view", _VIEWS), ("concat", {"Concat"}), ("elementwise", _ELEMENTWISE)):
        if node.op in ops:
            return kind
    return "generic"


def _equal_shapes(node: gs.Node) -> bool:
    left, right = node.inputs
    return not isinstance(left, gs.Constant) and not isinstance(right, gs.Constant) and left.shape == right.shape
