"""A real trained detector: read, written again, and judged as Google's compiler judged it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mdcompiler.backends.edgetpu.compiler_log import parse_log
from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.backends.edgetpu.mapping import predict, table
from mdcompiler.backends.tflite.runnable import TfliteRunnable
from mdcompiler.calibration import ListedSamples, calibrate
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.quantization.trained import trained_parameters
from mdcompiler.spec import load_spec
from mdcompiler.target import find_target
from mdcompiler.weights import fit_spec, read_tflite
from mdcompiler.weights.tflite_file import read_graph
from tests.backends.edgetpu.detectors import expected, manifest_of
from tests.quantization.networks import FUSED

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `edgetpu`")
Array = NDArray[Any]
NAME = "ssdlite_mobiledet_dog_vs_cat"
PICTURES = range(1, 9)
DOGS = (1, 4, 5, 7)
CALIBRATION = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    path = shared_data / "mobiledet_catdog"
    if not (path / f"{NAME}.tflite").is_file():
        pytest.skip(f"no {NAME}.tflite in {path}")
    return path


@pytest.fixture(scope="module")
def float_network(folder: Path) -> Module:
    """The file's network in float, with the file's anchors, as it is when quantization begins."""
    path = folder / f"{NAME}.tflite"
    spec = fit_spec(load_spec("mobiledet-edgetpu"), path).spec
    found = read_tflite(path, spec)
    module = Module.from_onnx(lower(spec, found.weights), find_target("edgetpu-qat"))
    Pipeline(verify=0).run(module, FUSED)
    (detection,) = [node for node in module.graph.nodes if node.domain]
    detection.inputs[2].values = found.anchors
    return module


@pytest.fixture(scope="module")
def written(folder: Path, float_network: Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with the file's own quantization, written by us."""
    path = folder / f"{NAME}.tflite"
    module = _copy(float_network)
    found = read_tflite(path, fit_spec(load_spec("mobiledet-edgetpu"), path).spec)
    InsertQdq(trained_parameters(module.graph, found), scheme=find_scheme("edgetpu-qat")).run(module)
    out = tmp_path_factory.mktemp("written") / "model.tflite"
    out.write_bytes(emit(module, silent).files["model.tflite"])
    return out


def _copy(module: Module) -> Module:
    return Module.from_onnx(module.to_onnx(), module.target)


@cache
def _picture(folder: Path, number: int) -> Array:
    with Image.open(folder / f"image{number}.jpg") as opened:
        return np.asarray(opened.convert("RGB").resize((320, 320)))[None]


def _outputs(path: Path, image: Array, kernels: str) -> list[Array]:
    resolver = getattr(litert.OpResolverType, kernels)
    runner = litert.Interpreter(str(path), num_threads=1, experimental_op_resolver_type=resolver)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], image)
    runner.invoke()
    return [runner.get_tensor(output["index"]) for output in runner.get_output_details()]


@pytest.mark.parametrize(("kernels", "pictures"), [("BUILTIN_REF", (2,)), ("AUTO", PICTURES)])
def test_written_again_it_detects_the_same(folder: Path, written: Path, kernels: str, pictures: range) -> None:
    for number in pictures:
        image = _picture(folder, number)
        original = _outputs(folder / f"{NAME}.tflite", image, kernels)
        again = _outputs(written, image, kernels)
        assert original[3][0] > 0
        for want, got in zip(original, again, strict=True):
            np.testing.assert_array_equal(got, want)


def test_the_written_file_says_what_the_original_says(folder: Path, written: Path) -> None:
    flexbuffers = pytest.importorskip("flatbuffers.flexbuffers")
    graphs = read_graph(folder / f"{NAME}.tflite"), read_graph(written)
    first, second = (flexbuffers.Loads(graph.operators[-1].custom_options) for graph in graphs)
    assert first == pytest.approx(second, rel=1e-7)
    first, second = (graph.tensors[graph.operators[-1].inputs[2]] for graph in graphs)
    assert (first.type, first.zero_points) == (second.type, second.zero_points)
    np.testing.assert_array_equal(first.data, second.data)


def test_the_mapping_is_what_the_compiler_said(folder: Path) -> None:
    log = parse_log((folder / f"{NAME}_edgetpu.log").read_text())
    assert log.version == "14.1.317412892"
    assert log.mapped == 66 + 27 + 15 + 13 + 2 + 1
    assert table(predict(read_graph(folder / f"{NAME}.tflite"))) == log.rows


def test_the_written_file_maps_as_well(folder: Path, written: Path) -> None:
    """All but the one reshape of the boxes that our network does not need."""
    log = parse_log((folder / f"{NAME}_edgetpu.log").read_text())
    want = {(kind, status): count for kind, count, status in log.rows}
    got = {(kind, status): count for kind, count, status in table(predict(read_graph(written)))}
    assert want.pop(("RESHAPE", "Mapped to Edge TPU")) == got.pop(("RESHAPE", "Mapped to Edge TPU")) + 1
    assert got == want


def test_quantized_by_us_it_is_exact_and_sees(folder: Path, float_network: Module, tmp_path: Path) -> None:
    """Post-training quantization of the float network: int8, a scale for every channel."""
    module = _copy(float_network)
    module.target = find_target("edgetpu")
    MoveSigmoid().run(module)
    samples = ListedSamples([{"image": _picture(folder, number)} for number in CALIBRATION])
    InsertQdq(Parameters(ranges=calibrate(module, samples, "min-max"))).run(module)
    emission = emit(module, silent)
    mapped = sum(count for _, count, status in emission.facts["mapping"] if status == "Mapped to Edge TPU")
    assert mapped == 66 + 27 + 15 + 12 + 2 + 6 + 1, "a LOGISTIC for every level, and a QUANTIZE of the picture"
    (tmp_path / "model.tflite").write_bytes(emission.files["model.tflite"])
    manifest = manifest_of(module, emission)
    want = expected(module, "edgetpu-ptq", {"image": _picture(folder, 3)})
    exact = TfliteRunnable(tmp_path / "model.tflite", manifest, 1)
    for name, got in exact.run({"image": _picture(folder, 3)}).items():
        np.testing.assert_array_equal(got, want[name], err_msg=name)
    fast = TfliteRunnable(tmp_path / "model.tflite", manifest, 1, "AUTO")
    for number in PICTURES:
        found = fast.run({"image": _picture(folder, number)})
        assert found["classes"][0, 0] == (number in DOGS)
        assert found["scores"][0, 0] > 0.7
