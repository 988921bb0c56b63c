"""Write the padding of convolutions and poolings as numbers.

    Conv(auto_pad="SAME_UPPER", strides=[2, 2])    becomes    Conv(pads=[0, 0, 1, 1], strides=[2, 2])

All shapes are static, so nothing after this pass needs to know the rules of `auto_pad`. TensorFlow's SAME
is SAME_UPPER: total = max((ceil(i / s) - 1) * s + (k - 1) * d + 1 - i, 0), the odd one at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Stage
from mdcompiler.module import Module

_WINDOWED = frozenset({"AveragePool", "Conv", "MaxPool"})


@dataclass(frozen=True)
class LowerAutoPad:
    """Replace `auto_pad` by explicit pads."""

    name: ClassVar[str] = "lower-auto-pad"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        found = [node for node in module.graph.nodes if node.op in _WINDOWED and "auto_pad" in node.attrs]
        for node in found:
            rule = node.attrs.pop("auto_pad")
            if rule != "NOTSET":
                node.attrs["pads"] = explicit_pads(node, rule)
        return len(found)


def explicit_pads(node: gs.Node, rule: str) -> list[int]:
    """The `pads` attribute that means what `rule` (VALID, SAME_UPPER, SAME_LOWER) means for `node`."""
    extents = [int(extent) for extent in node.inputs[0].shape[2:]]
    window = node.attrs.get("kernel_shape") or [int(extent) for extent in node.inputs[1].shape[2:]]
    strides = node.attrs.get("strides") or [1] * len(extents)
    dilations = node.attrs.get("dilations") or [1] * len(extents)
    if rule == "VALID":
        return [0] * 2 * len(extents)
    totals = [
        max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        for size, k, stride, dilation in zip(extents, window, strides, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if rule == "SAME_UPPER" else [*large, *small]
