"""`compile_plain_c`: bare pointers, no runtime symbol, refusal of what needs TVM's runtime."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from mdcompiler.backends.legalize import compile_plain_c
from mdcompiler.backends.legalize.hoist import hoist_allocations
from mdcompiler.backends.legalize.vectorise import vectorise
from mdcompiler.errors import UnsupportedError
from tests.backends.plain_library import HOST, Array, buffer, filled, load_objects


def _two_steps(size: int) -> Any:
    """y = row sums of (x + 1), with x + 1 in a buffer of `size` x 2 floats; x is [size, 2]."""
    x = te.placeholder((size, 2), "float32", "x")
    step = te.compute(x.shape, lambda i, j: x[i, j] + 1.0, "step")
    axis = te.reduce_axis((0, 2))
    total = te.compute((size,), lambda i: te.sum(step[i, axis], axis), "total")
    return te.create_prim_func([x, total])


def _call(code: bytes, folder: Path, name: str, *arrays: Array) -> int:
    function = load_objects([code], folder)[name]
    return int(function(*[ctypes.c_void_p(array.ctypes.data) for array in arrays]))


def test_a_function_is_callable_with_bare_pointers(tmp_path: Path) -> None:
    x, y = filled(np.arange(8, dtype=np.float32).reshape(4, 2)), buffer((4,), "float32")
    assert _call(compile_plain_c({"sums": _two_steps(4)}, HOST, 64), tmp_path, "sums", x, y) == 0
    np.testing.assert_array_equal(y, (x + 1).sum(1))


def test_large_allocations_become_parameters(tmp_path: Path) -> None:
    function, workspace = hoist_allocations(_two_steps(500))
    assert workspace == [((500, 2), "float32")]
    x, y = filled(np.ones((500, 2), np.float32)), buffer((500,), "float32")
    code = compile_plain_c({"sums": function}, HOST, 64)
    assert b"TVMBackend" not in code
    assert _call(code, tmp_path, "sums", x, y, buffer(*workspace[0])) == 0
    np.testing.assert_array_equal(y, np.full(500, 4, np.float32))


def test_large_allocations_left_in_place_show_as_the_documented_symbol() -> None:
    assert b"__TVMBackendAllocWorkspace" in compile_plain_c({"sums": _two_steps(500)}, HOST, 64)


def test_small_allocations_stay_on_the_stack() -> None:
    function = _two_steps(4)
    assert hoist_allocations(function) == (function, [])
    assert b"TVMBackend" not in compile_plain_c({"sums": function}, HOST, 64)


def test_what_calls_tvms_runtime_is_refused() -> None:
    function = tirx.PrimFunc([tirx.decl_buffer((4,), "float32", "x")], tirx.Evaluate(tirx.call_packed("f.g", 1)))
    with pytest.raises(UnsupportedError, match=r"compiling packed: .* TVM's runtime"):
        compile_plain_c({"packed": function}, HOST, 64)


def test_vectorise_puts_the_last_axis_of_a_product_innermost() -> None:
    a, b = te.placeholder((4, 6), "float32", "a"), te.placeholder((6, 8), "float32", "b")
    k = te.reduce_axis((0, 6))
    product = te.compute((4, 8), lambda i, j: te.sum(a[i, k] * b[k, j], k), "product")
    schedule = tvm.s_tir.Schedule(vectorise(te.create_prim_func([a, b, product])))
    loops = schedule.get_loops(schedule.get_sblock("product_update"))
    assert [int(schedule.get(loop).extent) for loop in loops] == [4, 6, 8]


def test_vectorise_inlines_a_step_that_is_read_once() -> None:
    x = te.placeholder((4, 8), "float32", "x")
    step = te.compute(x.shape, lambda i, j: x[i, j] + 1.0, "step")
    result = te.compute(x.shape, lambda i, j: step[i, j] * 2.0, "result")
    function = vectorise(te.create_prim_func([x, result]))
    assert not function.body.block.alloc_buffers


def test_vectorise_keeps_a_step_that_is_broadcast() -> None:
    x = te.placeholder((8,), "float32", "x")
    step = te.compute(x.shape, lambda i: te.exp(x[i]), "step")
    result = te.compute((4, 8), lambda _, j: step[j] * 2.0, "result")
    function = vectorise(te.create_prim_func([x, result]))
    assert [buffer.name for buffer in function.body.block.alloc_buffers] == ["step"]
