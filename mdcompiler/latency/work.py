"""The work of a network's operations: what a chip must compute, read and write, whatever chip it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step

_FUSED = frozenset(("none", "relu", "relu6"))


@dataclass(frozen=True)
class Work:
    """One operation that a runtime starts on its own.

    kind: regular, pointwise, depthwise or elementwise. pixels: of its output. depth: products summed into
    one output. channels: of its output. elements: activations read and written. weights: numbers of its
    filters and biases.
    """

    kind: str
    pixels: int
    depth: int
    channels: int
    elements: int
    weights: int

    @property
    def macs(self) -> int:
        """Multiply-adds; operations on elements have none."""
        return 0 if self.kind == "elementwise" else self.pixels * self.depth * self.channels


def works_of(step: Step) -> Iterator[Work]:
    """The operations of a step: clamps are part of their convolution, other activations are not."""
    if isinstance(step, Conv):
        yield _conv(step)
        if step.activation not in _FUSED:
            yield _elementwise(step.output.elements * 2)
    elif isinstance(step, SqueezeExcite):
        yield _elementwise(step.source.elements + step.pooled.elements)
        yield from works_of(step.reduce)
        yield from works_of(step.expand)
        yield _elementwise(step.pooled.elements * 2)
        yield _elementwise(step.source.elements * 2 + step.pooled.elements)
    elif isinstance(step, Add):
        yield _elementwise(step.source.elements * 3)


def _conv(step: Conv) -> Work:
    output = step.output
    depth = step.source.channels // step.groups * step.kernel**2
    kind = "depthwise" if step.depthwise else "pointwise" if step.kernel == 1 else "regular"
    elements = step.source.elements + output.elements
    pixels = output.size[0] * output.size[1]
    return Work(kind, pixels, depth, step.channels, elements, step.channels * (depth + 1))


def _elementwise(elements: int) -> Work:
    return Work("elementwise", 0, 0, 0, elements, 0)
