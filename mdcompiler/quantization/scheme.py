"""Schemes: how a machine's integers are laid out, as data.

A scheme belongs to a target (`Target.scheme`) and is a YAML file in `mdcompiler/quantization/schemes/`, or one of
the user's own. The rounding rules:

* `float-half-even`: the accumulator as float32 times a float32 multiplier, rounded half to even. What ONNX Runtime
  and vector units with floats do.
* `fixed-point-double`: a 31-bit multiplier and a shift, rounded after each, as TFLite's kernels do by default.
* `fixed-point-single`: the same multiplier and shift, rounded once, half up.
* `power-of-two`: all scales are powers of two; a shift, rounded half up.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Literal

from pydantic import ConfigDict, Field

from mdcompiler.data_file import NamedData, find_data, parse_data_file, shipped_data
from mdcompiler.errors import TargetError
from mdcompiler.foreign import shortened
from mdcompiler.quantization.affine import Array, weight_quantization
from mdcompiler.weights.quantization import Quantization

Rounding = Literal["float-half-even", "fixed-point-double", "fixed-point-single", "power-of-two"]
Precision = Literal["int8", "int16", "float"]
SCHEME_KEY = "mdc.scheme"
"""Metadata of a quantized module: the scheme it was quantized with, see `write_scheme`."""


class Scheme(NamedData):
    """How one machine quantizes.

    activation: type of activations in precision int8; wide_activation: in precision int16, "" where there is none.
    symmetric_activations, symmetric_weights: zero point 0 (the middle of an unsigned type).
    per_channel: a scale for every output channel of the weights. bias: always with scale input * weight.
    rounding: of the requantization. may_stay_float: kinds of kernel that may compute in float; others are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=2000)
    activation: Literal["uint8", "int8"]
    wide_activation: Literal["uint16", "int16", ""] = ""
    symmetric_activations: bool = False
    weight: Literal["uint8", "int8"]
    per_channel: bool
    symmetric_weights: bool
    bias: Literal["int32"] = "int32"
    rounding: Rounding
    may_stay_float: tuple[str, ...] = Field(default=("postprocess",), max_length=100)

    def dtype(self, precision: Precision) -> str:
        """Type of activations in `precision`, "" when this scheme has none (float always has none)."""
        return {"int8": self.activation, "int16": self.wide_activation, "float": ""}[precision]

    def weight_rule(self, weight: Array, bias: Array | None = None, input_scale: float = 1.0) -> Quantization:
        """The quantization of `weight` (output channels first); see `weight_quantization`."""
        return weight_quantization(
            weight,
            self.weight,
            per_channel=self.per_channel,
            symmetric=self.symmetric_weights,
            power_of_two=self.rounding == "power-of-two",
            bias=bias,
            input_scale=input_scale,
        )


def shipped_schemes() -> dict[str, Scheme]:
    """The schemes that come with the package, by name."""
    return shipped_data("mdcompiler.quantization", "schemes", "scheme", Scheme)


def find_scheme(name: str) -> Scheme:
    """The scheme called `name`, or read from the YAML file at that path.

    Raises TargetError for an unknown name, an unreadable file or a bad field.
    """
    return find_data(name, "scheme", Scheme, shipped_schemes, "quantization scheme")


def write_scheme(metadata: MutableMapping[str, str], scheme: Scheme) -> None:
    """Note in a module's metadata that it was quantized with `scheme`: a shipped one by name, others as JSON.

    The file of a user's scheme may be anywhere, and is not needed again.
    """
    shipped = shipped_schemes().get(scheme.name) == scheme
    metadata[SCHEME_KEY] = scheme.name if shipped else scheme.model_dump_json()


def read_scheme(metadata: Mapping[str, str]) -> Scheme | None:
    """The scheme that a module was quantized with; None for a float one. Raises TargetError for a malformed note."""
    noted = metadata.get(SCHEME_KEY, "")
    if noted.startswith("{"):
        return parse_data_file(noted, f"in the metadata {SCHEME_KEY}", "scheme", Scheme)
    shipped = shipped_schemes()
    # a note is no path: a network may not choose which of the user's files are read
    if noted and noted not in shipped:
        raise TargetError(
            f"the metadata {SCHEME_KEY} names the quantization scheme {shortened(noted, 80)!r}, which does not ship; "
            f"there are {', '.join(shipped)}. Quantize the float network again."
        )
    return shipped.get(noted)
