"""Types of tensors as ONNX writes them."""

from __future__ import annotations

import math
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TypeProto, helper


def is_fixed(extent: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether an extent is a plain number."""
    return extent.HasField("dim_value") and extent.dim_value >= 0


def is_static(kind: TypeProto | None) -> bool:
    """Whether `kind` is a tensor whose shape is all numbers."""
    return (
        kind is not None
        and kind.HasField("tensor_type")
        and kind.tensor_type.HasField("shape")
        and all(is_fixed(extent) for extent in kind.tensor_type.shape.dim)
    )


def shape_of(kind: TypeProto) -> list[int]:
    """The extents of a static tensor type."""
    return [extent.dim_value for extent in kind.tensor_type.shape.dim]


def elements_of(kind: TypeProto) -> int:
    """How many elements a static tensor type has."""
    return math.prod(shape_of(kind))


def bytes_of(kind: TypeProto) -> int:
    """The memory of a static tensor type; elements of fewer than eight bits count as bytes."""
    try:
        return elements_of(kind) * int(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).itemsize)
    except KeyError:
        return 0


def type_of(values: NDArray[Any]) -> TypeProto:
    """The type of an array."""
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(values.dtype), list(values.shape))


def agrees(kind: TypeProto, other: TypeProto | None) -> bool:
    """Whether two tensor types can be of one tensor: nothing that both know differs."""
    if other is None or not other.HasField("tensor_type"):
        return True
    left, right = kind.tensor_type, other.tensor_type
    if left.elem_type and right.elem_type and left.elem_type != right.elem_type:
        return False
    if not (left.HasField("shape") and right.HasField("shape")):
        return True
    pairs = list(zip(left.shape.dim, right.shape.dim, strict=False))
    known = [(a.dim_value, b.dim_value) for a, b in pairs if is_fixed(a) and is_fixed(b)]
    return len(left.shape.dim) == len(right.shape.dim) and all(a == b for a, b in known)


def completed(kind: TypeProto, stated: TypeProto | None) -> TypeProto:
    """`kind`, and where it does not know an extent, what is `stated` if that fits what it knows."""
    if stated is None or is_static(kind) or not stated.HasField("tensor_type") or not agrees(kind, stated):
        return kind
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return stated
    merged = TypeProto()
    merged.CopyFrom(kind)
    for extent, said in zip(merged.tensor_type.shape.dim, stated.tensor_type.shape.dim, strict=False):
        if not is_fixed(extent) and is_fixed(said):
            extent.dim_value = said.dim_value
    return merged


def element_name(element: int) -> str:
    """ONNX's name of an element type, or its number."""
    known = onnx.TensorProto.DataType.values()
    return str(onnx.TensorProto.DataType.Name(element)) if element in known else f"number {element}"
