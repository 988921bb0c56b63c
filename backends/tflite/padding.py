"""Which of TFLite's two paddings a convolution has."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs


def tflite_padding(conv: gs.Node, kernel: Sequence[int], size: Sequence[int]) -> str | None:
    """SAME or VALID, or None when the padding of `conv` is neither.

    kernel, size: of the window and of the input, (height, width). SAME adds before and after so that the output has
    ceil(size / stride) rows, the larger half after (tensorflow/lite/kernels/padding.h).
    """
    pads = [int(pad) for pad in conv.attrs.get("pads", [0, 0, 0, 0])]
    strides, dilations = (conv.attrs.get(name, [1, 1]) for name in ("strides", "dilations"))
    same = [_same(*each) for each in zip(size, kernel, strides, dilations, strict=True)]
    if [(pads[0], pads[2]), (pads[1], pads[3])] == same:
        return "SAME"
    return "VALID" if not any(pads) else None


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding before and after along one axis."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2
