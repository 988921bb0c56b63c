"""Large allocations of a function become parameters, so that the caller's arena holds them.

def f(x, y):                         def f(x, y, t):
    t = alloc_buffer((1, 8, 32))  ->     ...
"""

from __future__ import annotations

import math

from tvm import s_tir
from tvm.ir import Var
from tvm.tirx import IntImm, PrimFunc

from mdcompiler.backends.legalize.legal_kernel import TensorType
from mdcompiler.backends.legalize.plain_c import STACK_BYTES


def hoist_allocations(function: PrimFunc) -> tuple[PrimFunc, list[TensorType]]:
    """`function` with its large buffers as trailing parameters, and their types in that order.

    function: TIR whose root block owns the buffers, as Relax makes it; other functions stay as they are.
    """
    realize = function.body
    if not isinstance(realize, s_tir.SBlockRealize):
        return function, []
    large = [buffer for buffer in realize.block.alloc_buffers if _is_large(buffer)]
    if not large:
        return function, []
    body = s_tir.SBlockRealize(realize.iter_values, realize.predicate, _without(realize.block, large))
    hoisted = PrimFunc([*function.params, *large], body, function.ret_type, attrs=function.attrs)
    return hoisted, [_type(buffer) for buffer in large]


def _without(block: s_tir.SBlock, gone: list[Var]) -> s_tir.SBlock:
    kept = [buffer for buffer in block.alloc_buffers if not any(buffer.same_as(other) for other in gone)]
    return s_tir.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        block.body,
        block.init,
        kept,
        block.match_buffers,
        block.annotations,
    )


def _is_large(buffer: Var) -> bool:
    if not all(isinstance(extent, IntImm) for extent in buffer.shape):
        return False
    shape, dtype = _type(buffer)
    return math.prod(shape) * _item_bytes(dtype) >= STACK_BYTES


def _item_bytes(dtype: str) -> int:
    bits = "".join(letter for letter in dtype if letter.isdigit())
    return max(1, int(bits or 8) // 8)


def _type(buffer: Var) -> TensorType:
    return tuple(int(extent) for extent in buffer.shape), str(buffer.dtype)
