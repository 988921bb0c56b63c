"""Let a convolution pad for itself.

    Pad(x, zeros around the picture) -> Conv    becomes    Conv with larger pads

Pads of every convolution that reads the padded tensor grow; the Pad goes when nothing reads it any more.
Poolings are left alone: a maximum or an average over padded zeros differs from one over a padded window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.constants import integers, optional_input, scalar
from mdcompiler.module import Module, consumers, is_output, remove_nodes


@dataclass(frozen=True)
class FoldPad:
    """Fold zero padding into the convolutions that read it."""

    name: ClassVar[str] = "fold-pad"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ("lower-auto-pad",)

    def run(self, module: Module) -> int:
        edits = 0
        for pad in _pads(module.graph):
            before, after = _spatial(pad)
            for conv in _takers(pad):
                conv.attrs["pads"] = _sum(_conv_pads(conv), [*before, *after])
                conv.inputs[0] = pad.inputs[0]
                edits += 1
            if not consumers(pad.outputs[0]) and not is_output(module.graph, pad.outputs[0]):
                remove_nodes(module.graph, [pad])
        return edits

    def refusals(self, module: Module) -> Iterator[Refusal]:
        for pad in _all_pads(module.graph):
            reason = why_not(pad)
            if reason:
                yield Refusal(pad.name, reason)
                continue
            for node in consumers(pad.outputs[0]):
                yield Refusal(pad.name, f"{node.name} is a {node.op} that reads it; only a Conv's data can be padded")


def _all_pads(graph: gs.Graph) -> list[gs.Node]:
    return [node for node in graph.nodes if node.op == "Pad" and not node.domain]


def _pads(graph: gs.Graph) -> list[gs.Node]:
    return [node for node in _all_pads(graph) if why_not(node) is None]


def why_not(pad: gs.Node) -> str | None:
    """Why `pad` is no zero padding around pictures, or None."""
    mode = pad.attrs.get("mode", "constant")
    if mode != "constant":
        return f"its mode is {mode}; a convolution pads with zeros"
    value = optional_input(pad, 2)
    if value is not None and scalar(value) != 0:
        return f"it pads with {scalar(value)}; a convolution pads with zeros"
    if optional_input(pad, 3) is not None:
        return "it names its axes; only pads for all axes are folded"
    amounts = integers(optional_input(pad, 1))
    if amounts is None:
        return "its amounts are computed at run time"
    if min(amounts) < 0:
        return f"it cuts off {min(amounts)}; a convolution only adds"
    rank = len(amounts) // 2
    if any(amounts[:2]) or any(amounts[rank : rank + 2]):
        return f"it pads batch or channels ({amounts}); a convolution pads the picture"
    return None


def _spatial(pad: gs.Node) -> tuple[list[int], list[int]]:
    amounts = integers(pad.inputs[1]) or []
    rank = len(amounts) // 2
    return amounts[2:rank], amounts[rank + 2 :]


def _takers(pad: gs.Node) -> list[gs.Node]:
    return [node for node in consumers(pad.outputs[0]) if node.op == "Conv" and node.inputs[0] is pad.outputs[0]]


def _conv_pads(conv: gs.Node) -> list[int]:
    spatial = len(conv.inputs[0].shape) - 2
    return list(conv.attrs.get("pads", [0] * 2 * spatial))


def _sum(left: list[int], right: list[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]
