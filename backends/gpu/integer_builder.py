"""What all lowerings of integer kernels share: buffers of words, constants and launches of one program."""

from __future__ import annotations

from dataclasses import dataclass

from mdcompiler.backends.clib.integer_chain import Array
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.gpu.program_builder import WORD_BYTES, Builder
from mdcompiler.backends.gpu.traits import Dot4, GpuTraits
from mdcompiler.kernel import Kernel


@dataclass(frozen=True)
class IntegerBuilder:
    """Adds to the program of `base`, in words."""

    base: Builder

    @property
    def traits(self) -> GpuTraits:
        return self.base.traits

    @property
    def dot(self) -> Dot4:
        return self.traits.dot4

    def buffer(self, name: str, words: int) -> str:
        """Memory of `words` int32 for a result; what leaves the network has its own."""
        return self.base.buffer(name, words * WORD_BYTES)

    def constant(self, kernel: Kernel, role: str, values: Array) -> str:
        """A constant of one kernel; role: what it is, unique within the kernel."""
        return self.base.constant(kernel, role, values)

    def call(self, kernel: Kernel, function: FunctionSource, reads: tuple[str, ...], target: str) -> None:
        """One launch."""
        self.base.launch(kernel, function, reads, target)
