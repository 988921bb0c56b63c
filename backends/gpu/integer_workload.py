"""Convolutions of bytes as data, and how they are cut for a GPU: see `integer_convolution`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_ending import PLAIN, Ending
from mdcompiler.backends.gpu.traits import Dot4
from mdcompiler.backends.kernels.geometry import Geometry


@dataclass(frozen=True)
class GpuIntegerConvolution:
    """A workload.

    source: words, or the bytes of a picture. target: words, or one element a channel at [pixel][O] after `offset` in a
    buffer of `elements`: float32 with `ending.floats`, else int32.
    """

    geometry: Geometry
    in_channels: int
    out_channels: int
    ending: Ending = PLAIN
    source: Literal["words", "picture"] = "words"
    target: Literal["words", "rows"] = "words"
    dot: Dot4 = "unpack"
    elements: int = 0
    offset: int = 0

    @property
    def in_words(self) -> int:
        return -(-self.in_channels // LANES)

    @property
    def out_words(self) -> int:
        return -(-self.out_channels // LANES)

    @property
    def steps(self) -> int:
        """Words over which each sum runs."""
        return self.geometry.taps * self.in_words

    @property
    def source_words(self) -> int:
        """Words of the input's memory."""
        if self.source == "words":
            return self.in_words * self.geometry.pixels
        return -(-self.in_channels * self.geometry.pixels // LANES)

    @property
    def is_pointwise(self) -> bool:
        return self.geometry.is_pointwise and self.source == "words"

    @property
    def moves_vectors(self) -> bool:
        """Whether four output pixels lie in one aligned vector of memory."""
        return self.geometry.out_pixels % LANES == 0

    @property
    def loads_vectors(self) -> bool:
        """Whether a load brings four pixels."""
        return self.is_pointwise and self.moves_vectors


@dataclass(frozen=True)
class IntegerTile:
    """How a workgroup is cut. A thread has 4 `quads` pixels and `words` words of output channels.

    across: threads along the pixels; down: threads along the channels. depth: words of one stage.
    """

    across: int
    down: int
    quads: int
    words: int
    depth: int

    @property
    def threads(self) -> int:
        return self.across * self.down

    @property
    def pixels(self) -> int:
        """Of a workgroup's tile."""
        return self.across * self.quads * LANES

    @property
    def out_words(self) -> int:
        """Words of output channels of a workgroup's tile."""
        return self.down * self.words

    def stages(self, work: GpuIntegerConvolution) -> int:
        """Stages of the whole sum."""
        return -(-work.steps // self.depth)

    @property
    def shared_bytes(self) -> int:
        """For both operands; tables come on top."""
        return self.depth * (self.pixels + self.out_words * LANES) * LANES
