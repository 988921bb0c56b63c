"""One step of a network as ONNX nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.known import unknown
from mdcompiler.lowering.writer import GraphWriter
from mdcompiler.spec.fields import Activation
from mdcompiler.spec.steps import Add, Conv, Shape, SqueezeExcite, Step

_ACTIVATIONS = ("none", "relu6", "relu", "hard-swish", "swish")
_GATES = ("sigmoid", "hard-sigmoid")
Weights = Mapping[str, NDArray[Any]]


def write_step(writer: GraphWriter, step: Step, weights: Weights) -> None:
    """Add the nodes of `step`; its last one makes the tensor `step.output`."""
    if isinstance(step, Conv):
        write_conv(writer, step, weights)
    elif isinstance(step, SqueezeExcite):
        _write_squeeze_excite(writer, step, weights)
    else:
        _write_add(writer, step)


def write_conv(writer: GraphWriter, step: Conv, weights: Weights) -> None:
    """Conv, BatchNormalization unless the step has a bias, and the activation."""
    for name, _ in step.weights():
        writer.constant(name, np.asarray(weights[name], np.float32))
    shape = step.output.shape
    inputs = [step.source.name, f"{step.path}/weight"]
    if step.epsilon is None:
        inputs.append(f"{step.path}/bias")
    made = writer.node(
        "Conv",
        f"{step.path}/conv",
        inputs,
        shape,
        kernel_shape=[step.kernel, step.kernel],
        strides=[step.stride, step.stride],
        pads=same_pads(step),
        group=step.groups,
    )
    if step.epsilon is not None:
        made = _write_batchnorm(writer, step, made, step.epsilon)
    write_activation(writer, step.activation, step.path, made, shape)


def same_pads(step: Conv) -> list[int]:
    """ONNX `pads` (top, left, bottom, right) of TensorFlow's SAME: the odd row and column go to the end."""
    totals = [
        max((out - 1) * step.stride + step.kernel - size, 0)
        for out, size in zip(step.output.size, step.source.size, strict=True)
    ]
    return [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]


def write_activation(writer: GraphWriter, activation: Activation, path: str, source: str, shape: Shape) -> str:
    """Add `activation` after the tensor `source`; the name of the result."""
    name = f"{path}/act"
    if activation == "relu6":
        bounds = [writer.scalar("relu6/min", 0.0), writer.scalar("relu6/max", 6.0)]
        return writer.node("Clip", name, [source, *bounds], shape)
    if activation == "relu":
        return writer.node("Relu", name, [source], shape)
    if activation == "hard-swish":
        return writer.node("HardSwish", name, [source], shape)
    if activation == "swish":
        gate = writer.node("Sigmoid", f"{path}/act_sigmoid", [source], shape)
        return writer.node("Mul", name, [source, gate], shape)
    if activation == "none":
        return source
    raise unknown(activation, f"the activation of {path}", _ACTIVATIONS)


def _write_batchnorm(writer: GraphWriter, step: Conv, source: str, epsilon: float) -> str:
    parts = [f"{step.path}/bn/{part}" for part in ("gamma", "beta", "mean", "variance")]
    inputs = [source, *parts]
    return writer.node("BatchNormalization", f"{step.path}/bn", inputs, step.output.shape, epsilon=epsilon)


def _write_squeeze_excite(writer: GraphWriter, step: SqueezeExcite, weights: Weights) -> None:
    writer.node("GlobalAveragePool", step.pooled.name, [step.source.name], step.pooled.shape)
    write_conv(writer, step.reduce, weights)
    write_conv(writer, step.expand, weights)
    gate = f"{step.path}/gate"
    if step.gate == "sigmoid":
        writer.node("Sigmoid", gate, [step.expand.output.name], step.pooled.shape)
    elif step.gate == "hard-sigmoid":
        # relu6(x + 3) / 6
        writer.node("HardSigmoid", gate, [step.expand.output.name], step.pooled.shape, alpha=1 / 6, beta=0.5)
    else:
        raise unknown(step.gate, f"the gate of {step.path}", _GATES)
    writer.node("Mul", step.output.name, [step.source.name, gate], step.output.shape)


def _write_add(writer: GraphWriter, step: Add) -> None:
    writer.node("Add", step.output.name, [step.source.name, step.shortcut.name], step.output.shape)
