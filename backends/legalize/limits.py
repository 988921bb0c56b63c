"""What is known not to survive TVM's legalisation. Each limit's docstring is the message that users read.

A limit takes a node and says whether it is broken. Limits found by running the node tests of the onnx
package through `from_onnx` of TVM 0.27: some operators come out wrong, some end the process.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.kernel import Kernel

Limit = Callable[[gs.Node], bool]

_DTYPES = {
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
}


def standard_domain(node: gs.Node) -> bool:
    """it is no operator of the ONNX standard"""
    return (node.domain or "") not in ("", "ai.onnx")


def no_control_flow(node: gs.Node) -> bool:
    """it holds graphs of its own; only straight-line networks are compiled"""
    return any(isinstance(value, gs.Graph) for value in node.attrs.values())


def plain_dtypes(node: gs.Node) -> bool:
    """it works on something else than dense tensors of bool, integers or floats of 16, 32 or 64 bits"""
    return any(tensor.dtype is None or _dtype_name(tensor) not in _DTYPES for tensor in _tensors(node))


def static_shapes(node: gs.Node) -> bool:
    """a shape of it is known only at run time"""
    return any(
        tensor.shape is None or not all(isinstance(extent, int) for extent in tensor.shape) for tensor in _tensors(node)
    )


def no_empty_tensors(node: gs.Node) -> bool:
    """a tensor of it has no elements"""
    return any(0 in (tensor.shape or ()) for tensor in node.outputs)


def _dtype_name(tensor: gs.Tensor) -> str:
    try:
        return str(np.dtype(tensor.dtype))
    except TypeError:
        return ""


def _tensors(node: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in (*node.inputs, *node.outputs) if not tensor.is_empty()]


LIMITS: tuple[Limit, ...] = (standard_domain, no_control_flow, plain_dtypes, static_shapes, no_empty_tensors)


def why_not(kernel: Kernel) -> str | None:
    """Why `kernel` cannot be legalised, as far as is known beforehand; None when it may be tried."""
    for node in kernel.nodes:
        for limit in LIMITS:
            if limit(node):
                return str(limit.__doc__)
    return None


def limit_table() -> dict[str, str]:
    """Name of each limit -> its message."""
    return {limit.__name__: str(limit.__doc__) for limit in LIMITS}
