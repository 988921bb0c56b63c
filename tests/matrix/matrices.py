"""What the tests of the matrix share: tiny networks, a backend that can be broken, finished rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backend import Emission
from mdcompiler.backends.null import NullBackend
from mdcompiler.matrix import BlockRow, Matrix, MatrixOptions, PairRow
from mdcompiler.module import Module
from mdcompiler.progress import Progress

TINY = """
name: {name}
input: {{height: 24, width: 24}}
blocks:
  C1: [{{kind: conv, out: 8, kernel: 3, stride: 2}}]
  C2: [{{kind: fused, out: 8, expansion: 2, kernel: 3, stride: 2}}, {{kind: ibn, out: 8, expansion: 2, kernel: 3}}]
  C3: [{{kind: ibn, out: 8, expansion: 2, kernel: 3, stride: 2}}]
head: {{levels: [C2, C3], extra: [8], classes: 2}}
"""


def tiny(folder: Path, name: str = "tiny") -> str:
    """The path of a spec that takes a moment."""
    path = folder / f"{name}.yaml"
    path.write_text(TINY.format(name=name))
    return str(path)


def options(network: str, targets: str, **changes: Any) -> MatrixOptions:
    """Of one network."""
    return MatrixOptions((network,), tuple(targets.split(",")), **{"raw": True, **changes})


def break_block(name: str, factor: float = 1.01) -> Any:
    """An `emit` for the null backend that is off by `factor` in the first convolution of the block `name`."""
    whole = NullBackend.emit

    def emit(self: NullBackend, module: Module, progress: Progress, threads: int) -> Emission:
        copy = Module.from_onnx(module.to_onnx(), module.target)
        node = next(item for item in copy.graph.nodes if item.op == "Conv" and item.name.startswith(f"{name}/"))
        weight = node.inputs[1]
        assert isinstance(weight, gs.Constant)
        weight.values = np.asarray(weight.values * np.float32(factor))
        return whole(self, copy, progress, threads)

    return emit


BAD_NAME = "<b>&\"'"
MATRIX = Matrix(
    pairs=(
        PairRow(
            network=BAD_NAME,
            target="cpu",
            precision="fp32",
            verdict="tolerance",
            outputs={"boxes": 2e-7},
            unit="ms",
            how="measured",
            arena_bytes=2048,
            file_bytes=4096,
            blocks=(BlockRow(block="C1/b0.conv", kinds=("stem",), precision="fp32", relative=1e-7, cost=0.5),),
        ),
        PairRow(
            network=BAD_NAME,
            target="dsp",
            precision="int8",
            verdict="differs",
            outputs={"boxes": 0.5},
            unit="packets",
            how="counted",
            predicted_ms=1.25,
            predicted_chip="chip",
            arena_bytes=1,
            file_bytes=3 << 20,
            blocks=(
                BlockRow(block="C1/b0.conv", kinds=("stem",), precision="int8", steps=0, cost=20.0),
                BlockRow(block="C2/b0.ibn", kinds=("pointwise",), steps=3, diverges=True, cost=30.0),
            ),
        ),
        PairRow(network=BAD_NAME, target="phone", precision="fp32", verdict="compiled only", reason="no phone | here"),
        PairRow(network="second", target="cpu", verdict="refused", reason="no such spec"),
        PairRow(network="second", target="phone", verdict="refused", reason="no such spec"),
    ),
    notes=("A note for all.",),
)
"""One row of every sort."""
