"""The value of one ONNX node whose inputs are known, where it is small and cheap to compute.

Exporters compute shapes at run time (Shape, Gather, Mul, Concat …) even where every input is static. Only operators
that such arithmetic is made of are computed; the size of the result is known before.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

MAX_KNOWN_ELEMENTS = 1 << 16
"""Largest tensor whose values are computed while a model is read."""

MAX_KNOWN_BYTES = 64 << 20
"""Of all values together that are computed while a model is read."""
MAX_CONSTANT_MIB = 512
"""Of all results together that depend on no input: a few bytes of ONNX can ask for terabytes."""

Array = NDArray[Any]

OPERATORS = frozenset(
    """
    Abs Add And ArgMax ArgMin BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Compress Concat
    Constant ConstantOfShape CumSum Div Equal Expand EyeLike Flatten Floor Gather GatherElements GatherND Greater
    GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Max Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round ScatterElements ScatterND Shape Sign
    Size Slice Split Sqrt Squeeze Sub Sum Tile Transpose Trilu Unique Unsqueeze Where Xor
    """.split()  # noqa: SIM905 - a list of strings is no easier to read
)
SIZE_BY_VALUE = frozenset({"Compress", "NonZero", "Unique"})
"""Operators whose result is at most as large as their input, and how large is seen when it is computed."""


def evaluate(node: onnx.NodeProto, inputs: Sequence[Array | None], opsets: Sequence[Any]) -> list[Array]:
    """The outputs of `node`. inputs: None for one that is left out.

    Raises whatever the reference evaluator raises, FloatingPointError for a division by zero or a number that does
    not fit its type.
    """
    names = [name for name, values in zip(node.input, inputs, strict=True) if values is not None]
    feeds = {name: values for name, values in zip(node.input, inputs, strict=True) if values is not None}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=opsets)
    with np.errstate(divide="raise", invalid="raise", over="raise"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = ReferenceEvaluator(model).run(None, feeds)
    by_name = dict(zip((name for name in node.output if name), results, strict=True))
    return [np.asarray(by_name[name]) if name else np.zeros(0) for name in node.output]
