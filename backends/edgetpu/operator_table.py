"""The operators of the Edge TPU as they are documented, and what to write instead of some others."""

from __future__ import annotations

_TABLE = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION LOGISTIC
    LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1
    RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE
    SQUEEZE STRIDED_SLICE SUB SUM TANH TRANSPOSE_CONV
"""
SUPPORTED = frozenset(_TABLE.split())
"""The documented operators. TRANSPOSE is left out: compiler 15 refuses it, 16 takes some."""

NEWEST_KNOWN = {"CONV_2D": 5}
"""Newest versions that compiler 16.0 knows, where it is documented (google-coral/edgetpu issue 631: not CONV_2D 6)."""
REPLACEMENTS = {
    "HARD_SWISH": "give the block `activation: relu6`",
    "SWISH": "give the block `activation: relu6`",
    "HARD_SIGMOID": "give the squeeze-excite the gate `sigmoid`",
    "LEAKY_RELU": "give the block `activation: relu6`",
    "TRANSPOSE": "keep the tensor channels-last",
    "GROUPED_CONV_2D": "use one group, or one for each channel",
}
"""Operator that is not in the table -> the change of a spec after which there is one that is."""
