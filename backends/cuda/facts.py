"""What the manifest says of a network on the GPU: memory, and every kernel's resources as ptxas reports them."""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.cuda.costs import FACT
from mdcompiler.backends.cuda.cuda_source import CudaSource
from mdcompiler.backends.gpu.device_program import DeviceCopy
from mdcompiler.target import Target


def device_facts(source: CudaSource, target: Target) -> dict[str, Any]:
    """Sizes in bytes. `kernels_on_gpu`: symbol -> launches, threads, registers, shared memory and spills."""
    device = source.device
    most = {
        "most_registers": max((kernel.resources.registers for kernel in source.kernels.values()), default=0),
        "most_shared_bytes": max((kernel.resources.shared_bytes for kernel in source.kernels.values()), default=0),
        "spill_bytes": sum(kernel.resources.spill_bytes for kernel in source.kernels.values()),
    }
    return {
        "arch": str(target.llvm["arch"]),
        "arena_bytes": device.plan.arena_bytes,
        "arena_lower_bound_bytes": device.plan.lower_bound_bytes,
        "arena_share_of_l2": round(device.plan.arena_bytes / target.l2_bytes, 3),
        "constants_bytes": source.constants_bytes,
        "pinned_bytes": device.pinned_bytes,
        "kernel_functions": len(source.kernels),
        "launches": sum(not isinstance(step, DeviceCopy) for step in device.steps),
        "copies": sum(isinstance(step, DeviceCopy) for step in device.steps),
        "shared_bytes_allowed": int(target.llvm.get("max_shared_memory_per_block", 49152)),
        **most,
        FACT: _bytes_moved(source),
        "kernels_on_gpu": {
            symbol: {"grid": list(kernel.grid), "threads": kernel.threads, **kernel.resources.as_dict()}
            for symbol, kernel in sorted(source.kernels.items())
        },
    }


def _bytes_moved(source: CudaSource) -> dict[str, int]:
    """Kernel -> bytes that its launches read and write, each buffer counted once a launch."""
    moved: dict[str, int] = {}
    for step in source.device.steps:
        if isinstance(step, DeviceCopy):
            size = 2 * step.size_bytes
        else:
            size = sum(_size(source, name) for name in (*step.reads, *step.writes))
        moved[step.kernel] = moved.get(step.kernel, 0) + size
    return moved


def _size(source: CudaSource, name: str) -> int:
    device = source.device
    constant = device.program.constants.get(name)
    return int(constant.nbytes) if constant is not None else device.sizes[name]
