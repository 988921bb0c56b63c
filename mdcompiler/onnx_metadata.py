"""What an ONNX file from elsewhere notes about itself under `mdc.`: checked once, when it is read.

Such notes are the toolkit's own (labels, the scheme of a quantized network, what quantization cost) in a file that
anybody may have written. Each is bounded and has its form; what other tools note is passed by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_args

import onnx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mdcompiler.errors import MdcError, ModelError
from mdcompiler.foreign import refusing, shortened
from mdcompiler.onnx_graph import OUTPUTS
from mdcompiler.quantization.scheme import SCHEME_KEY, Precision, read_scheme
from mdcompiler.spec.source import MAX_BYTES as MAX_SPEC_BYTES
from mdcompiler.strict_json import parse_json

MOST_BYTES = 16 << 20
"""Of all notes together, those of other tools included."""

_MOST_NOTE_BYTES = 1 << 20
_MOST_MARK_BYTES = 4096
_PREFIX = "mdc."
_Text = Annotated[str, Field(max_length=100)]


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    block: str
    measure: str
    value: float
    limit: float
    fix: str


class _Accuracy(BaseModel):
    """The part of `mdc.accuracy` that is shown again; see `passes/quantize_calibrated.py`."""

    ends_db: dict[str, float]
    samples: int
    map_lost: float | None
    map_points: float | None
    precision: dict[str, str]
    share_outside_int8: float
    degraded: list[_Fault]


_LABELS: TypeAdapter[Any] = TypeAdapter(Annotated[list[_Text], Field(max_length=10_000)])
_OUTPUTS: TypeAdapter[Any] = TypeAdapter(Annotated[dict[str, str], Field(max_length=1000)])
_HISTORY: TypeAdapter[Any] = TypeAdapter(Annotated[list[_Text], Field(max_length=1000)])


def _length(most: int) -> Callable[[str], object]:
    def check(text: str) -> None:
        if len(text) > most:
            raise ValueError(f"it has {len(text)} characters; at most {most} are read")

    return check


_NOTES: dict[str, Callable[[str], object]] = {
    "mdc.labels": lambda text: _LABELS.validate_python(parse_json(text), strict=True),
    "mdc.history": lambda text: _HISTORY.validate_python(parse_json(text), strict=True),
    OUTPUTS: lambda text: _OUTPUTS.validate_python(parse_json(text), strict=True),
    "mdc.accuracy": lambda text: _Accuracy.model_validate(parse_json(text)),
    "mdc.adapted": _length(10_000),
    "mdc.batch": _length(10),
    "mdc.spec": _length(MAX_SPEC_BYTES),
    SCHEME_KEY: lambda text: read_scheme({SCHEME_KEY: text}),
}


def check_metadata(model: onnx.ModelProto) -> None:
    """Raise ModelError for the first note under `mdc.` that is none of the toolkit's, or is too large."""
    total = sum(len(entry.key) + len(entry.value) for entry in model.metadata_props)
    if total > MOST_BYTES:
        raise ModelError(
            f"the ONNX model's metadata has {total} characters; at most {MOST_BYTES} are read. Remove some."
        )
    for entry in model.metadata_props:
        if entry.key in _NOTES:
            _check_note(entry.key, entry.value)
    for node in model.graph.node:
        for mark in node.metadata_props:
            if mark.key.startswith(_PREFIX):
                _check_mark(node.name, mark.key, mark.value)


def _check_note(key: str, text: str) -> None:
    where = f"the ONNX model's metadata {key}"
    with refusing(where, ModelError, "Remove this entry, or export the model again."):
        _length(_MOST_NOTE_BYTES)(text)
        try:
            _NOTES[key](text)
        except MdcError as error:
            raise ModelError(f"{where}: {error}") from error


def _check_mark(node: str, key: str, text: str) -> None:
    with refusing(f"node {shortened(node, 100)!r}: the mark {key}", ModelError, "Remove this mark."):
        _length(_MOST_MARK_BYTES)(text)
        value = parse_json(text)
        if key == "mdc.precision" and value not in get_args(Precision):
            raise ValueError(f"it is {shortened(text, 40)}; one of {', '.join(get_args(Precision))} is allowed")
