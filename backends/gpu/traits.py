"""What kernels and their lowering must know of a GPU: a few numbers read off the target file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mdcompiler.errors import TargetError
from mdcompiler.target import Target

Element = Literal["float32", "float16"]
Dot4 = Literal["dp4a", "packed", "unpack"]

_KINDS = ("webgpu", "cuda")
_UNLIMITED = 1 << 62


@dataclass(frozen=True)
class GpuTraits:
    """One GPU as its kernels see it. The defaults are what every WebGPU device promises (W3C WebGPU, section 3.6.2).

    element: type of activations and weights of float kernels in memory; sums are float32 always. dot4: how a dot
    product of four bytes is spelled: an instruction (`dp4a`), WGSL's `dot4I8Packed` (`packed`), or shifts and
    products (`unpack`). max_threads: of one workgroup. shared_bytes: of one workgroup. max_buffers: that one kernel
    may read and write. max_buffer_bytes: of one such buffer.
    alignment_bytes: where in the arena a buffer may start. units: multiprocessors, for the choice of tiles.
    refused: work with a tile that a compiler made badly, so that another tile is chosen.
    """

    element: Element = "float32"
    dot4: Dot4 = "unpack"
    max_threads: int = 256
    shared_bytes: int = 16384
    max_buffers: int = 8
    max_buffer_bytes: int = 128 * 1024 * 1024
    alignment_bytes: int = 256
    units: int = 8
    refused: frozenset[tuple[Any, Any]] = frozenset()

    def allows(self, work: Any, tile: Any) -> bool:
        """Whether `work` may run under `tile`, as far as is known."""
        return (work, tile) not in self.refused

    @property
    def element_bytes(self) -> int:
        return 4 if self.element == "float32" else 2


def traits_of(target: Target) -> GpuTraits:
    """The traits of a target whose `llvm` fields name the TVM kind `webgpu` or `cuda`.

    `max_num_threads` and `max_shared_memory_per_block` there override the defaults; the first of `dtypes` that is a
    float type is the type of float kernels. Raises TargetError for another kind.
    """
    fields = target.llvm
    kind = fields.get("kind")
    if kind not in _KINDS:
        raise TargetError(f"target {target.name}: its kind is {kind}; GPU backends know {' and '.join(_KINDS)}.")
    common: dict[str, Any] = {
        "element": next((dtype for dtype in target.dtypes if dtype.startswith("float")), "float32"),
        "alignment_bytes": target.alignment_bytes,
        "units": target.units,
        "max_threads": int(fields.get("max_num_threads", 256)),
    }
    shared_bytes = fields.get("max_shared_memory_per_block")
    if kind == "webgpu":
        return GpuTraits(**common, shared_bytes=int(shared_bytes or 16384), dot4="packed")
    limits: dict[str, Any] = {"max_buffers": _UNLIMITED, "max_buffer_bytes": _UNLIMITED}
    return GpuTraits(**common, shared_bytes=int(shared_bytes or 49152), dot4="dp4a", **limits)
