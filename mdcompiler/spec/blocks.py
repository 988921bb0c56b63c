"""The blocks that a backbone is made of.

| kind   | convolutions, each followed by BatchNorm | source |
|--------|------------------------------------------|--------|
| conv   | k×k | |
| ibn    | 1×1 expand, k×k depthwise, [squeeze-excite], 1×1 linear project | MobileNetV2, arXiv 1801.04381 |
| fused  | k×k expand, [squeeze-excite], 1×1 linear project | MobileDet, arXiv 2004.14525 |
| tucker | 1×1 reduce, k×k core, 1×1 linear project | MobileDet, arXiv 2004.14525 |

The stride is that of the k×k convolution. What a block leaves out comes from the spec's `defaults`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.spec.fields import (
    Activation,
    Channels,
    Epsilon,
    Expansion,
    FusedExpansion,
    Gate,
    Kernel,
    Ratio,
    Residual,
    SqueezeRatio,
    Stride,
)


class Part(BaseModel):
    """Base of every part of a spec: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Defaults(Part):
    """What blocks use where they say nothing.

    se: squeeze-excite ratio of ibn and fused blocks. se_activation: between its two convolutions;
    left out, that of the block.
    """

    activation: Activation = "relu6"
    epsilon: Epsilon = 0.001
    se: SqueezeRatio = 0.0
    se_gate: Gate = "sigmoid"
    se_activation: Activation | None = None


class ConvBlock(Part):
    """One convolution to `out` channels."""

    kind: Literal["conv"]
    out: Channels
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation | None = None
    epsilon: Epsilon | None = None


class IbnBlock(Part):
    """Inverted bottleneck. Expansion 1 leaves the expand convolution out."""

    kind: Literal["ibn"]
    out: Channels
    expansion: Expansion
    kernel: Kernel = 3
    stride: Stride = 1
    se: SqueezeRatio | None = None
    activation: Activation | None = None
    residual: Residual = "auto"
    epsilon: Epsilon | None = None


class FusedBlock(Part):
    """Inverted bottleneck whose expand and depthwise convolutions are one full convolution."""

    kind: Literal["fused"]
    out: Channels
    expansion: FusedExpansion
    kernel: Kernel = 3
    stride: Stride = 1
    se: SqueezeRatio | None = None
    activation: Activation | None = None
    residual: Residual = "auto"
    epsilon: Epsilon | None = None


class TuckerBlock(Part):
    """Convolution as a Tucker product. Its ranks: `input_ratio` of the input's channels, `output_ratio` of `out`."""

    kind: Literal["tucker"]
    out: Channels
    input_ratio: Ratio
    output_ratio: Ratio
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation | None = None
    residual: Residual = "auto"
    epsilon: Epsilon | None = None


Block = Annotated[ConvBlock | IbnBlock | FusedBlock | TuckerBlock, Field(discriminator="kind")]
BLOCK_KINDS: dict[str, type[Part]] = {"conv": ConvBlock, "ibn": IbnBlock, "fused": FusedBlock, "tucker": TuckerBlock}
