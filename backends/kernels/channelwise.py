"""What works on whole channels or single elements: means, gates, sums, activations, copies.

Memory is blocked [C/v][P][v], P pixels a channel, unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, splat

_MEAN_REGISTERS = 4
_VECTOR_BYTES = 16
"""Of the smallest vectors."""
_DENSE_REGISTERS = 8
FLAT_CHUNK = 1024
"""Elements one task of a flat elementwise kernel handles."""


def write_mean(name: str, blocks: int, pixels: int, lanes: int) -> tirx.PrimFunc:
    """`name(source [blocks][pixels][v], target [blocks][v], begin, end)`: the mean of every channel.

    Four partial sums hide the latency of the addition; a task is one block.
    """
    f = Function(name)
    source = f.buffer("source", blocks * pixels * lanes)
    target = f.buffer("target", blocks * lanes)
    with f.range() as block:
        sums = [f.register(lanes) for _ in range(min(_MEAN_REGISTERS, pixels))]
        for register in sums:
            register.set(splat(0.0, lanes))
        steps, rest = divmod(pixels, len(sums))
        with f.loop(0, steps, "step") as step:
            for i, register in enumerate(sums):
                index = (block * pixels + step * len(sums) + i) * lanes
                register.set(register.get() + source.vector(index, lanes))
        for i in range(rest):
            index = (block * pixels + steps * len(sums) + i) * lanes
            sums[i].set(sums[i].get() + source.vector(index, lanes))
        total = sums[0].get()
        for register in sums[1:]:
            total = total + register.get()
        target.store(block * lanes, lanes, total * splat(1.0 / pixels, lanes))
    return f.finish()


def write_dense(name: str, in_channels: int, out_blocks: int, lanes: int, activation: Curve) -> tirx.PrimFunc:
    """`name(source [C], weight [C][O], bias [O], target [O], begin, end)`, O = out_blocks * v.

    A task is eight output blocks, so that eight sums share each broadcast input.
    """
    f = Function(name)
    width = out_blocks * lanes
    source = f.buffer("source", -(-in_channels // lanes) * lanes)
    weight = f.buffer("weight", in_channels * width)
    bias = f.buffer("bias", width)
    target = f.buffer("target", width)
    full, rest = divmod(out_blocks, _DENSE_REGISTERS)

    def outputs(first: Expr, count: int) -> None:
        sums = [f.register(lanes) for _ in range(count)]
        for i, register in enumerate(sums):
            register.set(bias.vector((first + i) * lanes, lanes))
        with f.loop(0, in_channels, "c") as c:
            for i, register in enumerate(sums):
                row = weight.vector(c * width + (first + i) * lanes, lanes)
                register.set(register.get() + splat(source[c], lanes) * row)
        for i, register in enumerate(sums):
            target.store((first + i) * lanes, lanes, activation.apply(register.get(), lanes))

    with f.range() as task:
        with f.when(task < full if rest else True):
            if full:
                outputs(task * _DENSE_REGISTERS, _DENSE_REGISTERS)
        if rest:
            with f.when(task == full if full else True):
                outputs(full * _DENSE_REGISTERS, rest)
    return f.finish()


def dense_tasks(out_blocks: int) -> int:
    """Iterations of the outermost loop of `write_dense`."""
    return -(-out_blocks // _DENSE_REGISTERS)


def write_gate(name: str, blocks: int, pixels: int, lanes: int) -> tirx.PrimFunc:
    """`name(source [blocks][pixels][v], gate [blocks][v], target, begin, end)`: target = source * gate."""
    f = Function(name)
    source = f.buffer("source", blocks * pixels * lanes)
    gate = f.buffer("gate", blocks * lanes)
    target = f.buffer("target", blocks * pixels * lanes)
    with f.range() as block, f.loop(0, pixels, "pixel") as pixel:
        index = (block * pixels + pixel) * lanes
        target.store(index, lanes, source.vector(index, lanes) * gate.vector(block * lanes, lanes))
    return f.finish()


def write_scale_weights(name: str, tiles: int, channels: int, width: int, lanes: int) -> tirx.PrimFunc:
    """`name(weight [T][C][W], factor [C], target [T][C][W], begin, end)`: target = weight * factor. A task is one T."""
    f = Function(name)
    weight = f.buffer("weight", tiles * channels * width)
    factor = f.buffer("factor", -(-channels // lanes) * lanes)
    target = f.buffer("target", tiles * channels * width)
    with f.range() as tile, f.loop(0, channels, "c") as c:
        scale = splat(factor[c], lanes)
        for start in range(0, width, lanes):
            index = (tile * channels + c) * width + start
            target.store(index, lanes, weight.vector(index, lanes) * scale)
    return f.finish()


def write_add(name: str, size: int, lanes: int, activation: Curve) -> tirx.PrimFunc:
    """`name(left, right, target, begin, end)` over `size` elements in any equal layout."""
    f = Function(name)
    left, right, target = (f.buffer(part, size, alignment=4) for part in ("left", "right", "target"))

    def add(index: Expr, width: int) -> None:
        total = left.vector(index, width) + right.vector(index, width)
        target.store(index, width, activation.apply(total, width))

    over_elements(f, size, lanes, add)
    return f.finish()


def write_activation(name: str, size: int, lanes: int, activation: Curve) -> tirx.PrimFunc:
    """`name(source, target, begin, end)` over `size` elements in any layout; may work in place."""
    f = Function(name)
    source, target = f.buffer("source", size, alignment=4), f.buffer("target", size, alignment=4)

    def apply(index: Expr, width: int) -> None:
        target.store(index, width, activation.apply(source.vector(index, width), width))

    over_elements(f, size, lanes, apply)
    return f.finish()


def flat_tasks(size: int) -> int:
    """Iterations of the outermost loop of an elementwise kernel over `size` elements."""
    return -(-size // FLAT_CHUNK)


def over_elements(f: Function, size: int, lanes: int, body: Callable[[Expr, int], None]) -> None:
    """Call `body(index, width)` for all elements: whole vectors, then what is left one by one."""
    vectors, rest = divmod(size, lanes)
    per_task = FLAT_CHUNK // lanes
    with f.range() as task:
        whole = size % FLAT_CHUNK == 0  # else the last task has fewer vectors, or none
        last = (task + 1) * per_task if whole else tirx.min(vectors, (task + 1) * per_task)
        if vectors:
            with f.loop(task * per_task, f.let("last", last), "vector") as vector:
                body(vector * lanes, lanes)
        if rest:
            with f.when(task == flat_tasks(size) - 1), f.loop(vectors * lanes, size, "element") as element:
                body(element, 1)


def write_preprocess(name: str, size: int, scale: float, offset: float, lanes: int) -> tirx.PrimFunc:
    """`name(image uint8, target float32, begin, end)`: target = image * scale + offset, layout unchanged."""
    f = Function(name)
    image = f.buffer("image", size, "uint8", alignment=1)
    target = f.buffer("target", size, alignment=4)

    def convert(index: Expr, width: int) -> None:
        dtype = "float32" if width == 1 else f"float32x{width}"
        value = image.vector(index, width).astype(dtype)
        target.store(index, width, value * splat(scale, width) + splat(offset, width))

    # Four bytes are loaded and widened no cheaper than the sixteen of a vector.
    over_elements(f, size, max(lanes, _VECTOR_BYTES), convert)
    return f.finish()


def write_pack(name: str, channels: int, pixels: int, lanes: int) -> tirx.PrimFunc:
    """`name(source [C][P], target [C/v][P][v], begin, end)`; lanes beyond C become 0. A task is one block."""
    f = Function(name)
    source = f.buffer("source", channels * pixels, alignment=4)
    target = f.buffer("target", -(-channels // lanes) * pixels * lanes)
    blocks, rest = divmod(channels, lanes)

    def block_of(block: Expr, real: int) -> None:
        with f.loop(0, pixels, "pixel") as pixel:
            for lane in range(lanes):
                value = source[(block * lanes + lane) * pixels + pixel] if lane < real else tirx.const(0.0, "float32")
                target[(block * pixels + pixel) * lanes + lane] = value

    with f.range() as block:
        _short_last(f, block, blocks, rest, lanes, block_of)
    return f.finish()


def write_unpack(name: str, channels: int, pixels: int, lanes: int) -> tirx.PrimFunc:
    """`name(source [C/v][P][v], target [C][P], begin, end)`. A task is one block."""
    f = Function(name)
    source = f.buffer("source", -(-channels // lanes) * pixels * lanes)
    target = f.buffer("target", channels * pixels, alignment=4)
    blocks, rest = divmod(channels, lanes)

    def block_of(block: Expr, real: int) -> None:
        for lane in range(real):
            with f.loop(0, pixels, "pixel") as pixel:
                target[(block * lanes + lane) * pixels + pixel] = source[(block * pixels + pixel) * lanes + lane]

    with f.range() as block:
        _short_last(f, block, blocks, rest, lanes, block_of)
    return f.finish()


def _short_last(f: Function, block: Expr, full: int, rest: int, lanes: int, body: Callable[[Expr, int], None]) -> None:
    """Call `body(block, lanes)` for the full blocks and `body(block, rest)` for a short last one."""
    if full:
        with f.when(block < full if rest else True):
            body(block, lanes)
    if rest:
        with f.when(block == full if full else True):
            body(block, rest)
