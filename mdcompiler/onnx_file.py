"""ONNX files from anywhere: read within bounds, weights only from beside the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import external_data_helper

from mdcompiler.errors import ModelError
from mdcompiler.foreign import is_file, open_file, read_file, refusing, shortened
from mdcompiler.onnx_graph import nested_graphs

MAX_FILE_BYTES = (2 << 30) - 1
"""Largest model, weights beside it included: protobuf's own limit."""
_MOST_DIGITS = 18
"""Of an offset or a length: they fit 64 bits."""


def load_file(path: Path) -> onnx.ModelProto:
    """The model in the file `path` with all its weights in memory.

    Raises ModelError when the file cannot be read, is no ONNX, is too large, or names weights outside its
    folder.
    """
    with refusing(f"{path} cannot be read", ModelError, "Check the path."):
        content = read_file(path, MAX_FILE_BYTES)
    advice = "Export or copy it again; a file ends in .onnx and `onnx.checker.check_model` accepts it."
    with refusing(f"{path} is no ONNX model or was cut short", ModelError, advice):
        model = onnx.load_model_from_string(content)
    outside = [tensor for tensor in tensors(model) if external_data_helper.uses_external_data(tensor)]
    with refusing(f"{path}: reading the weights beside it", ModelError, "Export the model again."):
        _load_weights(outside, path)
    return model


def _load_weights(outside: list[onnx.TensorProto], path: Path) -> None:
    parts = [_part(tensor, path) for tensor in outside]
    total = sum(length for _, _, length in parts)
    if total > MAX_FILE_BYTES:
        raise ModelError(
            f"{path}: the weights beside it take {total} bytes; at most {MAX_FILE_BYTES} can be read. Use a smaller "
            "model."
        )
    for tensor, (file, offset, length) in zip(outside, parts, strict=True):
        with open_file(file) as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor with values: initializers and attributes, of graphs inside nodes and of functions as well."""
    yield from model.graph.initializer
    yield from _inside(model.graph.node)
    for body in model.functions:
        yield from _inside(body.node)


def _inside(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in nested_graphs(node):
            yield from graph.initializer
            yield from _inside(graph.node)


def _part(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int, int]:
    """The file, the first byte and the number of bytes of `tensor`. Raises ModelError when they are not beside the
    model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    where = f"{path}: weight {shortened(tensor.name, 80)!r} is stored in {shortened(location, 120)!r}"
    folder = path.parent.resolve()
    if not location or "\0" in location or Path(location).is_absolute() or ".." in Path(location).parts:
        raise ModelError(f"{where}; only files in the folder of the model are read. Put the weights beside the model.")
    if not is_file(folder / location):
        raise ModelError(f"{where}, which is missing or no file. Copy it too.")
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise ModelError(f"{where}; only files in the folder of the model are read. Put the weights beside the model.")
    offset, available = _number(entries, "offset", 0, path), file.stat().st_size
    length = _number(entries, "length", max(available - offset, 0), path)
    if offset + length > available:
        raise ModelError(
            f"{where}, bytes {offset} to {offset + length}; the file has {available}. It was cut short: copy it again."
        )
    return file, offset, length


def _number(entries: dict[str, str], key: str, missing: int, path: Path) -> int:
    text = entries.get(key)
    if text is None:
        return missing
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise ModelError(
            f"{path}: {key} of external data is {shortened(text, 40)!r}; a whole number. Export the model again."
        )
    return int(text)
