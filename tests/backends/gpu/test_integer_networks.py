"""Quantized networks through the webgpu backend on a Vulkan device: equal to the integer reference in every bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import tvm

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.gpu.integer_heads import find_landings
from mdcompiler.backends.gpu.limits import why_not
from mdcompiler.backends.gpu.lower import lower_gpu
from mdcompiler.backends.gpu.traits import traits_of
from mdcompiler.backends.webgpu.backend import WebGpuBackend
from mdcompiler.backends.webgpu.description import read_description
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import SCHEME_KEY, Precision, find_scheme
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec import SearchSpace, Spec, load_spec
from mdcompiler.target import find_target
from mdcompiler.tolerance import relative_difference
from tests.backends.gpu.integer_runner import Array, needs_device
from tests.backends.test_integer_networks import FLOAT_PASSES, picture, quantized
from tests.graphs import Sketch, detector_like

RULE = find_scheme("gpu")
TARGETS = ("webgpu", "jetson-xavier", "jetson-orin")


def check(spec: Spec, folder: Path) -> None:
    """Quantize the network, compile it and compare its outputs with the integer reference, bit for bit."""
    check_module(*quantized(spec, RULE, "webgpu"), picture(spec, 2), folder)


def check_module(module: Module, pipeline: Pipeline, inputs: dict[str, Array], folder: Path) -> None:
    """Compile a quantized module and compare its outputs with the integer reference, bit for bit."""
    got, expected = run_both(module, pipeline, inputs, folder)
    for name, values in got.items():
        assert len(np.unique(expected[name])) > 4, "the reference must not be flat"
        assert np.array_equal(values, expected[name]), f"{(values != expected[name]).mean():.2%} of {name} differ"


def run_both(
    module: Module, pipeline: Pipeline, inputs: dict[str, Array], folder: Path
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The outputs of the compiled network and of the integer reference."""
    backend, expected = WebGpuBackend(), run_integer(module, RULE, inputs)
    pipeline.run(module, backend.passes(module.target))
    refused = {k.name: reason for k in kernels(module.graph) if (reason := backend.why_not(k, module.target))}
    assert not refused, "every kernel has a template"
    for name, content in backend.emit(module, silent, 1).files.items():
        (folder / name).write_bytes(content)
    model = backend.load(folder, {"inputs": input_specs(module), "outputs": output_specs(module)}, 1)
    try:
        return dict(model.run(inputs)), expected
    finally:
        model.close()


@needs_device
@pytest.mark.slow
def test_small_network_is_exact(tmp_path: Path) -> None:
    check(SearchSpace.small().sample(4), tmp_path)


@needs_device
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobiledet-cpu", "mobiledet-dsp", "mobiledet-edgetpu", "mobiledet-gpu"])
def test_zoo_is_exact(name: str, tmp_path: Path) -> None:
    check(load_spec(name).with_(width=0.5, height=97, width_px=80), tmp_path)


def from_floats(model: onnx.ModelProto, precision: dict[str, Precision]) -> tuple[Module, Pipeline, dict[str, Array]]:
    """A network quantized by the range of every tensor on one input, and that input."""
    module, pipeline = Module.from_onnx(model, find_target("webgpu")), Pipeline()
    pipeline.run(module, FLOAT_PASSES)
    inputs = sample_inputs(module)
    names = tensors_to_calibrate(module.graph, RULE)
    probe = module.to_onnx()
    kept = {output.name for output in probe.graph.output}
    for name in [name for name in names if name not in kept]:
        probe.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    seen = run_reference(probe, inputs)
    ranges = {name: (float(seen[name].min()), float(seen[name].max())) for name in names}
    pipeline.run(module, [InsertQdq(Parameters(ranges=ranges), precision, scheme=RULE)])
    return module, pipeline, inputs


