"""Faults of a spec and how they are told: "specs/x.yaml:14: blocks.C4[2].kernel is 4; an odd number from 1 to 9"."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mdcompiler.errors import SpecError
from mdcompiler.spec.blocks import BLOCK_KINDS

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One thing wrong at `location`: `value` beside what is `allowed`; without a value, `allowed` is the sentence."""

    location: Location
    value: Any
    allowed: str
    told: bool = False

    def describe(self) -> str:
        where = spell_location(self.location)
        return f"{where} {self.allowed}" if self.told else f"{where} is {spell_value(self.value)}; {self.allowed}"


def fail(where: str, faults: Sequence[Fault], lines: Mapping[Location, int] | None = None) -> NoReturn:
    """Raise one SpecError that lists `faults`, a line each, in the order of the file."""
    told = []
    for fault in faults:
        line = _line(fault.location, lines)
        told.append((line or 0, f"{where}:{line}: " if line else f"{where}: ", fault.describe()))
    told.sort(key=lambda entry: entry[0])
    raise SpecError("\n".join(prefix + sentence for _, prefix, sentence in told))


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """The faults that pydantic found while reading a `model`."""
    return [_fault(details, model) for details in error.errors(include_url=False) if not _follows(details)]


def spell_location(location: Location) -> str:
    """
    >>> spell_location(("blocks", "C4", 2, "kernel"))
    'blocks.C4[2].kernel'
    """
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "the spec"


def spell_value(value: Any) -> str:
    """A value as a user would write it, cut where it is long."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _line(location: Location, lines: Mapping[Location, int] | None) -> int | None:
    if lines is None:
        return None
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location)


def _follows(details: ErrorDetails) -> bool:
    """Whether a list only counts as short because of faults in its entries, which are told by themselves."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _fault(details: ErrorDetails, model: type[BaseModel]) -> Fault:
    location, kind, value = _plain(details["loc"]), details["type"], details["input"]
    if kind == "missing":
        return Fault(location, None, f"is missing; {_description(details['loc'], model)}", told=True)
    if kind == "extra_forbidden":
        return Fault(location, None, _unknown(str(location[-1]), _owner(details["loc"][:-1], model)), told=True)
    if kind == "union_tag_not_found":
        return Fault((*location, "kind"), None, f"is missing; one of {', '.join(BLOCK_KINDS)}", told=True)
    if kind == "union_tag_invalid":
        return Fault((*location, "kind"), value["kind"], f"one of {', '.join(BLOCK_KINDS)}")
    if kind in ("too_short", "too_long"):
        return Fault(location, None, f"has {len(value)} entries; {_length(details)}", told=True)
    if details["loc"][-1:] == ("[key]",):
        return Fault(location, None, f"is no name for this; {details['msg']}", told=True)
    return Fault(location, value, _sentence(details))


def _sentence(details: ErrorDetails) -> str:
    plain = {
        "tuple_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
    }
    return plain.get(details["type"], details["msg"])


def _length(details: ErrorDetails) -> str:
    context = details["ctx"]
    return f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"


def _plain(location: Location) -> Location:
    """The location in the user's file: pydantic puts the block's kind and a mark for keys into it."""
    if location[:1] == ("blocks",) and len(location) > 3:
        location = (*location[:3], *location[4:])
    return location[:-1] if location[-1:] == ("[key]",) else location


def _owner(location: Location, model: type[BaseModel]) -> type[BaseModel]:
    """The part of the spec that `location` (in pydantic's words) leads to."""
    for part in location:
        name = str(part)
        if name in BLOCK_KINDS and location[0] == "blocks":
            model = BLOCK_KINDS[name]
        elif name in model.model_fields:
            annotation: Any = model.model_fields[name].annotation
            model = _value_model(annotation) or model
    return model


def _value_model(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation such as `Head` or `dict[str, Endpoint]`."""
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


def _description(location: Location, model: type[BaseModel]) -> str:
    field = str(location[-1])
    schema = _owner(location[:-1], model).model_json_schema()["properties"].get(field, {})
    return str(schema.get("description", "it has to be given"))


def _unknown(name: str, owner: type[BaseModel]) -> str:
    known = list(owner.model_fields)
    close = difflib.get_close_matches(name, known, 1, cutoff=0.78)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"is not known{hint}; one of {', '.join(known)}"
