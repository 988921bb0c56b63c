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
    computed = [tensor for tensor in _tensors(node) if isinstance(tensor, gs.Variable)]
    return any(0 in tensor.shape for tensor in computed)


def size_by_value(node: gs.Node) -> bool:
    """the size of its result depends on the values in its input; only static shapes are compiled"""
    return node.op in ("Compress", "NonMaxSuppression", "NonZero", "Unique")


def batchnorm_of_inference(node: gs.Node) -> bool:
    """it is a BatchNormalization in training mode; export the network for inference"""
    return str(node.op) == "BatchNormalization" and (bool(node.attrs.get("training_mode")) or len(node.outputs) > 1)


def layernorm_without_statistics(node: gs.Node) -> bool:
    """its mean and inverse deviation are read; TVM makes only the normalised output of LayerNormalization"""
    return str(node.op) == "LayerNormalization" and len(node.outputs) > 1


def integer_mod(node: gs.Node) -> bool:
    """it is a Mod of floats, whose sign TVM gets wrong"""
    return str(node.op) == "Mod" and bool(np.issubdtype(node.outputs[0].dtype, np.floating))


def isinf_of_both_signs(node: gs.Node) -> bool:
    """it is an IsInf of one sign only; TVM looks for both"""
    signs = (node.attrs.get(f"detect_{sign}", 1) for sign in ("negative", "positive"))
    return str(node.op) == "IsInf" and not all(signs)


def no_cubic_resize(node: gs.Node) -> bool:
    """it resizes by cubic interpolation, which TVM rounds differently; use nearest or linear"""
    return node.op in ("Resize", "Upsample") and str(node.attrs.get("mode", "nearest")) == "cubic"


def no_roi_align(node: gs.Node) -> bool:
    """TVM samples the regions of RoiAlign at other points than ONNX says"""
    return str(node.op) == "RoiAlign"


def no_bit_shift(node: gs.Node) -> bool:
    """it is a BitShift, whose result C leaves open for negative and for large shifts"""
    return str(node.op) == "BitShift"


def depth_first_space_to_depth(node: gs.Node) -> bool:
    """it is a SpaceToDepth of mode CRD; TVM knows DCR alone"""
    return node.op == "SpaceToDepth" and str(node.attrs.get("mode", "DCR")) != "DCR"


def _dtype_name(tensor: gs.Tensor) -> str:
    try:
        return str(np.dtype(tensor.dtype))
    except TypeError:
        return ""


def _tensors(node: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in (*node.inputs, *node.outputs) if not tensor.is_empty()]


LIMITS: tuple[Limit, ...] = (
    # These hold for every operator; the others may rely on them.
    standard_domain,
    no_control_flow,
    size_by_value,
    plain_dtypes,
    static_shapes,
    no_empty_tensors,
    # These are faults of TVM in single operators.
    batchnorm_of_inference,
    layernorm_without_statistics,
    integer_mod,
    isinf_of_both_signs,
    no_cubic_resize,
    no_roi_align,
    no_bit_shift,
    depth_first_space_to_depth,
)


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
