"""The few operations that every network here is made of, with their shapes.

Steps are derived from a spec once (`mdcompiler.spec.network`); lowering, weights, counts and reports
all read them, so that they cannot disagree. A step's `path` names its nodes and tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mdcompiler.spec.fields import Activation, Gate

Size = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A float32 activation: name, channels, and (height, width)."""

    name: str
    channels: int
    size: Size

    @property
    def shape(self) -> Shape:
        """NCHW, batch 1."""
        return (1, self.channels, *self.size)

    @property
    def elements(self) -> int:
        return self.channels * self.size[0] * self.size[1]


@dataclass(frozen=True)
class Conv:
    """A convolution with TensorFlow's SAME padding, then BatchNorm or bias, then an activation.

    depthwise: one filter a channel. epsilon: of the BatchNorm; None: no BatchNorm but a bias.
    """

    path: str
    source: Tensor
    channels: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    epsilon: float | None = None
    activation: Activation = "none"

    @property
    def output(self) -> Tensor:
        height, width = self.source.size
        size = (-(-height // self.stride), -(-width // self.stride))
        return Tensor(f"{self.path}/{self._last()}", self.channels, size)

    @property
    def groups(self) -> int:
        return self.channels if self.depthwise else 1

    @property
    def weight_shape(self) -> Shape:
        """OIHW."""
        return (self.channels, self.source.channels // self.groups, self.kernel, self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-adds of the convolution alone."""
        inner = self.source.channels // self.groups * self.kernel**2
        return self.output.elements * inner

    def weights(self) -> Iterator[tuple[str, Shape]]:
        """Name and shape of every tensor a checkpoint holds for this step."""
        yield f"{self.path}/weight", self.weight_shape
        if self.epsilon is None:
            yield f"{self.path}/bias", (self.channels,)
        else:
            for part in ("gamma", "beta", "mean", "variance"):
                yield f"{self.path}/bn/{part}", (self.channels,)

    def _last(self) -> str:
        if self.activation != "none":
            return "act"
        return "conv" if self.epsilon is None else "bn"


@dataclass(frozen=True)
class SqueezeExcite:
    """Scale every channel by a gate computed from the mean of all channels (arXiv 1709.01507)."""

    path: str
    source: Tensor
    reduce: Conv
    expand: Conv
    gate: Gate

    @property
    def pooled(self) -> Tensor:
        return self.reduce.source

    @property
    def output(self) -> Tensor:
        return Tensor(f"{self.path}/mul", self.source.channels, self.source.size)

    @property
    def macs(self) -> int:
        return self.reduce.macs + self.expand.macs

    def weights(self) -> Iterator[tuple[str, Shape]]:
        yield from self.reduce.weights()
        yield from self.expand.weights()


@dataclass(frozen=True)
class Add:
    """A residual: the block's input added to what it computed."""

    path: str
    source: Tensor
    shortcut: Tensor
    macs: int = 0

    @property
    def output(self) -> Tensor:
        return Tensor(self.path, self.source.channels, self.source.size)

    def weights(self) -> Iterator[tuple[str, Shape]]:
        yield from ()


Step = Conv | SqueezeExcite | Add
