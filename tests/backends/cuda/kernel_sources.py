"""A kernel for tests of the runtime: it goes through shared memory and a barrier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.gpu.function import GpuFunction

THREADS = 64
ELEMENTS = 256
"""Of four float32 each."""


@dataclass(frozen=True)
class Mirror:
    """Every group of 64 vectors reversed and doubled."""

    symbol: str = "mirror"

    def write(self) -> Any:
        f = GpuFunction(self.symbol, grid=(ELEMENTS // THREADS, 1), threads=THREADS)
        source, target = f.buffer("source", ELEMENTS, "float32x4"), f.buffer("target", ELEMENTS, "float32x4")
        shared = f.shared(THREADS)
        index = f.block_x * THREADS + f.thread
        shared[f.thread] = source[index]
        f.barrier()
        target[index] = shared[THREADS - 1 - f.thread] + shared[THREADS - 1 - f.thread]
        return f.finish()


def mirrored(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `Mirror` computes."""
    return 2 * values.reshape(-1, THREADS, 4)[:, ::-1].reshape(values.shape)
