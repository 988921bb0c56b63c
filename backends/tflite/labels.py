"""What a file says of itself: the picture it takes, what its outputs mean, the names of its classes.

TFLite metadata (tflite_support/metadata/metadata_schema.fbs, identifier M001) as one buffer of the file, and the labels
as a zip archive behind it, where every unpacker finds `labels.txt`. The schema is a handful of tables, so they are
written slot by slot here rather than with one more package.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteTensor

METADATA = "TFLITE_METADATA"
RUNTIME = "min_runtime_version"
LABELS_FILE = "labels.txt"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
_RUNTIME_VERSION = b"1.14.0".ljust(16, b"\0")
"""The first TensorFlow with int8 versions of all operators that are written."""
_RGB, _VALUE_LABELS, _IMAGE, _NORMALIZATION = 1, 3, 2, 1
"""Words of the schema: ColorSpaceType, AssociatedFileType, ContentProperties, ProcessUnitOptions."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest a zip archive knows: equal networks give equal files."""
_MEANINGS = {
    "boxes": "ymin, xmin, ymax, xmax of every detection, as shares of the picture",
    "classes": "number of the class of every detection, from 0",
    "scores": "score of every detection, best first",
    "count": "how many detections are real",
    "box_encodings": "box encodings of every anchor: y, x, height, width",
    "class_scores": "scores of every anchor after the sigmoid; slot 0 is the background",
}


def metadata(graph: TfliteGraph, name: str, labels: Sequence[str], ends: Mapping[int, str]) -> dict[str, bytes]:
    """The metadata entries of a file. name: of the network. ends: number of an input or output -> our name for it."""
    writer = _Writer(labels)
    return {METADATA: writer.model(graph, name, ends), RUNTIME: _RUNTIME_VERSION}


def with_labels(file: bytes, labels: Sequence[str]) -> bytes:
    """`file` with the labels packed behind it, one a line; `file` itself when there are none."""
    if not labels:
        return file
    packed = io.BytesIO(file)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, _DATE), "\n".join(labels) + "\n")
    return packed.getvalue()


class _Writer:
    """Writes the tables of metadata_schema.fbs; numbers are those of the schema's fields."""

    def __init__(self, labels: Sequence[str]) -> None:
        import flatbuffers

        self.builder: Any = flatbuffers.Builder(1024)
        self.labels = labels

    def model(self, graph: TfliteGraph, name: str, ends: Mapping[int, str]) -> bytes:
        inputs = [self._input(graph.tensors[index], ends[index]) for index in graph.inputs]
        outputs = [self._output(ends[index]) for index in graph.outputs]
        part = self._table(11, {2: self._vector(inputs), 3: self._vector(outputs)})
        fields = {0: self._text(name), 3: self._vector([part]), 7: self._text(_PARSER_VERSION)}
        if self.labels:
            fields[6] = self._vector([self._labels_file(0)])
        self.builder.Finish(self._table(8, fields), _IDENTIFIER)
        return bytes(self.builder.Output())

    def _input(self, tensor: TfliteTensor, name: str) -> int:
        fields = {0: self._text(name)}
        if len(tensor.shape) == 4 and tensor.shape[3] == 3:
            image = self._table(2, {}, small={0: _RGB})
            fields[3] = self._table(3, {1: image}, small={0: _IMAGE})
            fields[4] = self._vector([self._normalization(tensor)])
        return self._table(7, fields)

    def _normalization(self, tensor: TfliteTensor) -> int:
        """(byte - mean) / std, where the file says scale * (byte - zero point)."""
        mean = self._floats([float(tensor.zero_points[0])])
        deviation = self._floats([1.0 / tensor.scales[0]])
        options = self._table(2, {0: mean, 1: deviation})
        return self._table(2, {1: options}, small={0: _NORMALIZATION})

    def _output(self, name: str) -> int:
        fields = {0: self._text(name), 1: self._text(_MEANINGS.get(name, ""))}
        if self.labels and name == "classes":
            fields[6] = self._vector([self._labels_file(_VALUE_LABELS)])
        return self._table(7, fields)

    def _labels_file(self, kind: int) -> int:
        return self._table(4, {0: self._text(LABELS_FILE)}, small={2: kind})

    def _table(self, slots: int, offsets: Mapping[int, int], small: Mapping[int, int] | None = None) -> int:
        """offsets: slot -> what was written before. small: slot -> a number of one byte."""
        self.builder.StartObject(slots)
        for slot, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in (small or {}).items():
            self.builder.PrependUint8Slot(slot, number, 0)
        return int(self.builder.EndObject())

    def _text(self, text: str) -> int:
        return int(self.builder.CreateString(text))

    def _vector(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _floats(self, numbers: Sequence[float]) -> int:
        self.builder.StartVector(4, len(numbers), 4)
        for number in reversed(numbers):
            self.builder.PrependFloat32(number)
        return int(self.builder.EndVector())
