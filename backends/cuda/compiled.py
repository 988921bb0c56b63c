"""One compiled kernel, as it travels from the process that compiled it and rests in the cache."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from mdcompiler.backends.cuda.ptxas import Resources

Extents = tuple[int, int, int]


@dataclass(frozen=True)
class CompiledKernel:
    """code: CUDA C; ptx: of that alone. grid: blocks, block: threads. resources: by ptxas."""

    symbol: str
    code: str
    ptx: str
    grid: Extents
    block: Extents
    resources: Resources

    @property
    def threads(self) -> int:
        """Of one block."""
        x, y, z = self.block
        return x * y * z

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> CompiledKernel:
        """What `to_bytes` wrote."""
        fields = json.loads(content)
        grid, block = (_extents(fields.pop(name)) for name in ("grid", "block"))
        return cls(**{**fields, "grid": grid, "block": block, "resources": Resources(**fields["resources"])})


def _extents(values: list[int]) -> Extents:
    x, y, z = values
    return x, y, z
