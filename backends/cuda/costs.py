"""What a run would take on a chip that is not here: for every kernel the longer of its arithmetic and its traffic.

Williams, Waterman, Patterson: Roofline (CACM 2009), with the published numbers of the target's chip
(`mdcompiler/latency/chips`). The kernels do not use tensor cores, so the arithmetic is that of the CUDA cores; every
byte a launch reads or writes counts as traffic of the main memory. What is estimated so is a bound, no measurement.
"""

from __future__ import annotations

from collections.abc import Mapping

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs
from mdcompiler.latency.chip import Chip, chip_of_target

FACT = "bytes_moved"
"""Fact of the manifest: kernel -> bytes that its launches read and write."""


def estimated_costs(artifact: Artifact) -> Costs | None:
    """Microseconds of each block; None for a target whose chip has no file."""
    manifest = artifact.manifest
    chip, moved = chip_of_target(manifest.target.name), manifest.facts.get(FACT)
    if chip is None or not isinstance(moved, Mapping):
        return None
    blocks: dict[str, float] = {}
    for kernel in manifest.kernels:
        block = kernel.block or kernel.name
        size = moved.get(kernel.name, 0)
        spent = roof_us(chip, manifest.precision, kernel.macs, size if isinstance(size, int) else 0)
        blocks[block] = blocks.get(block, 0.0) + spent
    return Costs("us", "estimated", blocks)


def roof_us(chip: Chip, precision: str, macs: int, size_bytes: int) -> float:
    """Microseconds at the chip's peaks of its CUDA cores and of its memory."""
    arithmetic = macs / (chip.peaks(precision).vector_gmacs.value * 1e3)
    return max(arithmetic, size_bytes / (chip.memory_gb_s.value * 1e3))
