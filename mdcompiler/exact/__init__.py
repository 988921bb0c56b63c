"""The same network in float64: the judge of how large an error is.

A share of an output's range says nothing about what rounding does inside a network; what unoptimised float32 is off
from the same network in float64 does. Every float tensor is held in float64, whatever the file says; integers and
booleans stay as they are.

Each node is computed by the first of these that has it: numpy (`kernels`, `windows`), ONNX Runtime in float64, the
onnx package's evaluator in float64. Where the network is large and only slow code is left, or where nothing has a
float64 form, ONNX Runtime computes that node in float32: then its own rounding, 6e-8 of a value, is in the result.
"""

from __future__ import annotations

from mdcompiler.exact.network import ExactNetwork, NoExactFormError
from mdcompiler.exact.rounded_network import RoundedNetwork

__all__ = ["ExactNetwork", "NoExactFormError", "RoundedNetwork"]
