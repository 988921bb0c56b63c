"""What TVM made of a kernel against the reference, on one seeded input. Runs in the child process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tvm
from numpy.typing import NDArray

from mdcompiler.backends.legalize.lower_relax import Lowered
from mdcompiler.errors import ModelError, UnsupportedError
from mdcompiler.reference import run_reference
from mdcompiler.tolerance import describe_difference, within_float_tolerance

MAX_MACS = 200_000_000
MAX_ELEMENTS = 8_000_000
_INDEXING = ("Gather", "Scatter", "OneHot", "TensorScatter")

Arrays = dict[str, NDArray[Any]]


def is_small(model: onnx.ModelProto, lowered: Lowered, macs: int) -> bool:
    """Whether a check costs well under a second."""
    shapes = [_shape(value) for value in (*model.graph.input, *model.graph.output)]
    shapes += [shape for shape, _ in lowered.temporaries.values()]
    return macs <= MAX_MACS and sum(math.prod(shape) for shape in shapes) <= MAX_ELEMENTS


def check(model: onnx.ModelProto, lowered: Lowered) -> bool:
    """True when `lowered` computes what `model` says; False when the reference refuses made-up inputs.

    Raises UnsupportedError when the numbers differ.
    """
    case = _reference_case(model)
    if case is None:
        return False
    inputs, wanted = case
    got = run_lowered(lowered, inputs, wanted)
    for name, want in wanted.items():
        if not within_float_tolerance(got[name], want):
            raise UnsupportedError(
                f"TVM computes something else than ONNX says: output {name!r}: {describe_difference(got[name], want)}"
            )
    return True


def run_lowered(lowered: Lowered, inputs: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]]) -> Arrays:
    """Run the calls of `lowered` in this process; outputs by name, of the shapes and dtypes of `like`."""
    module = tvm.IRModule({name: f.with_attr("global_symbol", name) for name, f in lowered.functions.items()})
    library = tvm.compile(module, target={"kind": "llvm"})
    tensors = {name: tvm.runtime.tensor(array) for name, array in {**lowered.constants, **inputs}.items()}
    for name, (shape, dtype) in lowered.temporaries.items():
        tensors[name] = tvm.runtime.empty(shape, dtype)
    for name, array in like.items():
        tensors[name] = tvm.runtime.empty(array.shape, array.dtype.name)
    for call in lowered.calls:
        library[call.function](*[tensors[name] for name in call.arguments])
    return {name: tensors[name].numpy() for name in like}


def _reference_case(model: onnx.ModelProto) -> tuple[Arrays, Arrays] | None:
    """Inputs that a reference accepts, with its outputs; None when there are none."""
    inputs = _sample_inputs(model)
    try:
        return inputs, run_reference(model, inputs)
    except ModelError:
        return None


def _sample_inputs(model: onnx.ModelProto) -> Arrays:
    generator = np.random.default_rng(0)
    # An index out of range is undefined; 0 and 1 are in range nearly everywhere.
    integers = 2 if any(node.op_type.startswith(_INDEXING) for node in model.graph.node) else 256
    return {value.name: _sample(generator, value, integers) for value in model.graph.input}


def _sample(generator: np.random.Generator, value: onnx.ValueInfoProto, integers: int) -> NDArray[Any]:
    """Floats within [-8, 8], where the activations of convolution networks bend; `integers` different integers."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if np.issubdtype(dtype, np.floating):
        return np.asarray(generator.uniform(-8, 8, _shape(value)), dtype)
    if dtype == np.bool_:
        return np.asarray(generator.integers(0, 2, _shape(value)), dtype)
    low = 0 if np.issubdtype(dtype, np.unsignedinteger) or integers == 2 else -integers // 2
    return np.asarray(generator.integers(low, low + integers, _shape(value)), dtype)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
