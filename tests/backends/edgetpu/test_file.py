"""The bytes of a file: alignment, versions, metadata, labels, anchors; the same for the same network."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.backends.tflite.byte_anchors import byte_anchors
from mdcompiler.backends.tflite.storage import CHANNELS_LAST, Stored, reordering
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.weights.quantization import Quantization
from mdcompiler.weights.tflite_file import read_graph
from tests.backends.edgetpu.detectors import SCHEMES, detector, quantized_detector

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs the extra `edgetpu`")
flatbuffers = pytest.importorskip("flatbuffers", reason="needs the extra `edgetpu`")
VERSIONS = {
    "edgetpu-ptq": {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "LOGISTIC": 2, "CONCATENATION": 2, "QUANTIZE": 1},
    "edgetpu-qat": {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "ADD": 1, "LOGISTIC": 1, "CONCATENATION": 1, "MUL": 1},
}


@pytest.fixture(scope="module", params=SCHEMES)
def module(request: pytest.FixtureRequest) -> Module:
    return quantized_detector(detector(), request.param)


@pytest.fixture(scope="module")
def file(module: Module) -> bytes:
    return emit(module, silent).files["model.tflite"]


def test_the_same_network_gives_the_same_bytes(module: Module, file: bytes) -> None:
    assert emit(module, silent).files["model.tflite"] == file


def test_constants_are_aligned(file: bytes) -> None:
    model = schema.Model.GetRootAs(file, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength()]
    assert len(starts) > 20
    assert {start % 16 for start in starts} == {0}


def test_versions_are_those_that_the_compiler_takes(module: Module, file: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(file)
    graph = read_graph(tmp_path / "model.tflite")
    written = {operator.kind: operator.version for operator in graph.operators}
    known = VERSIONS[module.metadata["mdc.scheme"]]
    assert {kind: written[kind] for kind in known} == known
    assert graph.subgraphs == 1
    assert {operator.axis for operator in graph.operators if operator.kind == "CONCATENATION"} == {1}
    assert all(min(tensor.shape) > 0 for tensor in graph.tensors)


def test_weights_have_the_quantization_of_their_scheme(module: Module, file: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(file)
    graph = read_graph(tmp_path / "model.tflite")
    for operator in graph.operators:
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weight = graph.tensors[operator.inputs[1]]
            channels = graph.tensors[operator.outputs[0]].shape[3]
            per_channel = module.metadata["mdc.scheme"] == "edgetpu-ptq"
            assert weight.type == ("INT8" if per_channel else "UINT8")
            assert len(weight.scales) == (channels if per_channel else 1)
            assert weight.axis == (3 if per_channel and operator.kind == "DEPTHWISE_CONV_2D" else 0)


def test_labels_are_packed_behind_the_file(file: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.read("labels.txt").decode().split() == ["circle", "square", "star"]


def test_without_labels_there_is_no_archive() -> None:
    spec = detector(head={"levels": ["C2", "C3"], "extra": [16], "classes": 3})
    content = emit(quantized_detector(spec), silent).files["model.tflite"]
    assert not zipfile.is_zipfile(io.BytesIO(content))


class Table:
    """A table of a flatbuffer read without its schema: slots by number."""

    def __init__(self, data: bytes, position: int) -> None:
        self.table = flatbuffers.table.Table(data, position)

    @classmethod
    def root(cls, data: bytes) -> Table:
        return cls(data, int.from_bytes(data[:4], "little"))

    def at(self, slot: int) -> int:
        offset = self.table.Offset(4 + 2 * slot)
        assert offset, f"slot {slot} is empty"
        return int(offset + self.table.Pos)

    def text(self, slot: int) -> str:
        return bytes(self.table.String(self.at(slot))).decode()

    def byte(self, slot: int) -> int:
        return int(self.table.Bytes[self.at(slot)])

    def child(self, slot: int) -> Table:
        return Table(self.table.Bytes, self.table.Indirect(self.at(slot)))

    def _vector(self, slot: int) -> tuple[int, int]:
        relative = self.at(slot) - self.table.Pos
        return int(self.table.Vector(relative)), int(self.table.VectorLen(relative))

    def children(self, slot: int) -> list[Table]:
        start, count = self._vector(slot)
        return [Table(self.table.Bytes, self.table.Indirect(start + 4 * index)) for index in range(count)]

    def floats(self, slot: int) -> list[float]:
        start, count = self._vector(slot)
        return [float(number) for number in np.frombuffer(self.table.Bytes, "<f4", count, start)]


def metadata_of(file: bytes) -> dict[str, bytes]:
    model = schema.Model.GetRootAs(file, 0)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    return {entry.Name().decode(): model.Buffers(entry.Buffer()).DataAsNumpy().tobytes() for entry in entries}


def test_metadata_tells_picture_outputs_and_labels(file: bytes) -> None:
    found = metadata_of(file)
    assert found["min_runtime_version"] == b"1.14.0".ljust(16, b"\0")
    content = found["TFLITE_METADATA"]
    assert content[4:8] == b"M001"
    root = Table.root(content)
    assert (root.text(0), root.text(7)) == ("small", "1.0.0")
    assert root.children(6)[0].text(0) == "labels.txt"
    (part,) = root.children(3)
    (image,) = part.children(2)
    assert image.text(0) == "image"
    picture = image.child(3)
    assert (picture.byte(0), picture.child(1).byte(0)) == (2, 1), "ImageProperties, RGB"
    (unit,) = image.children(4)
    options = unit.child(1)
    assert unit.byte(0) == 1, "NormalizationOptions"
    assert options.floats(0) == [127.0]
    assert options.floats(1) == pytest.approx([127.5])
    outputs = part.children(3)
    assert [output.text(0) for output in outputs] == ["boxes", "classes", "scores", "count"]
    assert (outputs[1].children(6)[0].text(0), outputs[1].children(6)[0].byte(2)) == ("labels.txt", 3)


@given(
    data=st.lists(st.integers(0, 255), min_size=4, max_size=40),
    scale=st.floats(2**-13, 1.0, width=32),
    zero_point=st.integers(0, 40),
)
def test_anchors_that_are_bytes_stay_the_same_bytes(data: list[int], scale: float, zero_point: int) -> None:
    """Of files whose bytes use the whole range, as converters choose it."""
    steps = np.array([0, 255, *data], np.uint8)
    steps = np.resize(steps, (len(steps) // 4 * 4 or 4,)).reshape(-1, 4)
    steps[0, :2] = 0, 255
    anchors = Quantization((scale,), (zero_point,), "uint8").dequantize(steps)
    found = byte_anchors(anchors)
    assert found is not None
    np.testing.assert_array_equal(found[0], steps)
    np.testing.assert_array_equal(found[1].dequantize(found[0]), anchors)


@pytest.mark.parametrize("anchors", [np.zeros((3, 4), np.float32), np.array([[0.1, 0.77, 0.313, 0.999]], np.float32)])
def test_anchors_that_are_none(anchors: Any) -> None:
    assert byte_anchors(anchors) is None


@given(permutation=st.permutations(range(4)), order=st.permutations(range(4)))
def test_a_transposed_tensor_is_stored_once(permutation: list[int], order: list[int]) -> None:
    ours = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    held = ours.transpose(order)
    turned = Stored(0, tuple(order)).transposed(permutation)
    np.testing.assert_array_equal(ours.transpose(permutation).transpose(turned.order), held)
    wanted = reordering(order, CHANNELS_LAST)
    np.testing.assert_array_equal(held.transpose(wanted), ours.transpose(CHANNELS_LAST))
