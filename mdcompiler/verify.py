"""What must hold after every pass: a well-formed graph (always) and unchanged numbers (when asked).

`check_structure` is cheap and always on. `check_numbers` runs the network before and after on one seeded
input; it is for tests and for `MDC_VERIFY=2`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backend import Arrays
from mdcompiler.errors import InternalError
from mdcompiler.module import Module
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample
from mdcompiler.tolerance import describe_difference, within_float_tolerance

Array = NDArray[Any]


def check_structure(module: Module) -> None:
    """Raise InternalError unless the ONNX checker passes in full, names are unique and shapes static."""
    fault = _structure_fault(module.graph)
    if fault:
        raise InternalError(fault)
    try:
        onnx.checker.check_model(module.to_onnx(), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InternalError(f"the ONNX checker says: {error}") from error


def _structure_fault(graph: gs.Graph) -> str | None:
    seen: set[str] = set()
    for node in graph.nodes:
        if not node.name or node.name in seen:
            return f"node name {node.name!r} of a {node.op} is empty or taken"
        seen.add(node.name)
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Variable) and not tensor.is_empty() and not _is_static(tensor):
            return f"tensor {tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}; both must be known"
    return None


def _is_static(tensor: gs.Variable) -> bool:
    return tensor.dtype is not None and tensor.shape is not None and all(isinstance(d, int) for d in tensor.shape)


def sample_inputs(module: Module, seed: int = 0) -> dict[str, Array]:
    """One seeded input for every graph input: bytes over their whole range, floats from [-1, 1]."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: sample(generator, tuple(tensor.shape), np.dtype(tensor.dtype)) for tensor in module.graph.inputs
    }


def check_numbers(module: Module, inputs: Arrays, expected: Arrays) -> None:
    """Raise InternalError when the outputs of `module` on `inputs` leave the tolerance around `expected`."""
    got = run_reference(module.to_onnx(), inputs)
    for name, want in expected.items():
        if not within_float_tolerance(got[name], want):
            raise InternalError(f"output {name!r} changed: {describe_difference(got[name], want)}")
