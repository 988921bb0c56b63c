"""Quantized networks through the cpu backend: equal to the integer reference in every bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.cpu import CpuBackend
from mdcompiler.kernel import kernels
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import Scheme, find_scheme
from mdcompiler.quantization.trained import trained_parameters
from mdcompiler.reference import run_reference
from mdcompiler.spec import SearchSpace, Spec, load_spec, weight_shapes
from mdcompiler.target import find_target, missing_flags
from mdcompiler.weights import fit_spec, read_tflite, seeded_weights

Array = NDArray[Any]
FLOAT_PASSES = [item for item in builtin_passes() if item.stage in ("read", "simplify", "fuse")]


def quantized(spec: Spec, scheme: Scheme, target: str = "cpu") -> tuple[Module, Pipeline]:
    """The network of `spec` with seeded weights, quantized by the range of every tensor on one picture."""
    model = lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True)
    module, pipeline = Module.from_onnx(model, find_target(target)), Pipeline()
    pipeline.run(module, FLOAT_PASSES)
    pipeline.run(module, [MoveSigmoid()])
    names = tensors_to_calibrate(module.graph, scheme)
    probe = module.to_onnx()
    outputs = {output.name for output in probe.graph.output}
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in outputs
    )
    seen = run_reference(probe, picture(spec, 1))
    ranges = {name: (float(seen[name].min()), float(seen[name].max())) for name in names}
    pipeline.run(module, [InsertQdq(Parameters(ranges=ranges), scheme=scheme)])
    return module, pipeline


def picture(spec: Spec, seed: int) -> dict[str, Array]:
    shape = (1, spec.input.height, spec.input.width, 3)
    return {"image": np.random.default_rng(seed).integers(0, 256, shape, np.uint8)}


def check(spec: Spec, folder: Path, scheme: str = "cpu", target: str = "cpu") -> None:
    """Quantize the network, compile it and compare its outputs with the integer reference, bit for bit."""
    rule = find_scheme(scheme)
    module, pipeline = quantized(spec, rule, target)
    check_module(module, pipeline, rule, picture(spec, 2), folder)


def check_module(module: Module, pipeline: Pipeline, rule: Scheme, inputs: dict[str, Array], folder: Path) -> None:
    """Compile a quantized module and compare its outputs with the integer reference, bit for bit."""
    backend = CpuBackend()
    expected = run_integer(module, rule, inputs)
    pipeline.run(module, backend.passes(module.target))
    refused = {k.name: reason for k in kernels(module.graph) if (reason := backend.why_not(k, module.target))}
    assert not refused, "every quantized kernel has an integer template"
    emission = backend.emit(module, silent, 1)
    for name, content in emission.files.items():
        (folder / name).write_bytes(content)
    manifest = {"inputs": input_specs(module), "outputs": output_specs(module)}
    got = backend.load(folder, manifest, 1).run(inputs)
    for name, values in got.items():
        assert np.array_equal(values, expected[name]), f"{(values != expected[name]).mean():.2%} of {name} differ"


@pytest.mark.parametrize("name", ["mobiledet-cpu", "mobiledet-edgetpu", "mobiledet-dsp", "ssdlite-mobilenet-v3-large"])
def test_zoo_is_exact(name: str, tmp_path: Path) -> None:
    check(load_spec(name).with_(width=0.5, height=97, width_px=80), tmp_path)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_every_instruction_set_is_exact(target: str, tmp_path: Path) -> None:
    missing = missing_flags(find_target(target))
    if missing:
        pytest.skip(f"this processor lacks {', '.join(missing)}")
    check(SearchSpace.small().sample(4), tmp_path, target=target)


def test_fixed_point_rounding_is_exact(tmp_path: Path) -> None:
    check(SearchSpace.small().sample(5), tmp_path, "edgetpu-qat")


@settings(max_examples=5)
@given(seed=st.integers(0, 2**20))
def test_random_specs_are_exact(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    check(SearchSpace.small().sample(seed), tmp_path_factory.mktemp("integer"))


def test_the_trained_detectors_own_quantization_is_exact(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra `tflite`")
    path = shared_data / "mobiledet_catdog" / "ssdlite_mobiledet_dog_vs_cat.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}")
    spec = fit_spec(load_spec("mobiledet-edgetpu"), path).spec
    found, rule = read_tflite(path, spec), find_scheme("edgetpu-qat")
    module = Module.from_onnx(lower(spec, found.weights, raw=True), find_target("cpu"))
    pipeline = Pipeline()
    pipeline.run(module, FLOAT_PASSES)
    pipeline.run(module, [InsertQdq(trained_parameters(module.graph, found), scheme=rule)])
    check_module(module, pipeline, rule, picture(spec, 2), tmp_path)
