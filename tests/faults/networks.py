"""The network that artifacts are edited and commands are killed with: small, and yet with kernels and constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def small_network(path: Path, seed: int = 0) -> Path:
    """Two convolutions and a hard-swish on float32 [1, 8, 12, 12]. seed: of the weights."""
    generator = np.random.default_rng(seed)
    shapes = {"w1": (16, 8, 3, 3), "b1": (16,), "w2": (8, 16, 1, 1), "b2": (8,)}
    weights = [
        numpy_helper.from_array(0.2 * generator.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="stem/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="stem/act"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="head/conv"),
        helper.make_node("HardSwish", ["c2"], ["y"], name="head/act"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 12, 12])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 8, 12, 12])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
