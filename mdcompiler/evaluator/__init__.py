"""Float networks with the same bits on every host: what calibration looks at and decides by.

A runtime picks its kernels by the processor, and with them the order in which it adds; ranges, roundings and precisions
that come of its numbers differ from host to host. Here products of matrices are sums of integers that float64 holds
exactly (`products`), everything else is elementwise IEEE arithmetic in float32 or float64 (`nodes`). Operators that are
in neither run one by one in ONNX Runtime, unoptimised: exact for those that move, compare or pick numbers; for the few
others, `Evaluator.others` names them, the last bits are the host's.
"""

from __future__ import annotations

from mdcompiler.evaluator.network import Evaluator

__all__ = ["Evaluator"]
