"""Kernels as networks have them, at the toolkit's own opset: single nodes, fused groups, odd outputs."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto

from mdcompiler.backends.legalize import LegalKernel, legalize, legalize_all
from mdcompiler.backends.legalize.subgraph import subgraph
from mdcompiler.kernel import KERNEL, Kernel, kernels
from mdcompiler.names import identifier
from mdcompiler.reference import run_reference
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from tests.backends.plain_library import HOST, Array, load_objects, run
from tests.graphs import OPSET, Sketch

ANY_ALIGNMENT = 1


def _sketch() -> gs.Graph:
    """One node, or one fused group, of each sort; kernels are called as their nodes."""
    s = Sketch()
    image = s.input("image", [1, 8, 12, 12])
    row = s.input("row", [1, 20])
    other = s.input("other", [1, 8, 12, 12])
    outputs = [
        s.conv("grouped", image, (8, 16), 3, bias=True, group=2),
        s.conv("dilated", image, (8, 4), 3, dilations=[2, 2], pads=[2, 2, 2, 2]),
        s.conv("asymmetric", image, (8, 4), 3, strides=[2, 2], pads=[0, 0, 1, 1]),
        s.clip("fused/act", s.norm("fused", s.conv("fused", image, (8, 16), 5), 16)),
        s.clip("clip", image, -1.0, 2.5),
        s.node("MaxPool", "maxpool", image, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        s.node("AveragePool", "averagepool", image, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        s.node("ReduceMean", "mean", image, axes=[2, 3], keepdims=0),
        s.node("GlobalAveragePool", "pool", image),
        s.node("HardSwish", "hardswish", image),
        s.node("HardSigmoid", "hardsigmoid", image, alpha=1 / 6, beta=0.5),
        s.node("LeakyRelu", "leaky", image, alpha=0.1),
        s.node("PRelu", "prelu", image, s.weight("slope", s.random.random((8, 1, 1)).astype(np.float32))),
        s.node("Resize", "resize", image, "", s.weight("scales", np.array([1, 1, 2, 2], "float32")), mode="nearest"),
        s.node("Pad", "pad", image, s.weight("pads", [0, 0, 1, 0, 0, 0, 2, 3])),
        s.node("Cast", "cast", image, to=TensorProto.INT32),
        s.node("Transpose", "transpose", image, perm=[0, 2, 3, 1]),
        s.node("Reshape", "reshape", image, s.weight("shape", [1, -1, 4])),
        s.node("Flatten", "flatten", image),
        s.node("Squeeze", "squeeze", row, s.weight("axes", [0])),
        s.node("Unsqueeze", "unsqueeze", row, s.weight("axes2", [0, 3])),
        s.node("Concat", "concat", image, other, image, axis=1),
        s.node("Add", "broadcast", image, s.weight("bias", s.random.random((8, 1, 1)).astype(np.float32))),
        s.node("Slice", "slice", image, *(s.weight(f"s{i}", [v]) for i, v in enumerate((1, 9, 2, 3)))),
        s.node("Gemm", "gemm", row, s.weight("w", s.random.random((7, 20)).astype(np.float32)), transB=1),
        s.node("Softmax", "softmax", image, axis=1),
        s.node("LayerNormalization", "layernorm", row, s.weight("g", np.linspace(0, 2, 20).astype(np.float32))),
        s.node("DepthToSpace", "depthtospace", image, blocksize=2),
        s.node("Identity", "identity", image),
        s.node("Relu", "name.with-odd/signs", image),
        s.node("Relu", "name/with_odd.signs", image),
    ]
    graph = gs.import_onnx(s.model(*outputs))
    for node in graph.nodes:
        if node.name.startswith("fused/"):
            node.attrs[KERNEL] = "fused"
    return graph


KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in kernels(_sketch())}


@pytest.fixture(scope="module")
def legal() -> dict[str, LegalKernel]:
    return legalize_all(list(KERNELS.values()), HOST, opset=OPSET, alignment_bytes=ANY_ALIGNMENT)


@pytest.fixture(scope="module")
def library(legal: dict[str, LegalKernel], tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return load_objects([kernel.object_code for kernel in legal.values()], tmp_path_factory.mktemp("kernels"))


def _inputs(kernel: Kernel) -> dict[str, Array]:
    generator = np.random.default_rng(1)
    return {t.name: generator.normal(0, 3, t.shape).astype(t.dtype) for t in kernel.inputs}


@pytest.mark.parametrize("misplaced_bytes", [0, 4])
@pytest.mark.parametrize("name", KERNELS)
def test_computes_what_the_reference_does(
    name: str, misplaced_bytes: int, legal: dict[str, LegalKernel], library: ctypes.CDLL
) -> None:
    kernel, inputs = KERNELS[name], _inputs(KERNELS[name])
    types = {t.name: (tuple(t.shape), np.dtype(t.dtype).name) for t in kernel.outputs}
    got = run(library, legal[name], inputs, types, misplaced_bytes)
    for key, want in run_reference(subgraph(kernel, OPSET), inputs).items():
        assert within_float_tolerance(got[key], want), describe_difference(got[key], want)


@pytest.mark.parametrize("name", KERNELS)
def test_every_argument_is_declared_and_every_output_written(name: str, legal: dict[str, LegalKernel]) -> None:
    kernel, result = KERNELS[name], legal[name]
    known = {t.name for t in kernel.inputs} | set(result.constants)
    for call in result.calls:
        assert set(call.inputs) <= known
        known |= set(call.outputs)
    assert {t.name for t in kernel.outputs} <= known
    places = known | set(result.temporaries)
    assert all(set(call.arguments) <= places for call in result.calls)
    assert set(result.temporaries).isdisjoint({*result.constants, *(t.name for t in kernel.outputs)})


def test_the_numbers_are_checked_at_compile_time(legal: dict[str, LegalKernel]) -> None:
    assert {name for name, kernel in legal.items() if not kernel.checked} == set()


def test_function_names_differ_between_kernels_whose_names_are_spelled_alike(legal: dict[str, LegalKernel]) -> None:
    one, two = (legal[name] for name in ("name.with-odd/signs", "name/with_odd.signs"))
    assert identifier(one.name) == identifier(two.name)
    assert {call.function for call in one.calls}.isdisjoint(call.function for call in two.calls)


def test_large_buffers_are_the_callers(legal: dict[str, LegalKernel]) -> None:
    workspace = [name for call in legal["grouped/conv"].calls for name in call.workspace]
    assert workspace
    assert legal["grouped/conv"].temporaries[workspace[0]] == ((1, 8, 14, 14), "float32")


def test_functions_can_be_read_again(legal: dict[str, LegalKernel]) -> None:
    assert set(legal["fused"].functions) == {call.function for call in legal["fused"].calls}


def test_an_output_that_is_read_inside_the_kernel_and_a_second_name_of_it(tmp_path: Path) -> None:
    s = Sketch()
    inner = s.node("Relu", "inner", s.input("x", [1, 4]))
    outputs = (inner, s.node("Identity", "again", inner), s.node("Neg", "outer", inner))
    graph = gs.import_onnx(s.model(*outputs))
    for node in graph.nodes:
        node.attrs[KERNEL] = "group"
    (kernel,) = kernels(graph)
    result = legalize(kernel, HOST)
    values = np.array([[-1, 0, 2, 3]], "float32")
    got = run(
        load_objects([result.object_code], tmp_path), result, {"x": values}, dict.fromkeys(outputs, ((1, 4), "float32"))
    )
    relu = np.maximum(values, 0)
    for name, want in zip(outputs, (relu, relu, -relu), strict=True):
        np.testing.assert_array_equal(got[name], want)
