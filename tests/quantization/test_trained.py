"""The real detector's own quantization: integer reference against LiteRT, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.pipeline import Pipeline
from mdcompiler.quantization.check import check_quantized
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.quantization.trained import trained_parameters
from mdcompiler.spec import build_network, load_spec
from mdcompiler.target import find_target
from mdcompiler.weights import fit_spec, read_tflite
from mdcompiler.weights.tflite_file import read_graph
from mdcompiler.weights.tflite_head import find_head
from mdcompiler.weights.tflite_match import Match
from tests.quantization.networks import FUSED

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `tflite`")
Array = NDArray[Any]
_RENAMED = {"head/concat_boxes": "box_encodings/q", "head/sigmoid": "class_scores/q"}


@pytest.fixture(scope="module")
def trained(shared_data: Path) -> Path:
    path = shared_data / "mobiledet_catdog" / "ssdlite_mobiledet_dog_vs_cat.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}")
    return path


@pytest.fixture(scope="module")
def reference(trained: Path) -> IntegerReference:
    spec = fit_spec(load_spec("mobiledet-edgetpu"), trained).spec
    found = read_tflite(trained, spec)
    module = Module.from_onnx(lower(spec, found.weights, raw=True), find_target("x86-64-v3"))
    Pipeline(verify=0).run(module, FUSED)
    scheme = find_scheme("edgetpu-qat")
    assert InsertQdq(trained_parameters(module.graph, found), scheme=scheme).run(module) > 0
    assert check_quantized(module.graph) == []
    return IntegerReference(module, scheme)


@pytest.fixture(scope="module")
def tensors(trained: Path, reference: IntegerReference) -> dict[str, int]:
    """Tensor of our quantized graph -> tensor of the file."""
    graph = read_graph(trained)
    head = find_head(graph)
    spec = fit_spec(load_spec("mobiledet-edgetpu"), trained).spec
    ours = Match(graph, build_network(spec), head).tensors
    ends = {"head/concat_boxes": head.concatenated[0], "head/concat_scores": head.concatenated[1]}
    theirs = {**ours, **ends, "head/sigmoid": head.scores}
    made = {step.output.name for steps in reference.steps.values() for step in steps}
    found = {}
    for name, index in theirs.items():
        for wanted in (f"{name}/q", f"{name.removesuffix('/bn')}/conv/q", _RENAMED.get(name, "")):
            if wanted in made:
                found[wanted] = index
                break
    return found


def _run(path: Path, image: Array, kernels: Any) -> Any:
    runner = litert.Interpreter(
        str(path), num_threads=1, experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=True
    )
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], image)
    runner.invoke()
    return runner


def _picture(path: Path, number: int) -> Array:
    with Image.open(path.parent / f"image{number}.jpg") as picture:
        return np.asarray(picture.convert("RGB").resize((320, 320)))[None]


def _as_ours(array: Array, shape: tuple[int, ...]) -> Array:
    turned = array.transpose(0, 3, 1, 2) if array.ndim == len(shape) == 4 else array
    return turned.reshape(shape)


@pytest.mark.parametrize("number", [1, 2])
def test_every_tensor_is_that_of_the_reference_kernels(
    trained: Path, reference: IntegerReference, tensors: dict[str, int], number: int
) -> None:
    image = _picture(trained, number)
    runner = _run(trained, image, litert.OpResolverType.BUILTIN_REF)
    values = reference.run({"image": image})
    # 93 convolutions, 15 sums, the picture, two concatenations, the sigmoid
    assert len(tensors) == 93 + 15 + 1 + 2 + 1
    for name, index in tensors.items():
        want = _as_ours(runner.get_tensor(index), values[name].shape)
        assert np.ptp(want) > 0, name
        np.testing.assert_array_equal(values[name], want, err_msg=name)


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
def test_every_step_is_within_one_of_xnnpack(
    trained: Path, reference: IntegerReference, tensors: dict[str, int]
) -> None:
    """Each operation alone, fed XNNPACK's own integers."""
    runner = _run(trained, _picture(trained, 1), litert.OpResolverType.AUTO)
    differing = compared = 0
    for step, want, arrays in _steps(reference, tensors, runner):
        gap = np.abs(reference.run_step(step, arrays).astype(np.int64) - want.astype(np.int64))
        assert gap.max() <= 1, step.name
        differing, compared = differing + int((gap > 0).sum()), compared + gap.size
    assert compared > 10**6
    assert differing <= 0.01 * compared


def _steps(
    reference: IntegerReference, tensors: dict[str, int], runner: Any
) -> Iterator[tuple[Any, Array, list[Array]]]:
    for steps in reference.steps.values():
        for step in steps:
            ports = (*step.inputs, step.output)
            if step.operation in ("conv", "add") and all(port.name in tensors for port in ports):
                *arrays, want = (_as_ours(runner.get_tensor(tensors[port.name]), port.shape) for port in ports)
                yield step, want, arrays
