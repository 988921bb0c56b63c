"""The gate of a squeeze-excite moves into the weights of the pointwise convolution that reads it.

conv(x * gate, w) = conv(x, gate * w): a row of weights is scaled instead of every pixel, so the pass over the
picture is saved. Only where the scaled weights are fewer than the pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from mdcompiler.backends.clib.program import Call, Program, View
from mdcompiler.backends.kernels.sources import ChannelwiseSource, ConvolutionSource

_GATE = "gate"
_FLOAT_BYTES = 4


def fold_gates(program: Program) -> None:
    """Do it wherever a gated picture has one reader, a pointwise convolution that comes next."""
    readers = Counter(name for step in program.steps for name in _reads(step))
    for gate, convolution in list(zip(program.steps, program.steps[1:], strict=False)):
        if not (isinstance(gate, Call) and isinstance(convolution, Call)):
            continue
        gated = gate.writes[0]
        alone = readers[gated] == 1 and gated in program.sizes and convolution.reads[0] == gated
        if _is_gate(gate) and alone and _is_worth_it(convolution):
            _fold(program, gate, convolution)
    program.forget_unused_functions()


def _reads(step: Call | View) -> tuple[str, ...]:
    return (step.part, step.whole) if isinstance(step, View) else step.reads


def _is_gate(call: Call) -> bool:
    return isinstance(call.function, ChannelwiseSource) and call.function.template == _GATE


def _is_worth_it(call: Call) -> bool:
    """Scaling reads and writes a weight for each pair of channels; the gate does so for each channel and pixel."""
    source = call.function
    if not isinstance(source, ConvolutionSource) or not source.work.geometry.is_pointwise:
        return False
    return source.work.out_blocks * source.work.lanes < source.work.geometry.pixels


def _fold(program: Program, gate: Call, convolution: Call) -> None:
    source = convolution.function
    assert isinstance(source, ConvolutionSource)
    work, groups = source.work, source.tile.groups
    tiles, width = work.out_blocks // groups, groups * work.lanes
    picture, factors = gate.reads
    weight = convolution.reads[1]
    scaled = program.buffer(f"{convolution.kernel}:scaled", tiles * width * work.in_channels * _FLOAT_BYTES)
    scale = ChannelwiseSource("scale_weights", (tiles, work.in_channels, width, work.lanes))
    program.call(gate.kernel, scale, (weight, factors), (scaled,), tiles)
    scaling = program.steps.pop()
    at = program.steps.index(gate)
    program.steps[at : at + 2] = [scaling, replace(convolution, reads=(picture, scaled, *convolution.reads[2:]))]
    del program.sizes[gate.writes[0]]