def pooled() -> onnx.ModelProto:
    """Float inputs, a pooling that stays float, a sum of two branches and a mean; input [1,3,20,20], output [1,10]."""
    net = Sketch(seed=1)
    data = net.conv("/stem", net.input("input", [1, 3, 20, 20]), (3, 10), 3, strides=[2, 2])
    data = net.node("Relu", "/stem/Relu", data)
    data = net.node("MaxPool", "/maxpool", data, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    left = net.node("HardSwish", "/left/act", net.conv("/left", data, (10, 10), 3))
    right = net.conv("/right", data, (10, 10))
    total = net.node("HardSwish", "/add/act", net.node("Add", "/add", left, right))
    return net.model(net.node("Flatten", "/flat", net.node("GlobalAveragePool", "/mean", total), axis=1))


@needs_device
@pytest.mark.parametrize("precision", [{}, {"/right": "float"}], ids=["int8", "mixed"])
def test_foreign_network_is_exact(precision: dict[str, Precision], tmp_path: Path) -> None:
    """Borders, layouts and plain tensors; with `mixed`, a convolution of floats between integers."""
    module, pipeline, inputs = from_floats(pooled(), precision)
    if not precision:
        check_module(module, pipeline, inputs, tmp_path)
        return
    assert "dequantize" in {kernel.kind for kernel in kernels(module.graph)}
    got, expected = run_both(module, pipeline, inputs, tmp_path)
    for name, values in got.items():
        steps = np.unique(np.abs(values - expected[name]))
        assert relative_difference(values, expected[name]) < 0.02, f"{name} differs by {steps}"


@needs_device
def test_detector_is_exact(tmp_path: Path) -> None:
    """A picture, an inverted residual with a gate, a sum, a head."""
    check_module(*from_floats(detector_like(), {}), tmp_path)
    assert read_description(tmp_path).language_features == ("packed_4x8_integer_dot_product",)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_name_the_scheme(target: str) -> None:
    assert find_target(target).scheme == "gpu"
    assert traits_of(find_target(target)).dot4 == ("packed" if target == "webgpu" else "dp4a")


def test_heads_write_where_their_numbers_end() -> None:
    spec = SearchSpace.small().sample(4)
    module, pipeline = quantized(spec, find_scheme("gpu"), "webgpu")
    pipeline.run(module, WebGpuBackend().passes(module.target))
    landings = find_landings(module.graph).values()
    outputs = {tensor.name: int(np.prod(tensor.shape)) for tensor in module.graph.outputs}
    assert {landing.tensor.name for landing in landings} == set(outputs)
    for name, elements in outputs.items():
        offsets = sorted(landing.offset for landing in landings if landing.tensor.name == name)
        assert offsets[0] == 0
        assert len(set(offsets)) == len(offsets)
        assert offsets[-1] < elements
    program = lower_gpu(module, traits_of(module.target))
    assert not [call for call in program.calls if "plain" in str(call.function) or "copy" in str(call.function)]


@pytest.mark.parametrize("target", TARGETS)
def test_kernels_see_all_of_their_memory_and_no_more(target: str) -> None:
    """A kernel's parameters have the sizes of the buffers and constants that they are given."""
    module, pipeline = quantized(SearchSpace.small().sample(4), RULE, target)
    pipeline.run(module, WebGpuBackend().passes(module.target))
    program = lower_gpu(module, traits_of(module.target))
    ends = {tensor.name: tensor for tensor in (*module.graph.inputs, *module.graph.outputs)}
    for call in program.calls:
        assert call.function is not None
        for name, parameter in zip((*call.reads, *call.writes), call.function.write().params, strict=True):
            if name in ends:
                size = int(np.prod(ends[name].shape)) * np.dtype(ends[name].dtype).itemsize
            else:
                size = program.sizes[name] if name in program.sizes else program.constants[name].nbytes
            dtype = tvm.DataType(str(parameter.dtype))
            asked = math.prod(int(extent) for extent in parameter.shape) * dtype.lanes * dtype.bits // 8
            assert asked == -(-size // 4) * 4, f"{call.kernel}: {name}"


def reasons(module: Module) -> str:
    """Why kernels of the module have no GPU template."""
    traits = traits_of(module.target)
    return " ".join(filter(None, (why_not(kernel, traits) for kernel in kernels(module.graph))))


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [("edgetpu-qat", "weights less their zero point exceed int8"), ("edgetpu-ptq", "int8 activations")],
)
def test_other_integers_are_refused(scheme: str, reason: str) -> None:
    module, _ = quantized(SearchSpace.small().sample(4), find_scheme(scheme), "webgpu")
    assert reason in reasons(module)


def test_bytes_outside_of_a_picture_are_refused() -> None:
    module, _, _ = from_floats(pooled(), {})
    last = next(node for node in module.graph.nodes if node.op == "QuantizeLinear" and node.name.startswith("/flat"))
    module.graph.outputs = [last.outputs[0]]
    module.graph.cleanup()
    assert "leave the network; results are float32" in reasons(module)
    module, _, _ = from_floats(pooled(), {})
    first = next(kernel for kernel in kernels(module.graph) if kernel.kind == "quantize")
    first.outputs[0].inputs.clear()
    module.graph.inputs = [first.outputs[0]]
    module.graph.cleanup()
    assert "are read by no picture's convolution" in reasons(module)


def test_another_schemes_rounding_is_refused() -> None:
    module, pipeline = quantized(SearchSpace.small().sample(4), find_scheme("cpu"), "webgpu")
    pipeline.run(module, WebGpuBackend().passes(module.target))
    module.metadata[SCHEME_KEY] = "cpu"
    with pytest.raises(UnsupportedError, match=r"scheme cpu, which rounds by float-half-even.*scheme gpu"):
        lower_gpu(module, traits_of(module.target))
