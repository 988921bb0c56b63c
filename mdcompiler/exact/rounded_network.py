"""A network in float32 as other compilers may run it: sums in another order, results a rounding further off.

ONNX does not say in which order the products of a convolution are added. A folded bias begins the sum, and every
partial sum is then as large as that bias: that alone may err ten times what another order errs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mdcompiler.exact.network import ExactNetwork
from mdcompiler.exact.one_by_one import SUMS

Array = NDArray[Any]
_HALF_UNIT = 2.0**-24
"""Largest relative error of one rounding to float32."""


class RoundedNetwork(ExactNetwork):
    """`model` with every float result rounded to float32.

    nudge: 0 sums products one by one, from the bias on, or from the last product back where `backward`. Above 0, sums
    are exact and every result, and what is multiplied, is changed by up to that many roundings, at random from `seed`.
    """

    def __init__(self, model: onnx.ModelProto, backward: bool = False, nudge: float = 0.0, seed: int = 0) -> None:
        super().__init__(model)
        self._backward, self._nudge = backward, nudge
        self._random = np.random.default_rng(seed)

    def _node(self, index: int, node: onnx.NodeProto, values: Mapping[str, Array]) -> Sequence[Array]:
        operands = [values[name] if name else None for name in node.input]
        add = SUMS.get(node.op_type) if not node.domain and not self._nudge else None
        if add is not None and all(item is None or item.dtype == np.float64 for item in operands):
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            plain = {name: item.decode() if isinstance(item, bytes) else item for name, item in attributes.items()}
            return [add(operands, plain, self._backward)]
        if self._nudge and node.op_type in SUMS:  # a small sum of large products is as uncertain as they are
            values = {
                **values,
                **{
                    name: self._rounded(values[name]).astype(np.float64)
                    for name in node.input
                    if name and values[name].dtype == np.float64
                },
            }
        return [self._rounded(result) for result in super()._node(index, node, values)]

    def _rounded(self, result: Array) -> Array:
        if result.dtype not in (np.float64, np.float32):
            return result
        change = self._nudge * _HALF_UNIT * self._random.uniform(-1, 1, result.shape) if self._nudge else 0.0
        return np.asarray(result * (1 + change), np.float32)
