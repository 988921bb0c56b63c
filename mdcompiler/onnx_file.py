"""ONNX files from anywhere: read within bounds, weights only from beside the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper

from mdcompiler.errors import ModelError

MAX_FILE_BYTES = (2 << 30) - 1
"""Largest model, weights beside it included: protobuf's own limit."""


def load_file(path: Path) -> onnx.ModelProto:
    """The model in the file `path` with all its weights in memory.

    Raises ModelError when the file cannot be read, is no ONNX, is too large, or names weights outside its
    folder.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path} has {path.stat().st_size} bytes; at most {MAX_FILE_BYTES} can be read. Use a smaller model."
            )
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    except (DecodeError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} is no ONNX model or was cut short ({error}). Export or copy it again; a file ends in .onnx "
            "and `onnx.checker.check_model` accepts it."
        ) from error
    _load_weights(model, path)
    return model


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    outside = [tensor for tensor in tensors(model) if external_data_helper.uses_external_data(tensor)]
    if not outside:
        return
    folder = path.parent.resolve()
    total = sum(_checked_bytes(tensor, folder, path) for tensor in outside)
    if total > MAX_FILE_BYTES:
        raise ModelError(f"{path}: the weights beside it take {total} bytes; at most {MAX_FILE_BYTES}.")
    for tensor in outside:
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor with values in the main graph: initializers and attributes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _checked_bytes(tensor: onnx.TensorProto, folder: Path, path: Path) -> int:
    """How many bytes `tensor` reads from its file. Raises ModelError when they are not beside the model."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = (folder / location).resolve()
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
        raise ModelError(
            f"{path}: weight {tensor.name!r} is stored in {location!r}; only files in the folder of the model are "
            "read. Put the weights beside the model."
        )
    if not file.is_file():
        raise ModelError(f"{path}: weight {tensor.name!r} is stored in {location!r}, which is missing. Copy it too.")
    offset, available = _number(entries, "offset", 0, path), file.stat().st_size
    length = _number(entries, "length", max(available - offset, 0), path)
    if offset + length > available:
        raise ModelError(
            f"{path}: weight {tensor.name!r} needs bytes {offset} to {offset + length} of {location}, which has "
            f"{available}. The file was cut short: copy it again."
        )
    return length


def _number(entries: dict[str, str], key: str, missing: int, path: Path) -> int:
    text = entries.get(key)
    if text is None:
        return missing
    if not text.isascii() or not text.isdigit():
        raise ModelError(f"{path}: {key} of external data is {text!r}; a whole number. Export the model again.")
    return int(text)
