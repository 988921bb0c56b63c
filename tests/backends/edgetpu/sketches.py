"""Networks of other shapes than our detectors', quantized for the Edge TPU."""

from __future__ import annotations

from collections.abc import Mapping

from mdcompiler.backends.edgetpu.backend import EdgeTpuBackend
from mdcompiler.conformance.trial import prepare
from mdcompiler.module import Module
from mdcompiler.target import find_target
from tests.graphs import Sketch


def quantized_sketch(net: Sketch, *outputs: str, target: str = "edgetpu") -> Module:
    """The finished sketch after every pass, quantized by the ranges of one seeded input."""
    return prepare(EdgeTpuBackend(), find_target(target), net.model(*outputs))


def one_conv(channels: tuple[int, int] = (8, 8), kernel: int = 3, size: int = 9, **attributes: object) -> Sketch:
    """`x` [1, C, size, size + 2] through one convolution, `a/conv`."""
    net = Sketch()
    net.conv("a", net.input("x", [1, channels[0], size, size + 2]), channels, kernel, bias=True, **attributes)
    return net


PADDINGS: Mapping[str, tuple[Sketch, list[str]]] = {
    "same": (one_conv(strides=[2, 2], size=9), ["CONV_2D"]),
    "same, odd": (one_conv(pads=[0, 1, 1, 1], strides=[2, 2], size=8), ["PAD", "CONV_2D"]),
    "valid": (one_conv(pads=[0, 0, 0, 0]), ["CONV_2D"]),
    "neither": (one_conv(pads=[2, 0, 1, 3]), ["PAD", "CONV_2D"]),
    "symmetric": (one_conv(pads=[1, 1, 1, 1], strides=[2, 2], size=8), ["PAD", "CONV_2D"]),
    "dilated": (one_conv(pads=[2, 2, 2, 2], dilations=[2, 2]), ["CONV_2D"]),
    "depthwise": (one_conv(kernel=5, group=8), ["DEPTHWISE_CONV_2D"]),
    "depthwise, twice the channels": (one_conv((4, 8), group=4), ["DEPTHWISE_CONV_2D"]),
    "one channel": (one_conv((8, 1), kernel=1), ["CONV_2D"]),
}
"""Convolution -> its sketch and the operators it becomes."""
