"""The limits of the Edge TPU and of its compiler, one function each.

A rule's docstring is the limit as it is documented (coral.ai, "TensorFlow models on the Edge TPU", and the status words
of edgetpu_compiler 14 to 16). It gets one operator and returns None, or a sentence: what is the matter, and which
change of the spec or the compilation would let it map. `RULES` gives each the status that the compiler's log states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mdcompiler.backends.edgetpu.operator_table import NEWEST_KNOWN, REPLACEMENTS, SUPPORTED
from mdcompiler.backends.edgetpu.status import DATA_TYPE, DYNAMIC, NOT_SUPPORTED, OLD_VERSION, UNSPECIFIED
from mdcompiler.backends.tflite.described import Described
from mdcompiler.weights.tflite_head import POSTPROCESS

_INTEGERS = frozenset({"INT8", "UINT8"})
_INNER_AXES = 3
_SOFTMAX_LIMIT = 16_000
Check = Callable[[Described], str | None]


@dataclass(frozen=True)
class Rule:
    """check: the limit. status: what the compiler's log says to an operator past it."""

    check: Check
    status: str

    @property
    def name(self) -> str:
        """In words."""
        return self.check.__name__.replace("_", " ")

    @property
    def limit(self) -> str:
        """The documented limit, one sentence."""
        return (self.check.__doc__ or "").strip()


def eight_bit_integers(operator: Described) -> str | None:
    """All data are 8-bit integers, signed or not."""
    if operator.kind == POSTPROCESS:
        return "boxes are decoded and suppressed in float, by the host; `--raw` leaves that out of the file"
    odd = next((tensor for tensor in operator.data if tensor.type not in _INTEGERS), None)
    if odd is None or _enters(operator):
        return None
    if operator.kind == "DEQUANTIZE":
        return "it makes floats, for the host's post-processing; `--raw` leaves that out of the file"
    return f"{odd.name} is {odd.type}; compile with `--precision int8` and leave out --keep-float"


def integer_input(operator: Described) -> str | None:
    """A QUANTIZE of a float input stays on the host, in front of the mapped part."""
    return "the input is float; give the file the picture's bytes" if _enters(operator) else None


def known_operator(operator: Described) -> str | None:
    """The operator is in the table of supported operations."""
    if operator.kind in SUPPORTED:
        return None
    change = REPLACEMENTS.get(operator.kind, "build the block from convolutions, sums and relu6")
    return f"{operator.kind} is none of its operators; {change}"


def known_version(operator: Described) -> str | None:
    """The operator's version is not newer than the compiler."""
    newest = NEWEST_KNOWN.get(operator.kind)
    if operator.version is None or newest is None or operator.version <= newest:
        return None
    return f"its version {operator.version} is unknown to the compiler, {newest} is not; compile with this toolkit"


def constant_shapes(operator: Described) -> str | None:
    """Every tensor's size is constant at compile time."""
    odd = next((tensor for tensor in operator.data if not tensor.shape or min(tensor.shape) < 1), None)
    if odd is None or operator.kind == POSTPROCESS:
        return None
    return f"{odd.name} has the shape {list(odd.shape)}; state every size in the spec"


def three_inner_axes(operator: Described) -> str | None:
    """Of a tensor with more than three dimensions only the three innermost may have a size greater than 1."""
    for tensor in operator.data:
        if any(axis < len(tensor.shape) - _INNER_AXES for axis in tensor.long_axes):
            return f"{tensor.name} has the shape {list(tensor.shape)}; compile for a batch of one picture"
    return None


def constant_weights(operator: Described) -> str | None:
    """Weights and biases are constants at compile time."""
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        return None
    odd = next((tensor for tensor in operator.inputs[1:3] if tensor.values is None), None)
    return f"{odd.name} is computed; give the network constant weights" if odd is not None else None


def equal_dilation(operator: Described) -> str | None:
    """Convolutions dilate by the same factor along both axes."""
    height, width = operator.dilation
    if height == width:
        return None
    return f"it dilates by {height} rows and {width} columns; use one factor for both"


def no_fused_activation(operator: Described) -> str | None:
    """Poolings and concatenations have no fused activation."""
    if operator.kind not in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION") or operator.activation == "NONE":
        return None
    return f"{operator.activation} is fused into it; put the activation into the convolution before it"


def zero_padding_concatenation(operator: Described) -> str | None:
    """A concatenation with a constant has two inputs, and the constant is all zeros."""
    constants = [tensor for tensor in operator.inputs if tensor.values is not None]
    if operator.kind != "CONCATENATION" or not constants:
        return None
    if len(operator.inputs) == 2 and all(not np.any(tensor.values) for tensor in constants):
        return None
    return f"it joins {len(operator.inputs)} tensors, of which {constants[0].name} is a constant; compute all parts"


def mean_over_the_picture(operator: Described) -> str | None:
    """A mean leaves the batch alone, and one over channels has a multiple of 4 of them."""
    axes = _axes(operator) if operator.kind == "MEAN" else ()
    if 0 in axes:
        return "it takes the mean over the batch; take it over height and width"
    channels = operator.inputs[0].shape[-1] if operator.inputs else 0
    if len(operator.inputs[0].shape) - 1 in axes and channels % 4:
        return f"it takes the mean over {channels} channels; make them a multiple of 4"
    return None


def no_batch_padding(operator: Described) -> str | None:
    """Padding leaves the batch alone."""
    if operator.kind != "PAD" or len(operator.inputs) < 2 or operator.inputs[1].values is None:
        return None
    return "it pads the batch; compile for one picture" if operator.inputs[1].values[0].any() else None


def flat_softmax(operator: Described) -> str | None:
    """A softmax is over one dimension of at most 16,000 elements."""
    if operator.kind != "SOFTMAX":
        return None
    tensor = operator.inputs[0]
    if len(tensor.long_axes) <= 1 and max(tensor.shape) <= _SOFTMAX_LIMIT:
        return None
    return f"it is over {list(tensor.shape)}; end the network with a sigmoid, as SSD heads do"


RULES: tuple[Rule, ...] = (
    Rule(eight_bit_integers, DATA_TYPE),  # first: the compiler looks at types before anything else
    Rule(integer_input, UNSPECIFIED),
    Rule(known_operator, NOT_SUPPORTED),
    Rule(known_version, OLD_VERSION),
    Rule(constant_shapes, DYNAMIC),
    Rule(three_inner_axes, UNSPECIFIED),
    Rule(constant_weights, UNSPECIFIED),
    Rule(equal_dilation, UNSPECIFIED),
    Rule(no_fused_activation, UNSPECIFIED),
    Rule(zero_padding_concatenation, UNSPECIFIED),
    Rule(mean_over_the_picture, UNSPECIFIED),
    Rule(no_batch_padding, UNSPECIFIED),
    Rule(flat_softmax, UNSPECIFIED),
)


def broken_rule(operator: Described) -> tuple[Rule, str] | None:
    """The first rule that `operator` breaks, and how; None when it can be mapped."""
    for rule in RULES:
        reason = rule.check(operator)
        if reason is not None:
            return rule, reason
    return None


def _enters(operator: Described) -> bool:
    """Whether `operator` quantizes a float number: what stands in front of a file with a float input."""
    return operator.kind == "QUANTIZE" and operator.inputs[0].type == "FLOAT32"


def _axes(operator: Described) -> tuple[int, ...]:
    values = operator.inputs[1].values if len(operator.inputs) > 1 else None
    rank = len(operator.inputs[0].shape)
    return () if values is None else tuple(int(axis) % rank for axis in values.reshape(-1))
