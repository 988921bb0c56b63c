"""insert-qdq: form, numbers, refusals, second run; and the integer reference against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import kernel_name
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.quantization.affine import bounds
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.check import check_quantized
from mdcompiler.quantization.integer_reference import IntegerReference, run_integer
from mdcompiler.quantization.no_wrap import check_no_wrap
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.quantization.steps import is_integer, read_steps
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec.search_space import SearchSpace
from mdcompiler.target import find_target
from mdcompiler.verify import check_structure
from tests.quantization.networks import decibel, float_module, kernel_model, quantized
from tests.weights.small_spec import small_spec

pytest.importorskip("onnxruntime", reason="the reference evaluator is too slow for whole networks")
SCHEMES = ("cpu", "edgetpu-ptq", "edgetpu-qat", "gpu", "hexagon-hvx", "hexagon-htp")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_numbers_and_second_run(scheme: str) -> None:
    module = float_module(small_spec())
    inputs = sample_inputs(module)
    want = run_reference(module.to_onnx(), inputs)
    module, item = quantized(module, scheme)
    check_structure(module)
    got = run_reference(module.to_onnx(), inputs)
    assert decibel(want["box_encodings"], got["box_encodings"]) > 28
    assert decibel(want["class_scores"], got["class_scores"]) > 38
    before = module.to_onnx()
    assert item.run(module) == 0
    assert module.to_onnx() == before


def test_float_islands_are_listed() -> None:
    assert check_quantized(quantized(float_module(small_spec()))[0].graph) == ["head/concat_boxes"]
    assert check_quantized(quantized(float_module(small_spec()), "edgetpu-ptq")[0].graph) == []
    detections = quantized(float_module(small_spec(), raw=False))[0]
    assert check_quantized(detections.graph) == ["head/concat_boxes", "head/postprocess"]


def test_form() -> None:
    module, _ = quantized(float_module(small_spec()))
    nodes = {node.name: node for node in module.graph.nodes}
    conv = nodes["C1/b1.ibn/project/conv"]
    assert [tensor.inputs[0].op for tensor in conv.inputs] == ["DequantizeLinear"] * 3
    assert "C1/b0.conv/conv/act" not in nodes, "a relu6 within [0,6] needs no clamp"
    assert nodes["C1/b0.conv/conv/act/q"].attrs["mdc.kernel"] == "C1/b0.conv/conv"
    weight = nodes["C1/b1.ibn/project/weight/dq"]
    assert weight.inputs[0].name == "C1/b1.ibn/project/weight_q"
    assert weight.inputs[0].values.dtype == np.int8
    assert weight.attrs["axis"] == 0
    kinds = {str(node.attrs["mdc.kind"]) for node in module.graph.nodes}
    assert {"stem", "squeeze_excite", "head", "dequantize"} <= kinds
    for node in module.graph.nodes:
        if node.op == "QuantizeLinear" and node.name.endswith("/reshape/q"):
            assert kernel_name(node) == node.name.removesuffix("/reshape/q") + "/pw"


def test_no_ranges_no_edit() -> None:
    module = float_module(small_spec())
    before = module.to_onnx()
    assert InsertQdq().run(module) == 0
    assert module.to_onnx() == before


def test_useful_clamps_stay_and_redundant_bounds_go() -> None:
    module = float_module(small_spec())
    rules = find_scheme("cpu")
    ranges = dict.fromkeys(tensors_to_calibrate(module.graph, rules), (-8.0, 8.0))
    wide = InsertQdq(Parameters(ranges), scheme=rules)
    act = "C1/b0.conv/conv/act"
    given_scale = rules.model_copy(update={"symmetric_activations": True, "activation": "int8"})
    item = InsertQdq(wide.parameters, scheme=given_scale)
    item.run(module)
    found = {node.name: node.op for node in module.graph.nodes}
    # symmetric integers reach below 0, and exactly up to 6
    assert found[act] == "Relu"
    check_quantized(module.graph)
    check_structure(module)


def test_precision_a_block() -> None:
    module = float_module(small_spec())
    inputs = sample_inputs(module)
    want = run_reference(module.to_onnx(), inputs)
    module, _ = quantized(module, precision={"C3/b0.ibn": "int16", "C2/b0.fused": "float"})
    check_structure(module)
    assert check_quantized(module.graph)[:2] == ["C2/b0.fused/expand", "C2/b0.fused/project"]
    tensors = module.graph.tensors()
    assert tensors["C3/b0.ibn/dw/act/q"].dtype == np.uint16
    assert tensors["C3/b1.ibn/dw/act/q"].dtype == np.uint8
    got = run_reference(module.to_onnx(), inputs)
    assert decibel(want["class_scores"], got["class_scores"]) > 38
    values = run_integer(module, find_scheme("cpu"), inputs)
    assert decibel(want["class_scores"], values["class_scores"]) > 38


def test_sixteen_bits_with_detections() -> None:
    """QuantizeLinear makes 16 bits from opset 21 on; the post-processing's body has to follow."""
    module, _ = quantized(float_module(small_spec(), raw=False), precision={"C3/b0.ibn": "int16"})
    check_structure(module)
    found = run_reference(module.to_onnx(), sample_inputs(module))
    assert found["boxes"].shape[2] == 4
    assert found["scores"].max() > 0


