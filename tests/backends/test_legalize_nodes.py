"""ONNX's own node tests through legalisation, LLVM, the linker and ctypes: what convolution networks use."""

from __future__ import annotations

import ctypes
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.legalize import LegalKernel, Refusal, try_legalize
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from tests.backends.plain_library import HOST, load_objects, run

# The newest version of every operator below is at most this old, so that one child serves all cases.
OPSET = 22

CASES = (  # noqa: SIM905 - as a list it would fill a hundred lines
    "abs add add_bcast add_uint8 and_bcast3v1d argmax_keepdims_random "
    "averagepool_2d_ceil averagepool_2d_default averagepool_2d_pads averagepool_2d_pads_count_include_pad "
    "averagepool_2d_same_lower averagepool_2d_strides basic_conv_with_padding basic_conv_without_padding "
    "batchnorm_epsilon batchnorm_example clip_default_inbounds concat_3d_axis_1 concat_3d_axis_negative_1 "
    "conv_with_autopad_same conv_with_strides_and_asymmetric_padding conv_with_strides_no_padding "
    "conv_with_strides_padding convtranspose_pads div div_bcast elu erf exp expand_dim_changed gather_0 gelu_default_2 "
    "gemm_all_attributes gemm_default_vector_bias gemm_transposeB globalaveragepool globalmaxpool "
    "hardsigmoid hardswish instancenorm_epsilon leakyrelu log logsoftmax_axis_1 matmul_2d matmul_4d "
    "max_two_inputs maxpool_2d_ceil maxpool_2d_default maxpool_2d_dilations maxpool_2d_pads maxpool_2d_same_upper "
    "maxpool_2d_strides maxpool_2d_uint8 min_two_inputs mish mul mul_bcast pow prelu_broadcast prelu_example "
    "reduce_max_keepdims_random reduce_mean_do_not_keepdims_random reduce_mean_keepdims_random "
    "reduce_sum_keepdims_random relu resize_downsample_sizes_nearest resize_upsample_scales_linear "
    "resize_upsample_scales_nearest resize_upsample_sizes_nearest round sigmoid slice slice_neg_steps softmax_axis_1 "
    "softmax_axis_2 softmax_large_number softplus split_equal_parts_2d split_variable_parts_2d_opset18 sqrt sub "
    "sub_bcast sum_example tanh tile where_example"
).split()

# Their further inputs are parameters, which a network has as constants.
PARAMETRIC = {"BatchNormalization", "Clip", "Conv", "ConvTranspose", "Expand", "PRelu", "Resize", "Slice", "Split"}
PARAMETRIC |= {"ReduceMax", "ReduceMean", "ReduceSum", "Tile"}


@dataclass
class Case:
    kernel: Kernel
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    with warnings.catch_warnings():
        # The generators of other node tests overflow and divide by zero on purpose.
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = {case.name.removeprefix("test_"): case for case in collect_testcases(None)}
    return {name: _case(name, found[name]) for name in CASES}


def _case(name: str, found: Any) -> Case:
    model = onnx.ModelProto()
    model.CopyFrom(found.model)
    inputs, outputs = found.data_sets[0]
    arrays = dict(zip((value.name for value in model.graph.input), inputs, strict=True))
    if model.graph.node[0].op_type in PARAMETRIC:
        for value in list(model.graph.input)[1:]:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(arrays.pop(value.name)), value.name))
            model.graph.input.remove(value)
    graph = gs.import_onnx(model)
    (node,) = graph.nodes
    node.name = name
    names = [tensor.name for tensor in graph.outputs]
    return Case(kernels(graph)[0], arrays, dict(zip(names, map(np.asarray, outputs), strict=True)))


@pytest.fixture(scope="module")
def legal(cases: dict[str, Case]) -> dict[str, LegalKernel | Refusal]:
    results = try_legalize([case.kernel for case in cases.values()], HOST, opset=OPSET)
    return dict(zip(cases, results, strict=True))


@pytest.fixture(scope="module")
def library(legal: dict[str, LegalKernel | Refusal], tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    objects = [result.object_code for result in legal.values() if isinstance(result, LegalKernel)]
    return load_objects(objects, tmp_path_factory.mktemp("nodes"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnx_expects(
    name: str, cases: dict[str, Case], legal: dict[str, LegalKernel | Refusal], library: ctypes.CDLL
) -> None:
    case, kernel = cases[name], legal[name]
    assert isinstance(kernel, LegalKernel), kernel
    assert kernel.checked
    got = run(library, kernel, case.inputs, {key: (a.shape, a.dtype.name) for key, a in case.outputs.items()})
    for key, want in case.outputs.items():
        assert within_float_tolerance(got[key], want), describe_difference(got[key], want)
