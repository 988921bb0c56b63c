"""Sizes that only run time knows: a file may state the shapes that came out once, its operators may make others.

y = Resize(x, sizes)    y stated as [1, 1, 1, 3], sizes an input: any other value of it makes another shape
"""

from __future__ import annotations

import onnx

from mdcompiler.foreign import shortened
from mdcompiler.onnx_faults import raise_faults

_SHAPE_ALONE = frozenset({"Shape", "Size"})
_SIZES: dict[str, dict[int, str]] = {
    "AffineGrid": {1: "size"},
    "BlackmanWindow": {0: "size"},
    "CenterCropPad": {1: "shape"},
    "Col2Im": {1: "image_shape", 2: "block_shape"},
    "ConstantOfShape": {0: "input"},
    "DFT": {1: "dft_length", 2: "axis"},
    "Expand": {1: "shape"},
    "HammingWindow": {0: "size"},
    "HannWindow": {0: "size"},
    "MaxUnpool": {2: "output_shape"},
    "OneHot": {1: "depth"},
    "Pad": {1: "pads", 3: "axes"},
    "Range": {0: "start", 1: "limit", 2: "delta"},
    "Reshape": {1: "shape"},
    "Resize": {2: "scales", 3: "sizes"},
    "STFT": {1: "frame_step", 3: "frame_length"},
    "Slice": {1: "starts", 2: "ends", 3: "axes", 4: "steps"},
    "Split": {1: "split"},
    "Squeeze": {1: "axes"},
    "Tile": {1: "repeats"},
    "TopK": {1: "K"},
    "Unsqueeze": {1: "axes"},
    "Upsample": {1: "scales"},
    **{
        f"Reduce{what}": {1: "axes"}
        for what in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    },
}
"""Operator -> inputs whose values decide shapes."""


def check_sizes(model: onnx.ModelProto) -> None:
    """Raise ModelError naming every node of `model` whose result's shape depends on values of the network's inputs.

    All shapes are known, nodes are in order.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    varying = {value.name for value in model.graph.input} - constants
    faults = []
    for node in model.graph.node:
        if not node.domain:
            faults += [
                _fault(node, name) for at, name in _SIZES.get(node.op_type, {}).items() if _reads(node, at, varying)
            ]
        if node.op_type not in _SHAPE_ALONE and varying.intersection(node.input):
            varying.update(node.output)
    raise_faults(faults)


def _reads(node: onnx.NodeProto, place: int, varying: set[str]) -> bool:
    return place < len(node.input) and node.input[place] in varying


def _fault(node: onnx.NodeProto, what: str) -> str:
    return (
        f"node {shortened(node.name or node.output[0], 80)!r} ({node.op_type}): its input {what!r} depends on an input "
        f"of the network, so that shapes are known only at run time. Export with {what!r} as a constant."
    )
