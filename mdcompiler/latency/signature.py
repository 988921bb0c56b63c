"""What a block is, wherever it stands: equal signatures mean equal work, so one row of a table serves both."""

from __future__ import annotations

from mdcompiler.spec.network import PlacedBlock
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step


def signature(block: PlacedBlock) -> str:
    """The steps of `block` as text, paths and numeric constants left out.

    `pw 16>128 relu6 | dw3s2 128 relu6 | pw 128>24 @80x80`: sizes are those of the input.
    """
    height, width = _source_size(block.steps[0])
    return f"{' | '.join(map(_spell, block.steps))} @{height}x{width}"


def _source_size(step: Step) -> tuple[int, int]:
    return step.source.size


def _spell(step: Step) -> str:
    if isinstance(step, Add):
        return "add"
    if isinstance(step, SqueezeExcite):
        return f"se {step.source.channels}>{step.reduce.channels} {step.reduce.activation} {step.gate}"
    return _spell_conv(step)


def _spell_conv(step: Conv) -> str:
    stride = f"s{step.stride}" if step.stride > 1 else ""
    tail = "" if step.activation == "none" else f" {step.activation}"
    if step.depthwise:
        return f"dw{step.kernel}{stride} {step.channels}{tail}"
    word = "pw" if step.kernel == 1 else f"conv{step.kernel}"
    return f"{word}{stride} {step.source.channels}>{step.channels}{tail}"
