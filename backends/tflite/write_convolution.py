"""A quantized convolution as CONV_2D or DEPTHWISE_CONV_2D.

    x [1,C,H,W] * weight [O,I,kh,kw]   becomes   x [1,H,W,C], weight [O,kh,kw,I] or depthwise [1,kh,kw,O]

TFLite knows two paddings only. What is neither gets a PAD of its own, which fills with the zero point.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from mdcompiler.backends.tflite.activations import fused_activation
from mdcompiler.backends.tflite.file_builder import FileBuilder
from mdcompiler.backends.tflite.padding import tflite_padding
from mdcompiler.backends.tflite.storage import CHANNELS_LAST
from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.steps import Step
from mdcompiler.weights.quantization import Quantization


def write_convolution(builder: FileBuilder, step: Step) -> None:
    """Append the operators of `step`, a conv. Raises UnsupportedError for a grouped convolution."""
    assert step.node is not None, "only requantize has no node"
    assert step.weights is not None, "read_steps gives every conv its weights"
    kind = convolution_kind(step.node, step.weights.weight.shape, step.inputs[0].shape[1])
    if kind is None:
        raise UnsupportedError(
            f"writing {step.name} as TFLite: a convolution in {step.node.attrs.get('group')} groups of several "
            "channels has no operator there. Use one group, or one for each channel."
        )
    source = builder.read(step.inputs[0].name, step.inputs[0].shape, CHANNELS_LAST)
    padding, source = _padded(builder, step, source)
    weight, bias = _constants(builder, step, depthwise=kind == "DEPTHWISE_CONV_2D")
    strides, dilations = (step.node.attrs.get(name, [1, 1]) for name in ("strides", "dilations"))
    builder.operate(
        kind,
        [source, weight, bias],
        [builder.place(step.output)],
        stride=(int(strides[0]), int(strides[1])),
        dilation=(int(dilations[0]), int(dilations[1])),
        padding=padding,
        activation=fused_activation(step),
    )


def convolution_kind(conv: gs.Node, weight_shape: tuple[int, ...], channels: int) -> str | None:
    """The operator for `conv`, whose weights are OIHW and whose input has `channels`; None when there is none."""
    groups = int(conv.attrs.get("group", 1))
    if groups == 1:
        return "CONV_2D"
    return "DEPTHWISE_CONV_2D" if weight_shape[1] == 1 and groups == channels else None


def _constants(builder: FileBuilder, step: Step, depthwise: bool) -> tuple[int, int]:
    """The numbers of the weights and of the bias."""
    assert step.weights is not None, "the caller checked"
    rule = step.weights.quantization
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    # with one scale for all channels XNNPACK takes a depthwise convolution only along dimension 0
    axis = 3 if depthwise and rule.axis is not None else 0
    data = step.weights.weight.transpose(order).copy()
    weight = builder.add(f"{step.name}/weight", data.shape, rule.dtype, rule, data, axis)
    scales = tuple(float(scale * step.inputs[0].scale) for scale in rule.scale)
    meaning = Quantization(scales, (0,) * len(scales), "int32")
    bias = step.weights.bias
    return weight, builder.add(f"{step.name}/bias", bias.shape, "int32", meaning, bias)


def _padded(builder: FileBuilder, step: Step, source: int) -> tuple[str, int]:
    """TFLite's word for the padding, and the tensor to read: padded first when there is no word."""
    assert step.node is not None, "the caller checked"
    assert step.weights is not None, "the caller checked"
    height, width = step.inputs[0].shape[2:]
    word = tflite_padding(step.node, step.weights.weight.shape[2:], (height, width))
    if word is not None:
        return word, source
    top, left, bottom, right = (int(size) for size in step.node.attrs["pads"])
    shape = (1, height + top + bottom, width + left + right, step.inputs[0].shape[1])
    port = step.inputs[0]
    made = builder.add(f"{step.name}/padded", shape, port.dtype, port.quantization)
    sizes = builder.integers(f"{step.name}/padding", [(0, 0), (top, bottom), (left, right), (0, 0)])
    builder.operate("PAD", [source, sizes], [made])
    return "VALID", made
