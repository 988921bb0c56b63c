"""Field types of a spec, each with the sentence that says what it allows.

The sentence is written once: it is the `description` in the JSON Schema and the second half of the
error ("… is 4; an odd number from 1 to 9").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Allows:
    """Let every fault of the type it annotates speak with one sentence."""

    sentence: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.sentence}

    def _validate(self, value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("allowed", "{allowed}", {"allowed": self.sentence}) from None


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("even")
    return value


def _not_reserved(value: str) -> str:
    if value in {"input", "extra", "head"}:
        raise ValueError("a name the lowered graph uses")
    return value


def whole(low: int, high: int) -> Any:
    """Constraint: an integer (no text, no true or false) within the bounds."""
    return Field(strict=True, ge=low, le=high)


def real(low: float, high: float) -> Any:
    """Constraint: a finite number within the bounds."""
    return Field(strict=True, ge=low, le=high, allow_inf_nan=False)


Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    Allows("1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"),
]
Stage = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,15}$"),
    AfterValidator(_not_reserved),
    Allows("a letter, then up to 15 letters, digits or '_'; not input, extra or head"),
]
BlockName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,15}/b[0-9]{1,3}$"), Allows("a block such as C5/b0")]
Text = Annotated[str, Field(max_length=2000), Allows("a text of at most 2000 characters")]
Label = Annotated[str, Field(min_length=1, max_length=100), Allows("a text of 1 to 100 characters")]
Labels = Annotated[
    Literal["coco"] | tuple[Label, ...], Allows("coco, or a list of texts of 1 to 100 characters, one a class")
]
Switch = Annotated[bool, Field(strict=True), Allows("true or false")]

Kernel = Annotated[
    int,
    whole(1, 9),
    AfterValidator(_odd),
    WithJsonSchema({"type": "integer", "enum": [1, 3, 5, 7, 9]}),
    Allows("an odd number from 1 to 9"),
]
Stride = Annotated[int, whole(1, 2), Allows("1 or 2")]
Channels = Annotated[int, whole(1, 8192), Allows("an integer from 1 to 8192")]
Pixels = Annotated[int, whole(8, 4096), Allows("an integer from 8 to 4096, in pixels")]
Classes = Annotated[int, whole(1, 10000), Allows("an integer from 1 to 10000, the background not counted")]
Detections = Annotated[int, whole(1, 10000), Allows("an integer from 1 to 10000")]
Divisor = Annotated[int, whole(1, 256), Allows("an integer from 1 to 256")]

Expansion = Annotated[float, real(1, 64), Allows("a number from 1 to 64; 1: no expansion convolution")]
FusedExpansion = Annotated[float, Field(strict=True, gt=1, le=64), Allows("a number above 1, up to 64")]
Ratio = Annotated[float, Field(strict=True, gt=0, le=4), Allows("a number above 0, up to 4")]
SqueezeRatio = Annotated[float, real(0, 1), Allows("a number from 0 to 1; 0: no squeeze-excite")]
Epsilon = Annotated[float, real(1e-8, 1), Allows("a number from 1e-8 to 1")]
Multiplier = Annotated[float, real(0.01, 16), Allows("a number from 0.01 to 16")]
Fraction = Annotated[float, real(0, 1), Allows("a number from 0 to 1")]
Factor = Annotated[float, real(-1e6, 1e6), Allows("a number from -1e6 to 1e6")]
BoxScale = Annotated[float, real(1e-3, 1e3), Allows("a number from 0.001 to 1000")]
AnchorScale = Annotated[float, real(1e-3, 10), Allows("a number from 0.001 to 10")]
AspectRatio = Annotated[float, real(0.01, 100), Allows("a number from 0.01 to 100, width over height")]

Activation = Annotated[
    Literal["relu6", "relu", "hard-swish", "swish", "none"], Allows("one of relu6, relu, hard-swish, swish, none")
]
Gate = Annotated[Literal["sigmoid", "hard-sigmoid"], Allows("one of sigmoid, hard-sigmoid")]
Residual = Annotated[Literal["auto", "on", "off"], Allows("one of auto, on, off")]
Tap = Annotated[
    Literal["output", "expand", "dw", "project", "reduce", "core"],
    Allows("one of output, expand, dw, project, reduce, core"),
]
Rule = Annotated[Literal["half-up", "make-divisible"], Allows("one of half-up, make-divisible")]
Mode = Annotated[Literal["fast", "regular"], Allows("one of fast, regular")]
