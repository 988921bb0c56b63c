"""The tables of the generated C: launches, where their pointers point, and what is copied before and after."""

from __future__ import annotations

from collections.abc import Sequence

from mdcompiler.backends.clib.program import Call
from mdcompiler.backends.cuda.cuda_source import CudaSource, quote
from mdcompiler.backends.gpu.device_program import DeviceCopy
from mdcompiler.errors import InternalError

MOST_POINTERS = 64
"""MDC_CUDA_MOST_POINTERS in the runtime."""


class Tables:
    """Rows of the tables, as C initializers."""

    def __init__(self, source: CudaSource) -> None:
        self.source = source
        self.places: list[str] = []
        self._functions = {symbol: index for index, symbol in enumerate(source.kernels)}
        self._kernels = {name: index for index, name in enumerate(source.kernel_names)}
        self.launches = [self._launch(step) for step in source.device.steps]

    def transfers(self, names: Sequence[str]) -> list[str]:
        """Between pinned memory and the arena."""
        device = self.source.device
        return [f"{{{device.pinned[name]}, {device.plan.offsets[name]}, {device.sizes[name]}}}" for name in names]

    def _launch(self, step: Call | DeviceCopy) -> str:
        """The row of one step; its places are added to theirs."""
        first = len(self.places)
        self.places += self._copied(step) if isinstance(step, DeviceCopy) else self._pointers(step)
        count, kernel = len(self.places) - first, self._kernels[step.kernel]
        if isinstance(step, DeviceCopy):
            row = f"-1, {kernel}, {{0}}, {{0}}, {first}, {count}, {step.size_bytes}"
        else:
            row = f"{self._function(step)}, {kernel}, {self._extents(step)}, {first}, {count}, 0"
        return f"{{{row}}} /* {quote(step.kernel)} */"

    def _function(self, call: Call) -> int:
        assert call.function is not None
        return self._functions[call.function.symbol]

    def _extents(self, call: Call) -> str:
        """Grid and block."""
        assert call.function is not None
        kernel = self.source.kernels[call.function.symbol]
        return ", ".join("{" + ", ".join(map(str, extents)) + "}" for extents in (kernel.grid, kernel.block))

    def _copied(self, copy: DeviceCopy) -> list[str]:
        return [self._place(copy.source, copy.source_offset), self._place(copy.target, copy.target_offset)]

    def _pointers(self, call: Call) -> list[str]:
        names = (*call.reads, *call.writes, *((call.scratch,) if call.scratch else ()))
        if len(names) > MOST_POINTERS:
            raise InternalError(f"{call.kernel} has {len(names)} pointers; the runtime passes {MOST_POINTERS}.")
        return [self._place(name, 0) for name in names]

    def _place(self, name: str, offset: int) -> str:
        constants, device = self.source.constants, self.source.device
        if name in constants:
            return f"{{{constants[name] + offset}, 1}}"
        root, inner = device.aliases.place(name)
        if root not in device.plan.offsets:
            raise InternalError(f"buffer {name} has no place in the GPU's memory.")
        return f"{{{device.plan.offsets[root] + inner + offset}, 0}}"
