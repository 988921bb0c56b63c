"""Running a `.tflite` file with LiteRT as if it were the network it was written from.

The reference kernels are used: they define what a file means, and the integer reference equals them bit for bit.
XNNPACK is faster, and at most one step of a scale away in every operator. LiteRT's third set, optimised kernels without
a delegate, is not used: in version 2.3.0 one element of eight of its MEAN is off by one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.artifact import listed_bytes
from mdcompiler.backend import Arrays
from mdcompiler.backends.tflite.litert import interpreter
from mdcompiler.errors import ArtifactError, InternalError

Array = NDArray[Any]
Orders = Sequence[Sequence[int]]


class TfliteRunnable:
    """A file and the names, types and orders of axes that its ends have in the network."""

    def __init__(
        self,
        path: Path,
        manifest: Mapping[str, Any],
        threads: int,
        kernels: str = "BUILTIN_REF",
        content: bytes | None = None,
    ) -> None:
        """kernels: a word of LiteRT's OpResolverType; AUTO runs XNNPACK. content: the file, where it was read already.

        Raises ArtifactError when LiteRT does not take the file, MissingToolError when it is not installed.
        """
        litert = interpreter()
        orders = _orders(manifest, path)
        resolver = getattr(litert.OpResolverType, kernels)
        try:
            source: dict[str, Any] = {"model_path": str(path)} if content is None else {"model_content": content}
            self._runner = litert.Interpreter(**source, num_threads=threads, experimental_op_resolver_type=resolver)
            self._runner.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"opening {path}: LiteRT does not take it ({error}). Compile the network again."
            ) from error
        self._inputs = _ends(manifest["inputs"], self._runner.get_input_details(), orders["inputs"])
        self._outputs = _ends(manifest["outputs"], self._runner.get_output_details(), orders["outputs"])
        self._lock = threading.Lock()
        self._closed = False

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Outputs by name; see `mdcompiler.backend.Runnable`. One call at a time, others wait."""
        with self._lock:
            if self._closed:
                raise InternalError("the file was closed and is used again; open it anew.")
            for end in self._inputs:
                self._runner.set_tensor(end.index, end.to_file(inputs[end.name]))
            self._runner.invoke()
            found = {end.name: end.from_file(self._runner.get_tensor(end.index)) for end in self._outputs}
        return _without_unused_rows(found)

    def close(self) -> None:
        """Let the interpreter go."""
        with self._lock:
            self._closed = True
            self._runner = None


def open_listed(directory: Path, manifest: Mapping[str, Any], name: str, threads: int) -> TfliteRunnable:
    """The file `name` of an artifact: the bytes that its manifest states. Raises ArtifactError."""
    return TfliteRunnable(directory / name, manifest, threads, content=listed_bytes(directory, manifest, name))


class _End:
    """One input or output: between the network's array and the file's."""

    def __init__(self, entry: Mapping[str, Any], detail: Mapping[str, Any], order: Sequence[int]) -> None:
        self.name, self.index, self.order = str(entry["name"]), int(detail["index"]), tuple(order)
        self.shape, self.dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        self.file_dtype = np.dtype(detail["dtype"])
        parameters = detail["quantization_parameters"]
        self.converts = self.dtype != self.file_dtype
        self.scale = np.float32(parameters["scales"][0]) if self.converts else np.float32(1)
        self.zero_point = int(parameters["zero_points"][0]) if self.converts else 0

    def to_file(self, array: Array) -> Array:
        """`array` as the file takes it, quantized as ONNX's QuantizeLinear does."""
        moved = np.transpose(array, self.order)
        if self.converts:
            least, most = np.iinfo(self.file_dtype).min, np.iinfo(self.file_dtype).max
            steps = np.rint(moved / self.scale) + np.float32(self.zero_point)
            moved = np.clip(steps, least, most).astype(self.file_dtype)
        return np.ascontiguousarray(moved)

    def from_file(self, array: Array) -> Array:
        """The file's `array` as the network gives it, dequantized as ONNX's DequantizeLinear does."""
        real = array
        if self.converts:
            real = (array.astype(np.int32) - self.zero_point).astype(np.float32) * self.scale
        turned = np.transpose(real, np.argsort(self.order)) if real.ndim == len(self.order) else real
        return np.ascontiguousarray(turned.reshape(self.shape))


def _ends(entries: Sequence[Any], details: Sequence[Any], orders: Orders) -> list[_End]:
    return [_End(*row) for row in zip(entries, details, orders, strict=True)]


def _orders(manifest: Mapping[str, Any], path: Path) -> dict[str, Orders]:
    """The axis orders that the manifest's facts state; they come from a file, so they are checked."""
    stated = manifest["facts"].get("orders")
    found = {side: _side(stated, side, manifest[side]) for side in ("inputs", "outputs")}
    odd = [side for side, orders in found.items() if len(orders) != len(manifest[side])]
    if odd:
        raise ArtifactError(
            f"opening {path}: the manifest's fact `orders` does not say how the {odd[0]} lie in the file. "
            "Compile the network again."
        )
    return found


def _side(stated: Any, side: str, entries: Sequence[Any]) -> Orders:
    """The sound orders of one side."""
    rows = stated.get(side) if isinstance(stated, dict) else None
    pairs = zip(rows, entries, strict=False) if isinstance(rows, list) else ()
    return [row for row, entry in pairs if row in map(list, permutations(range(len(entry["shape"]))))]


def _without_unused_rows(outputs: dict[str, Array]) -> dict[str, Array]:
    """Detections behind the count are undefined in TFLite's fast mode; here they are zero, as everywhere."""
    if set(outputs) != {"boxes", "classes", "scores", "count"}:
        return outputs
    count = int(outputs["count"][0])
    for name in ("boxes", "classes", "scores"):
        outputs[name][:, count:] = 0
    return outputs
