"""ONNX's own tests of its operators through the whole of `mdc compile --target cpu`.

A test is a model, usually of one node, with inputs and what must come out. What has sequences, optionals, strings or
element types that numpy lacks is left out: no network on a device has them as inputs.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mdcompiler.detector import load
from mdcompiler.errors import MdcError
from tests.fuzz.command_line import mdc
from tests.fuzz.outcome import Outcome

_PLAIN = frozenset(
    (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.UINT16,
        onnx.TensorProto.UINT32,
        onnx.TensorProto.UINT64,
        onnx.TensorProto.BOOL,
    )
)


@functools.cache
def node_tests() -> Mapping[str, Any]:
    """The tests with plain tensors, by name, in their order."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinities in tests of infinities
        found: list[Any] = load_model_tests(kind="node")
        return {case.name: case for case in found if _is_plain(case.model.graph)}


def operator_of(name: str) -> str:
    """The operator that a test is about; a function written out is a test of that function."""
    tests = node_tests()
    base = name.split("_expanded")[0]
    case = tests.get(base, tests[name])
    return str(case.model.graph.node[0].op_type)


class NodeTests:
    """Cases are names of tests."""

    def run(self, case: str, folder: Path) -> Outcome:
        test = node_tests()[case]
        file, out = folder / f"{case}.onnx", folder / "artifact"
        file.write_bytes(test.model.SerializeToString())
        outcome = mdc("compile", file, "-o", out, "--target", "cpu", "--threads", "1")
        if outcome.verdict != "done":
            return outcome
        try:
            faults = [fault for inputs, outputs in test.data_sets for fault in _faults(test, out, inputs, outputs)]
        except MdcError as error:
            faults = [f"it compiled and does not run: {error}"]
        return Outcome("wrong", "; ".join(faults)) if faults else Outcome("right")


def _faults(test: Any, artifact: Path, inputs: list[Any], outputs: list[Any]) -> list[str]:
    graph = test.model.graph
    feeds = {value.name: np.asarray(array) for value, array in zip(graph.input, inputs, strict=True)}
    with load(artifact) as network:
        got = network.run(feeds)
    names = [value.name for value in graph.output]
    faults = [_fault(got[name], np.asarray(want), test) for name, want in zip(names, outputs, strict=True)]
    return [f"{name}: {fault}" for name, fault in zip(names, faults, strict=True) if fault]


def _fault(got: NDArray[Any], want: NDArray[Any], test: Any) -> str:
    """What ONNX's own runner would say; "" when the numbers are right."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    close = np.isclose(got, want, rtol=test.rtol, atol=test.atol, equal_nan=True)
    if close.all():
        return ""
    index = tuple(int(i) for i in np.argwhere(~close)[0])
    return f"{int((~close).sum())} of {want.size} values differ, at {list(index)} {got[index]} instead of {want[index]}"


def _is_plain(graph: onnx.GraphProto) -> bool:
    ends = [*graph.input, *graph.output]
    return all(
        end.type.WhichOneof("value") == "tensor_type" and end.type.tensor_type.elem_type in _PLAIN for end in ends
    )
