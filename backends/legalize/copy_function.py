"""A TIR function that copies one tensor: for an output that is an input, a constant or another output."""

from __future__ import annotations

from tvm import te
from tvm.tirx import PrimFunc


def copy_function(shape: tuple[int, ...], dtype: str) -> PrimFunc:
    """`f(x, y)` with y = x, both `dtype` of `shape`."""
    source = te.placeholder(shape, dtype, "x")
    target = te.compute(shape, lambda *index: source(*index), "y")
    return te.create_prim_func([source, target])
