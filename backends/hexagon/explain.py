"""The memory plan of a network as `mdc explain` shows it."""

from __future__ import annotations

from collections.abc import Iterator

from mdcompiler.backend import MemoryRow
from mdcompiler.backends.hexagon.emit import block_memory, plan_model
from mdcompiler.backends.hexagon.limits import why_not
from mdcompiler.backends.hexagon.vtcm import BlockMemory
from mdcompiler.kernel import kernels
from mdcompiler.module import Module


def memory_rows(module: Module) -> list[MemoryRow]:
    """Up to three rows for each block of a placed module; nothing where a kernel has no template."""
    if any(why_not(kernel) for kernel in kernels(module.graph)):
        return []
    source, _ = plan_model(module)
    return [row for block in block_memory(module, source) for row in _rows(block)]


def _rows(block: BlockMemory) -> Iterator[MemoryRow]:
    tensors = [name for name in block.near if not name.endswith(":strip")]
    strips = f"strips of weights: {block.strips}, {block.staged_bytes} bytes copied in" if block.strips else ""
    words = ", ".join([*([strips] if strips else []), *tensors])
    yield MemoryRow(block.block, "VTCM", block.kept_bytes, block.near_bytes + 2 * block.staged_bytes, words)
    yield MemoryRow(block.block, "L2 and beyond", 0, block.far_bytes, "weights and tensors that vectors read there")
    yield MemoryRow(block.block, "L1", 0, block.scalar_bytes, "what the scalar unit reads")
