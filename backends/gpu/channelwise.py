"""What works on whole channels or single elements: means, gates, sums, activations, copies.

Memory is blocked, [C/4][P][4] with P pixels a channel, unless a function says otherwise. Sums are float32.
"""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.gpu.curves import apply_curve
from mdcompiler.backends.gpu.function import LANES, GpuFunction, both, div, lane, mod, spread, where
from mdcompiler.backends.gpu.traits import Element
from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Memory, splat

FLAT_THREADS = 128
"""Of a workgroup of a kernel that works element by element."""
_REDUCING_THREADS = 64
_SUM = "float32x4"


def write_mean(name: str, blocks: int, pixels: int, element: Element, made: Element) -> Any:
    """`name(source [blocks][pixels][4], target [blocks][4])`: the mean of every channel, of type `made`.

    A workgroup is one block.
    """
    f = GpuFunction(name, (blocks, 1), _REDUCING_THREADS)
    source, target = f.buffer("source", blocks * pixels, f"{element}x4"), f.buffer("target", blocks, f"{made}x4")
    total = f.local(1, _SUM)
    total[0] = splat(0.0, LANES)
    with f.loop(0, -(-pixels // _REDUCING_THREADS), "step") as step:
        pixel = f.let("pixel", step * _REDUCING_THREADS + f.thread)
        with f.when(pixel < pixels if pixels % _REDUCING_THREADS else True):
            total[0] = total[0] + source[f.block_x * pixels + pixel].astype(_SUM)
    shared = _reduce(f, total[0])
    with f.when(f.thread < 1):
        target[f.block_x] = (shared[0] * splat(1.0 / pixels, LANES)).astype(f"{made}x4")
    return f.finish()


def write_dense(name: str, in_blocks: int, out_blocks: int, curve: Curve, element: Element) -> Any:
    """`name(source float32 [I][4], weight [O][I][4][4], bias [O][4], target float32 [O][4])`.

    A workgroup is one output block; its threads share out the inputs. Of a weight's two fours the second is the output.
    """
    f = GpuFunction(name, (out_blocks, 1), _REDUCING_THREADS)
    source = f.buffer("source", in_blocks, _SUM)
    weight = f.buffer("weight", out_blocks * in_blocks * LANES, f"{element}x4")
    bias, target = f.buffer("bias", out_blocks, _SUM), f.buffer("target", out_blocks, _SUM)
    total = f.local(1, _SUM)
    total[0] = splat(0.0, LANES)
    with f.loop(0, -(-in_blocks // _REDUCING_THREADS), "step") as step:
        block = f.let("block", step * _REDUCING_THREADS + f.thread)
        with f.when(block < in_blocks if in_blocks % _REDUCING_THREADS else True):
            value = f.let("value", source[block], _SUM)
            for channel in range(LANES):
                row = weight[(f.block_x * in_blocks + block) * LANES + channel].astype(_SUM)
                total[0] = total[0] + spread(lane(value, channel)) * row
    shared = _reduce(f, total[0])
    with f.when(f.thread < 1):
        value = f.let("sum", shared[0] + bias[f.block_x], _SUM)
        target[f.block_x] = apply_curve(curve, value, LANES)
    return f.finish()


def _reduce(f: GpuFunction, value: Expr) -> Memory:
    """The sum of `value` over the threads, in element 0 of shared memory: halves are folded onto each other."""
    shared = f.shared(f.threads, _SUM)
    shared[f.thread] = value
    half = f.threads // 2
    while half:
        f.barrier()
        with f.when(f.thread < half):
            shared[f.thread] = shared[f.thread] + shared[f.thread + half]
        half //= 2
    f.barrier()
    return shared


def write_gate(name: str, blocks: int, pixels: int, element: Element) -> Any:
    """`name(source [blocks][pixels][4], gate float32 [blocks][4], target)`: target = source * gate."""
    count, vector = blocks * pixels, f"{element}x4"
    f = _flat(name, count)
    source, gate = f.buffer("source", count, vector), f.buffer("gate", blocks, _SUM)
    target = f.buffer("target", count, vector)
    index, inside = _index(f, count)
    with f.when(inside):
        target[index] = (source[index].astype(_SUM) * gate[div(index, pixels)]).astype(vector)
    return f.finish()


def write_add(name: str, size: int, curve: Curve, element: Element) -> Any:
    """`name(left, right, target)` over `size` elements in any equal layout."""
    f, lanes, dtype, count = _elementwise(name, size, element)
    left, right, target = (f.buffer(part, count, dtype) for part in ("left", "right", "target"))
    index, inside = _index(f, count)
    with f.when(inside):
        wide = _wide(lanes)
        total = f.let("sum", left[index].astype(wide) + right[index].astype(wide), wide)
        target[index] = apply_curve(curve, total, lanes).astype(dtype)
    return f.finish()


def write_activation(name: str, size: int, curve: Curve, element: Element) -> Any:
    """`name(source, target)` over `size` elements in any layout."""
    f, lanes, dtype, count = _elementwise(name, size, element)
    source, target = f.buffer("source", count, dtype), f.buffer("target", count, dtype)
    index, inside = _index(f, count)
    with f.when(inside):
        value = f.let("value", source[index].astype(_wide(lanes)), _wide(lanes))
        target[index] = apply_curve(curve, value, lanes).astype(dtype)
    return f.finish()


def write_pack(name: str, channels: int, pixels: int, element: Element) -> Any:
    """`name(source float32 [C][P], target [C/4][P][4])`; lanes beyond C become 0."""
    blocks = -(-channels // LANES)
    f = _flat(name, blocks * pixels)
    source = f.buffer("source", channels * pixels, "float32")
    target = f.buffer("target", blocks * pixels, f"{element}x4")
    index, inside = _index(f, blocks * pixels)
    with f.when(inside):
        block, pixel = f.let("block", div(index, pixels)), f.let("pixel", mod(index, pixels))
        values = []
        for number in range(LANES):
            channel = block * LANES + number
            exists = both(channel < channels) if channels % LANES else True
            value = where(exists, source[channel * pixels + pixel], tirx.const(0.0, "float32"))
            values.append(f.let("value", value, "float32"))
        target[index] = tirx.Shuffle(values, list(range(LANES))).astype(f"{element}x4")
    return f.finish()


def write_unpack(name: str, channels: int, pixels: int, element: Element) -> Any:
    """`name(source [C/4][P][4], target float32 [C][P])`."""
    blocks = -(-channels // LANES)
    f = _flat(name, blocks * pixels)
    source = f.buffer("source", blocks * pixels, f"{element}x4")
    target = f.buffer("target", channels * pixels, "float32")
    index, inside = _index(f, blocks * pixels)
    with f.when(inside):
        block, pixel = f.let("block", div(index, pixels)), f.let("pixel", mod(index, pixels))
        value = f.let("value", source[index].astype(_SUM), _SUM)
        for number in range(LANES):
            channel = block * LANES + number
            with f.when(channel < channels if channels % LANES else True):
                target[channel * pixels + pixel] = lane(value, number)
    return f.finish()


def write_copy(name: str, count: int, start: int, size: int, dtype: str) -> Any:
    """`name(source, target)`: `count` elements of a flat buffer to place `start` of another of `size`."""
    f = _flat(name, count)
    source, target = f.buffer("source", count, dtype), f.buffer("target", size, dtype)
    index, inside = _index(f, count)
    with f.when(inside):
        target[start + index] = source[index]
    return f.finish()


def _elementwise(name: str, size: int, element: Element) -> tuple[GpuFunction, int, str, int]:
    """A flat kernel over `size` elements: in vectors of four, or one by one where they do not divide."""
    lanes = 1 if size % LANES else LANES
    count = size // lanes
    return _flat(name, count), lanes, element if lanes == 1 else f"{element}x{lanes}", count


def _wide(lanes: int) -> str:
    return "float32" if lanes == 1 else f"float32x{lanes}"


def _flat(name: str, count: int) -> GpuFunction:
    """A kernel with a thread for each of `count` elements."""
    return GpuFunction(name, (-(-count // FLAT_THREADS), 1), FLAT_THREADS)


def _index(f: GpuFunction, count: int) -> tuple[Expr, Expr]:
    """The element of the thread, and whether there is one."""
    index = f.let("index", f.block_x * f.threads + f.thread)
    return index, index < count if count % f.threads else True
