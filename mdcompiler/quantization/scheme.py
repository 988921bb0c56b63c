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

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.data_file import parse_data_file, read_data_file
from mdcompiler.errors import TargetError

Rounding = Literal["float-half-even", "fixed-point-double", "fixed-point-single", "power-of-two"]
Precision = Literal["int8", "int16", "float"]
SCHEME_KEY = "mdc.scheme"
"""Metadata of a quantized module: the name of the scheme it was quantized with."""


class Scheme(BaseModel):
    """How one machine quantizes.

    activation: type of activations in precision int8; wide_activation: in precision int16, "" where there is none.
    symmetric_activations, symmetric_weights: zero point 0 (the middle of an unsigned type).
    per_channel: a scale for every output channel of the weights. bias: always with scale input * weight.
    rounding: of the requantization. may_stay_float: kinds of kernel that may compute in float; others are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str = ""
    activation: Literal["uint8", "int8"]
    wide_activation: Literal["uint16", "int16", ""] = ""
    symmetric_activations: bool = False
    weight: Literal["uint8", "int8"]
    per_channel: bool
    symmetric_weights: bool
    bias: Literal["int32"] = "int32"
    rounding: Rounding
    may_stay_float: tuple[str, ...] = ("postprocess",)

    def dtype(self, precision: Precision) -> str:
        """Type of activations in `precision`, "" when this scheme has none (float always has none)."""
        return {"int8": self.activation, "int16": self.wide_activation, "float": ""}[precision]


def shipped_schemes() -> dict[str, Scheme]:
    """The schemes that come with the package, by name."""
    folder = files("mdcompiler") / "quantization" / "schemes"
    found = [_parse(item.read_text(), item.name) for item in folder.iterdir() if item.name.endswith(".yaml")]
    return {scheme.name: scheme for scheme in sorted(found, key=lambda scheme: scheme.name)}


def find_scheme(name: str) -> Scheme:
    """The scheme called `name`, or read from the YAML file at that path.

    Raises TargetError for an unknown name, an unreadable file or a bad field.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return _parse(read_data_file(path, "scheme"), str(path))
    schemes = shipped_schemes()
    if name not in schemes:
        raise TargetError(
            f"quantization scheme {name!r} is unknown; there are {', '.join(schemes)}. "
            "Choose one of them or give the path of a scheme file (.yaml)."
        )
    return schemes[name]


def _parse(text: str, where: str) -> Scheme:
    return parse_data_file(text, where, "scheme", Scheme)