def test_missing_ranges_are_named() -> None:
    module = float_module(small_spec())
    item = InsertQdq(Parameters({"C1/b0.conv/conv/act": (0.0, 6.0)}))
    with pytest.raises(UnsupportedError, match=r"tensors have no range, the first in C1/b1\.ibn"):
        item.run(module)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ({"C9/b0.ibn": "float"}, "no kernel or block called C9/b0.ibn"),
        ({"C1/b1.ibn": "int16"}, "which the scheme hexagon-hvx does not have"),
    ],
)
def test_refused_precisions(precision: dict[str, str], message: str) -> None:
    module = float_module(small_spec())
    item = InsertQdq(Parameters({"x": (0.0, 1.0)}), precision, scheme=find_scheme("hexagon-hvx"))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match=message):
        item.run(module)


def test_targets_without_a_scheme() -> None:
    module = float_module(small_spec())
    bare = Module(module.graph, find_target("null").model_copy(update={"scheme": ""}))
    with pytest.raises(UnsupportedError, match="names no scheme"):
        InsertQdq(Parameters({"x": (0.0, 1.0)})).run(bare)


def test_a_range_that_is_none() -> None:
    module = float_module(small_spec())
    ranges = dict.fromkeys(tensors_to_calibrate(module.graph, find_scheme("cpu")), (0.0, float("nan")))
    with pytest.raises(UnsupportedError, match="two finite numbers"):
        InsertQdq(Parameters(ranges)).run(module)


def test_an_accumulator_that_may_wrap_is_refused() -> None:
    module, _ = quantized(float_module(small_spec()))
    graph = module.graph
    bias = graph.tensors()["C2/b0.fused/project/bias_q"]
    bias.values = np.full_like(bias.values, 2**31 - 1)
    with pytest.raises(UnsupportedError, match=r"integer arithmetic in C2/b0\.fused"):
        IntegerReference(module, find_scheme("cpu"))


def test_two_scales_of_a_tensor_are_found() -> None:
    module, _ = quantized(float_module(small_spec()))
    node = next(node for node in module.graph.nodes if node.name == "C1/b0.conv/conv/act/dq")
    node.inputs[1] = type(node.inputs[1])("another", np.array(0.5, np.float32))
    with pytest.raises(UnsupportedError, match="another scale"):
        check_quantized(module.graph)


@settings(max_examples=5)
@given(st.integers(0, 10**6), st.sampled_from(SCHEMES))
def test_random_detectors_against_onnxruntime(seed: int, scheme: str) -> None:
    """Every kernel alone, fed the reference's integers: ONNX Runtime's float kernels are within 1 LSB a step."""
    module, _ = quantized(float_module(SearchSpace.small().sample(seed)), scheme)
    check_structure(module)
    check_quantized(module.graph)
    reference = IntegerReference(module, find_scheme(scheme))
    inputs = sample_inputs(module)
    values = {**inputs, **reference.run(inputs)}
    differing = compared = 0
    for kernel in filter(is_integer, reference.kernels):
        steps = read_steps(kernel)
        fed = {tensor.name: values[tensor.name] for tensor in kernel.inputs}
        for name, got in run_reference(kernel_model(module.graph, kernel), fed).items():
            gap = np.abs(got.astype(np.int64) - values[name].astype(np.int64))
            arithmetic = sum(step.operation != "move" for step in steps)
            # an earlier step's one LSB passes through those after it
            assert gap.max() <= (1 if arithmetic == 1 else 4), (kernel.name, scheme)
            differing, compared = differing + int((gap > 0).sum()), compared + gap.size
    assert differing <= 0.02 * compared
    for steps in reference.steps.values():
        for step in steps:
            check_no_wrap(step)
            low, high = bounds(step.output.dtype)
            assert low <= step.low <= values[step.output.name].min()
            assert values[step.output.name].max() <= step.high <= high
