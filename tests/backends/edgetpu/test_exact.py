"""LiteRT's numbers on our files are the integer reference's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.backends.tflite.file_builder import FileBuilder
from mdcompiler.backends.tflite.pack import pack
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.progress import silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.quantization.steps import Step
from mdcompiler.spec import Spec
from mdcompiler.weights.quantization import Quantization
from tests.backends.edgetpu.detectors import (
    SCHEMES,
    detector,
    expected,
    picture,
    quantized_detector,
    run_file,
    specs,
)
from tests.quantization.networks import float_module, observe
from tests.quantization.test_curves import table_step

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `edgetpu`")
Array = NDArray[Any]
_COMPUTED = ("conv", "add", "pool", "product", "table", "concat")


@settings(max_examples=12)
@given(spec=specs(), scheme=st.sampled_from(SCHEMES), seed=st.integers(0, 1000))
def test_any_small_detector_is_exact(
    tmp_path_factory: pytest.TempPathFactory, spec: Spec, scheme: str, seed: int
) -> None:
    module = quantized_detector(spec, scheme, raw=True)
    inputs = picture(spec, seed)
    want = expected(module, scheme, inputs)
    for name, got in run_file(module, tmp_path_factory.mktemp("file"), inputs).items():
        assert np.ptp(want[name]) > 0, name
        np.testing.assert_array_equal(got, want[name], err_msg=name)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("mode", ["fast", "regular"])
def test_detections_are_exact(scheme: str, mode: str, tmp_path: Path) -> None:
    spec = detector(postprocess={"mode": mode, "max_detections": 7, "score_threshold": 0.4, "iou_threshold": 0.3})
    module = quantized_detector(spec, scheme)
    inputs = picture(spec)
    want = expected(module, scheme, inputs)
    got = run_file(module, tmp_path, inputs)
    assert set(got) == {"boxes", "classes", "scores", "count"}
    assert want["count"][0] > 0
    for name, array in got.items():
        np.testing.assert_array_equal(array, want[name], err_msg=name)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_sigmoid_may_stand_behind_the_concatenation(scheme: str, tmp_path: Path) -> None:
    spec = detector()
    module = quantized_detector(spec, scheme, raw=True, move=False)
    want = expected(module, scheme, picture(spec))
    for name, got in run_file(module, tmp_path, picture(spec)).items():
        np.testing.assert_array_equal(got, want[name], err_msg=name)


def test_a_logistic_is_exact_where_float32_rounds_the_other_way() -> None:
    """One entry in some 200,000 of LiteRT's own table is not the exact value rounded: it computes in float32."""
    random, unlike = np.random.default_rng(3), 0
    for _ in range(2000):
        scale, zero = float(np.float32(random.uniform(0.01, 0.1))), int(random.integers(0, 256))
        step = table_step("sigmoid", Quantization((scale,), (zero,), "uint8"))
        ours = table(step, "fixed-point-double")
        if np.array_equal(ours, table(step, "float-half-even")):
            continue
        unlike += 1
        builder = FileBuilder()
        ends = builder.place(step.inputs[0]), builder.place(step.output)
        builder.operate("LOGISTIC", ends[:1], ends[1:])
        runner = litert.Interpreter(
            model_content=pack(builder.graph(ends[:1], ends[1:], "bend")),
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
        )
        runner.allocate_tensors()
        runner.set_tensor(runner.get_input_details()[0]["index"], np.arange(256, dtype=np.uint8).reshape(1, 256))
        runner.invoke()
        np.testing.assert_array_equal(runner.get_tensor(runner.get_output_details()[0]["index"])[0], ours)
    assert unlike > 0


def test_boxes_may_be_joined_by_the_host(tmp_path: Path) -> None:
    """A scheme that lets the concatenation stay float keeps a scale for every level."""
    spec = detector()
    module = float_module(spec, raw=False)
    scheme = find_scheme("edgetpu-ptq").model_copy(update={"may_stay_float": ("concat", "postprocess")})
    ranges = observe(module, tensors_to_calibrate(module.graph, scheme))
    InsertQdq(Parameters(ranges), scheme=scheme).run(module)
    inputs = picture(spec)
    want = IntegerReference(module, scheme).run(inputs)
    kinds = [row[0] for row in emit(module, silent).facts["mapping"] if row[2] != "Mapped to Edge TPU"]
    assert kinds == ["CONCATENATION", "CUSTOM", "DEQUANTIZE"]
    for name, got in run_file(module, tmp_path, inputs).items():
        np.testing.assert_array_equal(got, want[name], err_msg=name)


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_step_is_within_one_of_xnnpack(scheme: str) -> None:
    """Each operation alone, fed XNNPACK's own integers."""
    spec = detector()
    module = quantized_detector(spec, scheme, raw=True)
    runner = _preserving_runner(module, picture(spec)["image"])
    values = {tensor["name"]: runner.get_tensor(tensor["index"]) for tensor in _readable(runner)}
    values.setdefault("input/offset/q", values["image"])  # uint8 needs no conversion of the picture
    reference = IntegerReference(module, find_scheme(scheme))
    gaps = [_gap(reference, step, values) for step in _steps(reference) if step.operation in _COMPUTED]
    assert len(gaps) > 30
    assert max(int(gap.max()) for gap in gaps) == 1, "no difference at all: XNNPACK did not run"
    assert np.mean(np.concatenate([gap.reshape(-1) > 0 for gap in gaps])) < 0.05


def _preserving_runner(module: Module, image: Array) -> Any:
    content = emit(module, silent).files["model.tflite"]
    runner = litert.Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], image)
    runner.invoke()
    return runner


def _readable(runner: Any) -> list[Any]:
    """Every tensor of the file; the delegate adds nameless ones of its own."""
    return [tensor for tensor in runner.get_tensor_details() if tensor["name"] and tensor["shape"].size]


def _steps(reference: IntegerReference) -> list[Step]:
    return [step for steps in reference.steps.values() for step in steps]


def _gap(reference: IntegerReference, step: Step, values: dict[str, Array]) -> Array:
    *arrays, want = (_as_ours(values[port.name], port.shape) for port in (*step.inputs, step.output))
    gap = np.abs(reference.run_step(step, arrays).astype(np.int64) - want.astype(np.int64))
    assert gap.max() <= 1, step.name
    return gap


def _as_ours(array: Array, shape: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2) if len(shape) == 4 else array).reshape(shape)
