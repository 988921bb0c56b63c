"""How much Winograd's filtering rounds in each layer of a network, on the numbers that the layer really gets.

F(4, 3) errs several times what a direct sum does. That seldom shows at the end of a network; where it does, the worst
layer is computed directly first. The filtering is repeated here in numpy's float32, tile by tile as the kernel does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mdcompiler.backend import Arrays
from mdcompiler.backends.clib.build_program import fallback_kernels
from mdcompiler.backends.kernels import read_kernel as read
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.winograd import WinogradTile
from mdcompiler.backends.kernels.winograd_matrices import TAPS, transforms
from mdcompiler.exact.windows import convolve
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module
from mdcompiler.quantization.steps import is_integer
from mdcompiler.reference import run_reference
from mdcompiler.tolerance import relative_difference

Floats = NDArray[np.float32]
_KINDS = ("head", "pointwise", "conv")
_MOST_ROWS = 32
"""Of the layer's picture that are looked at: enough patches to find the error's size."""


def winograd_kernels(module: Module, inputs: Arrays) -> list[str]:
    """Names of the kernels of a placed `module` that Winograd's filtering computes, the largest error first."""
    chosen = _chosen(module)
    if not chosen:
        return []
    model = module.to_onnx()
    known = {value.name for value in (*model.graph.output, *model.graph.input)}
    wanted = {item.source for _, item, _ in chosen}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - known))
    values = {**inputs, **run_reference(model, inputs)}
    errors = {kernel.name: _error(values[item.source], item, outputs) for kernel, item, outputs in chosen}
    return sorted(errors, key=lambda name: -errors[name])


def _chosen(module: Module) -> list[tuple[Kernel, read.ReadConvolution, int]]:
    """(kernel, what it computes, outputs of a tile) of every kernel that takes Winograd's filtering."""
    chooser, found = Chooser.open(module.target), []
    without = {kernel.name for kernel in fallback_kernels(module.graph, module.target)}
    for kernel in kernels(module.graph):
        if kernel.kind not in _KINDS or kernel.name in without or is_integer(kernel) or kernel.is_direct:
            continue
        item = read.read_convolution(kernel, module.target.lanes)
        tile = chooser.choose(item.work, kernel.name).schedule
        if isinstance(tile, WinogradTile):
            found.append((kernel, item, tile.outputs))
    return found


def _error(x: Floats, item: read.ReadConvolution, outputs: int) -> float:
    """Of a part of the layer's sums, relative to their range."""
    part = x[:, :, : _MOST_ROWS + TAPS - 1, : _MOST_ROWS + TAPS - 1]
    weight = item.weight.astype(np.float64)
    want = convolve([part.astype(np.float64), weight], {"pads": [0] * 4})
    rows, columns = (extent // outputs * outputs for extent in want.shape[2:])
    if not rows or not columns:
        return 0.0
    return relative_difference(_filtered(part, item.weight, outputs, rows, columns), want[0, :, :rows, :columns])


def _filtered(x: Floats, weight: Any, outputs: int, rows: int, columns: int) -> Floats:
    """Winograd's filtering in float32: [o, rows, columns] of x [1, c, h, w] and weight [o, c, 3, 3], unpadded."""
    source, filters, target = (np.array(matrix, np.float64).astype(np.float32) for matrix in transforms(outputs))
    size = outputs + TAPS - 1
    tiles = np.lib.stride_tricks.sliding_window_view(x[0], (size, size), axis=(1, 2))[:, ::outputs, ::outputs]
    tiles = tiles[:, : rows // outputs, : columns // outputs]
    patches = source @ tiles @ source.T
    kernels_ = filters @ weight.astype(np.float32) @ filters.T
    products = np.einsum("ocuv,cyxuv->oyxuv", kernels_, patches, optimize=True)
    sums = target @ products @ target.T
    return np.asarray(sums.transpose(0, 1, 3, 2, 4).reshape(weight.shape[0], rows, columns))
