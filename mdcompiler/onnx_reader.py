"""Reading ONNX models that were made elsewhere.

    module = read_onnx("model.onnx", target)

The file is not trusted: its size, its nodes and its tensors are bounded, weights are read only from its
own folder, and whatever is wrong with it is a ModelError with one clear message. What comes out keeps the
promises of the read stage: the ONNX checker passes in full, nodes are in order, names are unique, every
tensor has a type and a static shape.

Opsets 7 to 16 are converted to 17; 17 to 26 stay as they are. A symbolic batch is set to 1, which the
metadata entry `mdc.batch` records. A model that `Module.to_onnx` wrote comes back equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from mdcompiler.convert_opset import converted
from mdcompiler.errors import InternalError, MdcError, ModelError
from mdcompiler.foreign import reason as reason_of
from mdcompiler.foreign import shortened
from mdcompiler.kernel import KERNEL, KIND, LAYOUT, kernels
from mdcompiler.kernel_kinds import KINDS
from mdcompiler.module import Module, replace_constant_nodes
from mdcompiler.names import name_all
from mdcompiler.onnx_faults import raise_faults
from mdcompiler.onnx_file import load_file, tensors
from mdcompiler.onnx_functions import without_functions
from mdcompiler.onnx_graph import all_nodes, drop_unneeded, hand_inputs_out, hand_weights_out
from mdcompiler.onnx_limits import ELEMENT_TYPES, model_faults, node_faults
from mdcompiler.onnx_metadata import check_metadata
from mdcompiler.onnx_operands import check_operands
from mdcompiler.onnx_order import sort_nodes
from mdcompiler.onnx_shapes import fix_batch, infer_shapes, input_faults
from mdcompiler.onnx_sizes import check_sizes
from mdcompiler.onnx_types import element_name
from mdcompiler.operators import IR_VERSION, attach_functions, detach_functions
from mdcompiler.target import Target
from mdcompiler.verify import check_structure

BATCH = "mdc.batch"


def read_onnx(path: str | Path, target: Target) -> Module:
    """The network in the ONNX file `path` for `target`. Raises ModelError when it cannot be compiled."""
    try:
        return module_from_model(load_file(Path(path)), target)
    except ModelError as error:
        text = str(error)
        raise ModelError(text if str(path) in text else f"{path}: {text}") from error


def module_from_model(model: onnx.ModelProto, target: Target) -> Module:
    """The network `model`, weights in memory, for `target`. Raises ModelError when it cannot be compiled."""
    prepared = prepare_model(model)
    with _as_model_error():
        module = Module.from_onnx(prepared, target)
        replace_constant_nodes(module.graph)
        name_all(module.graph)
        check_structure(module)
        _check_marks(module)
    module.original = _lean(model)
    return module


def _lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """What the judge runs: the model of the file, without what no output needs and would take memory for nothing."""
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    sort_nodes(kept)
    drop_unneeded(kept.graph)
    return kept


@contextmanager
def _as_model_error() -> Iterator[None]:
    """A foreign file may break any assumption of the libraries underneath; to the user it is one thing."""
    try:
        yield
    except MdcError:
        raise
    except Exception as error:
        raise ModelError(
            f"the ONNX model is damaged: {reason_of(error)}. Check it with onnx.checker.check_model and export it "
            "again."
        ) from error


def prepare_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` that keeps the promises of the read stage, or ModelError.

    Names of nodes stay as they are; `module_from_model` repairs those that are missing or double.
    """
    with _as_model_error():
        return _prepared(model)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    plain = _without_dead_code(model)
    _check_limits(plain)
    changed = fix_batch(plain)
    _check_tensors(plain)
    plain = infer_shapes(plain)
    newer = converted(plain)
    plain = plain if newer is plain else infer_shapes(newer)
    plain.ir_version = max(plain.ir_version, IR_VERSION)
    if changed:
        plain.metadata_props.add(key=BATCH, value="1")
    check_operands(plain)
    check_sizes(plain)
    _check(plain)
    return plain


def _without_dead_code(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with its nodes in order, its own functions written out, and only what an output needs."""
    raise_faults(model_faults(model))
    check_metadata(model)
    plain = without_functions(detach_functions(model))
    for owner in (*plain.opset_import, *all_nodes(plain.graph)):
        if owner.domain == "ai.onnx":
            owner.domain = ""
    sort_nodes(plain)
    drop_unneeded(plain.graph)
    hand_weights_out(plain.graph)
    hand_inputs_out(plain)
    return plain


def _check_limits(model: onnx.ModelProto) -> None:
    """Raise ModelError with every limit that a node of `model` breaks; its inputs are looked at as well."""
    found = [fault for node in model.graph.node for fault in node_faults(node)]
    if found:
        raise_faults([*found, *input_faults(model)])


def _check_tensors(model: onnx.ModelProto) -> None:
    """Raise ModelError unless every weight has the type and the number of values it claims."""
    raise_faults(
        f"weight {tensor.name!r} of shape {list(tensor.dims)} cannot be read: {reason}. Export the model again."
        for tensor in tensors(model)
        if (reason := _unreadable(tensor))
    )


def _unreadable(tensor: onnx.TensorProto) -> str | None:
    if tensor.data_type not in ELEMENT_TYPES:
        kind = element_name(tensor.data_type)
        return f"its element type is {kind}; allowed are floats of 16 to 64 bits, integers and booleans"
    try:
        values = numpy_helper.to_array(tensor)
    except Exception as error:
        return reason_of(error)
    if values.size and values.dtype.kind == "f" and not np.isfinite(values).any():
        return "all its values are NaN or infinite, so that nothing it takes part in is a number"
    return None


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(attach_functions(detach_functions(model)), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        text = shortened(" ".join(str(error).split()))
        raise ModelError(f"the ONNX checker refuses the model: {text}. Export it again.") from error


def _check_marks(module: Module) -> None:
    """Raise ModelError unless the `mdc.` marks in a file are such as the fuse and place stages write."""
    for node in module.graph.nodes:
        for key in (KERNEL, LAYOUT):
            if not isinstance(node.attrs.get(key, ""), str):
                raise ModelError(f"node {node.name!r}: {key} is {node.attrs[key]!r}; a text. Remove this mark.")
        if node.attrs.get(KIND, "generic") not in tuple(KINDS):
            raise ModelError(f"node {node.name!r}: {KIND} is {node.attrs[KIND]!r}; one of {', '.join(KINDS)}.")
    try:
        kernels(module.graph)
    except InternalError as error:
        raise ModelError(f"the marks {KERNEL} in the model are wrong: {error}. Remove them.") from error
