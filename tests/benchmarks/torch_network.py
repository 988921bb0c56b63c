"""A network for torch, made from its ONNX graph after BatchNormalization was folded: what the MobileDets consist of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Operation = Callable[[list[Any]], Any]


def torch_function(model: onnx.ModelProto, device: str, half: bool) -> Callable[[Any], tuple[Any, ...]]:
    """The network as a function of the picture on `device`, uint8 [1, H, W, 3], to its outputs, in float32.

    half: weights and activations in float16. Activations are channels-last. Raises ValueError for an operator that no
    MobileDet has.
    """
    import torch

    dtype = torch.float16 if half else torch.float32
    constants = {item.name: _constant(item, device, dtype) for item in model.graph.initializer}
    steps = [(_operation(node, dtype), list(node.input), node.output[0]) for node in model.graph.node]
    image, outputs = model.graph.input[0].name, [item.name for item in model.graph.output]

    def run(picture: Any) -> tuple[Any, ...]:
        values = {**constants, image: picture}
        for operation, inputs, output in steps:
            values[output] = operation([values[name] if name else None for name in inputs])
        return tuple(values[name].float() for name in outputs)

    return run


def _constant(item: onnx.TensorProto, device: str, dtype: Any) -> Any:
    import torch

    tensor = torch.from_numpy(np.array(numpy_helper.to_array(item))).to(device)
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.to(dtype)
    return tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _operation(node: onnx.NodeProto, dtype: Any) -> Operation:
    import torch
    from torch.nn import functional

    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "Conv":
        return _convolution(attributes)
    made: dict[str, Operation] = {
        "Cast": lambda x: x[0].to(dtype),
        "Transpose": lambda x: x[0].permute(*attributes["perm"]),
        "Mul": lambda x: x[0] * x[1],
        "Add": lambda x: x[0] + x[1],
        "Clip": lambda x: torch.clamp(x[0], x[1], x[2]),
        "Relu": lambda x: torch.relu(x[0]),
        "Sigmoid": lambda x: torch.sigmoid(x[0]),
        "HardSwish": lambda x: functional.hardswish(x[0]),
        "HardSigmoid": lambda x: functional.hardsigmoid(x[0]),
        "GlobalAveragePool": lambda x: x[0].mean((2, 3), keepdim=True),
        "Reshape": lambda x: x[0].reshape(tuple(x[1].tolist())),
        "Concat": lambda x: torch.cat(x, attributes["axis"]),
        "Identity": lambda x: x[0],
    }
    if node.op_type not in made:
        raise ValueError(f"{node.op_type} is no operator of the benchmark's networks")
    return made[node.op_type]


def _convolution(attributes: dict[str, Any]) -> Operation:
    from torch.nn import functional

    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    stride, groups = tuple(attributes.get("strides", [1, 1])), attributes.get("group", 1)
    even = top == bottom and left == right

    def run(x: list[Any]) -> Any:
        source = x[0] if even else functional.pad(x[0], (left, right, top, bottom))
        bias = x[2] if len(x) > 2 else None
        return functional.conv2d(source, x[1], bias, stride, (top, left) if even else 0, groups=groups)

    return run
