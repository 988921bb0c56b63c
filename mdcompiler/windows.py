"""The window of a convolution or pooling of any rank, and what each of its taps sees."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """kernel, stride, dilation, out: one number an axis, out of the result; begin, end: padding in front and behind."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    def taps(self, padded: Array) -> Iterator[Array]:
        """What every tap reads of `padded` [n, c, *extents], as [n, c, *out], the last axis of the kernel fastest."""
        for tap in itertools.product(*map(range, self.kernel)):
            starts = [position * step for position, step in zip(tap, self.dilation, strict=True)]
            cut = [
                slice(start, start + (count - 1) * stride + 1, stride)
                for start, count, stride in zip(starts, self.out, self.stride, strict=True)
            ]
            yield padded[(slice(None), slice(None), *cut)]

    def padded(self, x: Array, value: float) -> Array:
        """`x` with its padding, and as much behind it as the last window of a rounded-up size reads."""
        reach = [
            (count - 1) * stride + (taps - 1) * step + 1
            for count, stride, taps, step in zip(self.out, self.stride, self.kernel, self.dilation, strict=True)
        ]
        behind = [
            max(end, size - begin - extent)
            for end, size, begin, extent in zip(self.end, reach, self.begin, x.shape[2:], strict=True)
        ]
        pads = [(0, 0), (0, 0), *zip(self.begin, behind, strict=True)]
        return np.pad(x, pads, constant_values=value) if any(map(any, pads)) else x


def window_of(x: Array, kernel: Sequence[int], attributes: Mapping[str, Any]) -> Window:
    """The window that a Conv or pooling node moves over x [n, c, *extents]; attributes: the node's."""
    rank = len(kernel)
    stride = tuple(attributes.get("strides") or [1] * rank)
    dilation = tuple(attributes.get("dilations") or [1] * rank)
    reach = [(taps - 1) * step + 1 for taps, step in zip(kernel, dilation, strict=True)]
    pads = attributes.get("pads") or [0] * 2 * rank
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = [0] * 2 * rank
    if mode.startswith("SAME"):
        needed = [
            max((math.ceil(extent / step) - 1) * step + size - extent, 0)
            for extent, step, size in zip(x.shape[2:], stride, reach, strict=True)
        ]
        small, large = [total // 2 for total in needed], [total - total // 2 for total in needed]
        pads = small + large if mode == "SAME_UPPER" else large + small
    begin, end = tuple(pads[:rank]), tuple(pads[rank:])
    spans = [sum(parts) for parts in zip(x.shape[2:], begin, end, [-size for size in reach], strict=True)]
    out = [_count(span, step, bool(attributes.get("ceil_mode"))) for span, step in zip(spans, stride, strict=True)]
    if attributes.get("ceil_mode"):  # a window that begins in the padding behind the picture is none
        out = [
            count - ((count - 1) * step >= extent + front)
            for count, step, extent, front in zip(out, stride, x.shape[2:], begin, strict=True)
        ]
    return Window(tuple(kernel), stride, dilation, begin, end, tuple(out))


def _count(span: int, stride: int, round_up: bool) -> int:
    return (-(-span // stride) if round_up else span // stride) + 1
