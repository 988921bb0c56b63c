"""Take a graph to the opset that has 16-bit integers, where its nodes mean the same there.

Between opset 17 and 21 the Reduce operators' `axes` have become an input; such nodes are rewritten. A node that is
spelled in a way the new opset no longer has is refused by name, before anything is changed.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from mdcompiler.constants import constant
from mdcompiler.errors import UnsupportedError

WIDE_OPSET = 21
"""The first opset whose QuantizeLinear makes 16-bit integers."""
_AXES_MOVED = frozenset(
    f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
_ANOTHER_MEANING = {"GridSample": "its modes have other names", "Split": "without sizes it needs the number of parts"}
_STANDARD = ("", "ai.onnx")


def raise_opset(graph: gs.Graph) -> None:
    """Let `graph` be of opset WIDE_OPSET, in place. Raises UnsupportedError naming a node that cannot be."""
    if graph.opset >= WIDE_OPSET:
        return
    standard = [node for node in graph.nodes if (node.domain or "") in _STANDARD]
    for node in standard:
        reason = why_not_raised(node, graph.opset)
        if reason:
            raise UnsupportedError(
                f"choosing 16-bit activations: they need opset {WIDE_OPSET}, the network has {graph.opset}, and "
                f"{node.name} ({node.op}) cannot be taken there: {reason}. Export the network with opset "
                f"{WIDE_OPSET}, or choose int8 or float."
            )
    for node in standard:
        if node.op in _AXES_MOVED and "axes" in node.attrs:
            axes = np.array(node.attrs.pop("axes"), np.int64)
            node.inputs.append(gs.Constant(f"{node.name}/axes", axes))
    graph.opset = WIDE_OPSET
    for item in graph.import_domains or ():
        if item.domain in _STANDARD:
            item.version = WIDE_OPSET


def why_not_raised(node: gs.Node, opset: int) -> str:
    """Why a standard node of `opset` means something else in WIDE_OPSET, or nothing; "" when it means the same."""
    schema = onnx.defs.get_schema(node.op, WIDE_OPSET)
    if schema.since_version <= opset or (node.op in _AXES_MOVED and len(node.inputs) == 1):
        return ""
    if node.op == "Split" and len(node.inputs) > 1 and constant(node.inputs[1]) is not None:
        return ""
    if node.op in _ANOTHER_MEANING:
        return _ANOTHER_MEANING[node.op]
    gone = [key for key in node.attrs if not key.startswith("mdc.") and key not in schema.attributes]
    if gone:
        return f"it has no attribute {', '.join(gone)} any more"
    fits = schema.min_input <= len(node.inputs) <= schema.max_input
    return "" if fits else f"it takes {schema.min_input} to {schema.max_input} inputs, not {len(node.inputs)}"
