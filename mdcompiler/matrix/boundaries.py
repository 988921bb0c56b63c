"""The tensors between blocks, made outputs of the network, so that any backend gives them.

A network with more outputs is compiled differently (fewer kernels share memory, none runs over two blocks at once),
so this build is made beside the one that is shipped: it finds the block at fault, and does not replace the check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.tolerance import FLOAT_TOLERANCE, relative_difference

Arrays = Mapping[str, NDArray[Any]]


def boundaries(graph: gs.Graph) -> dict[str, list[str]]:
    """Block -> tensors that another block reads or that leave the network, in order of execution.

    What the post-processing makes is left out: detections are compared as a set, not element by element.
    """
    found = kernels(graph)
    ends = {tensor.name for tensor in graph.outputs}
    readers: dict[str, set[str]] = {}
    for kernel in found:
        for tensor in kernel.inputs:
            readers.setdefault(tensor.name, set()).add(kernel.block)
    result: dict[str, list[str]] = {}
    for kernel in (item for item in found if item.kind != "postprocess"):
        leaving = [t.name for t in kernel.outputs if t.name in ends or readers.get(t.name, set()) - {kernel.block}]
        result.setdefault(kernel.block, []).extend(leaving)
    return {block: names for block, names in result.items() if names}


def tapped(module: Module, taps: Mapping[str, list[str]]) -> Module:
    """A copy of `module` whose outputs are these tensors alone: detections have their own comparison."""
    copy = Module.from_onnx(module.to_onnx(), module.target)
    tensors = copy.graph.tensors()
    wanted = [name for names in taps.values() for name in names]
    copy.graph.outputs = [tensors[name] for name in dict.fromkeys(wanted)]
    copy.graph.cleanup()
    return copy


@dataclass(frozen=True)
class Difference:
    """Of a block's results to the reference's. steps: of integers; relative: of floats; None where there is none.

    allowed: steps that are no fault; tolerance: what a float may differ by.
    """

    steps: int | None = None
    relative: float | None = None
    allowed: int = 0
    tolerance: float = FLOAT_TOLERANCE

    @property
    def diverges(self) -> bool:
        """Whether it is more than allowed."""
        return (self.steps or 0) > self.allowed or (self.relative or 0.0) > self.tolerance


def difference(names: list[str], got: Arrays, want: Arrays, tolerance: float = FLOAT_TOLERANCE) -> Difference:
    """The largest ones of the tensors called `names`. tolerance: of floats, relative to the range."""
    pairs = [(got[name], want[name]) for name in names if name in got and name in want]
    integers = (_steps(*pair) for pair in pairs if np.issubdtype(pair[1].dtype, np.integer))
    floats = (relative_difference(*pair) for pair in pairs if np.issubdtype(pair[1].dtype, np.floating))
    return Difference(max(integers, default=None), max(floats, default=None), tolerance=tolerance)


def _steps(got: NDArray[Any], want: NDArray[Any]) -> int:
    """Largest difference of two integer arrays; more than any type holds where their shapes differ."""
    if got.shape != want.shape:
        return int(np.iinfo(np.int32).max)
    return int(np.abs(got.astype(np.int64) - want.astype(np.int64)).max(initial=0))
