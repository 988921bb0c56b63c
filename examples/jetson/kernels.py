"""What every kernel of an artifact for an NVIDIA GPU takes of a multiprocessor.

python kernels.py DIR      # the directory that `mdc compile --target jetson-orin -o DIR` wrote
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdcompiler.artifact import open_artifact

REGISTERS = 65536
LIMITS = {"sm_72": (2048, 96), "sm_87": (1536, 164), "sm_90": (2048, 228)}
"""Threads and KiB of shared memory of a multiprocessor: CUDA C Programming Guide, "Technical Specifications"."""


def resident_threads(kernel: Mapping[str, Any], arch: str) -> int:
    """How many threads of a kernel a multiprocessor holds at once."""
    threads, shared_kib = LIMITS[arch]
    blocks = [threads // kernel["threads"], REGISTERS // (kernel["registers"] * kernel["threads"])]
    if kernel["shared_bytes"]:
        blocks.append(shared_kib * 1024 // kernel["shared_bytes"])
    return int(min(blocks) * kernel["threads"])


def table(facts: Mapping[str, Any]) -> str:
    """One line a kernel."""
    lines = [f"{'kernel':36} {'blocks':>7} {'threads':>7} {'registers':>9} {'shared':>7} {'spills':>6} {'resident':>8}"]
    for symbol, kernel in facts["kernels_on_gpu"].items():
        x, y, z = kernel["grid"]
        lines.append(
            f"{symbol:36} {x * y * z:7} {kernel['threads']:7} {kernel['registers']:9} {kernel['shared_bytes']:7} "
            f"{kernel['spill_bytes']:6} {resident_threads(kernel, facts['arch']):8}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(open_artifact(Path(sys.argv[1])).manifest.facts))
