"""YAML or JSON text to plain data, with the line of everything in it.

Only mappings, lists and plain scalars: tags, anchors and aliases are refused (a few lines of nested
aliases can stand for gigabytes), keys may not be given twice, size and depth are bounded. Scalars
follow YAML 1.2, so that `off` is a word and `1e-8` a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from mdcompiler.errors import InternalError, SpecError
from mdcompiler.foreign import refusing
from mdcompiler.spec.faults import Fault, Location, fail

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 16
_MAX_DIGITS = 30
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass
class Source:
    """data: what the text says; lines: line (from 1) of every value, by its location; where: file name; what: kind."""

    where: str
    what: str = "spec"
    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)


def read_source(text: str, where: str, what: str = "spec") -> Source:
    """Parse `text`, a `what` file. Raises SpecError naming `where` and the line."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise SpecError(f"{where}: the {what} has more than {MAX_BYTES} bytes; it is a few kilobytes of text")
    source = Source(where, what)
    with refusing(f"{where}: not YAML", SpecError, "Correct the syntax."):
        try:
            # a stream, so that deep nesting stops the parser instead of filling its stack
            _Reader(source, yaml.parse(_json_as_yaml(text), Loader=yaml.SafeLoader)).read()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise SpecError(f"{where}:{line}: not YAML: {error.problem or error.context}; correct the syntax") from None
        except yaml.YAMLError as error:
            raise SpecError(f"{where}: not text that YAML allows: {str(error).splitlines()[0]}") from None
    return source


def _json_as_yaml(text: str) -> str:
    """JSON indented with tabs is no YAML; its strings cannot hold raw tabs, so blanks may replace them."""
    if "\t" not in text or not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


class _Reader:
    """Walks the parser's events; recursion is bounded by `_MAX_DEPTH`."""

    def __init__(self, source: Source, events: Iterator[yaml.Event]) -> None:
        self.source = source
        self.events = events
        self.faults: list[Fault] = []

    def read(self) -> None:
        starts = (yaml.StreamStartEvent, yaml.DocumentStartEvent)
        event = next(self.events)
        while isinstance(event, starts):
            event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            raise SpecError(f"{self.source.where}: the file is empty; a {self.source.what} is a mapping")
        self.source.data = self._value(event, ())
        next(self.events)
        if not isinstance(next(self.events), yaml.StreamEndEvent):
            raise SpecError(f"{self.source.where}: the file holds several documents; one {self.source.what} a file")
        if self.faults:
            fail(self.source.where, self.faults, self.source.lines)

    def _value(self, event: yaml.Event, location: Location) -> Any:
        line = _line(event)
        self.source.lines.setdefault(location, line)
        self._guard(event, line, len(location))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(location)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(location)
        return _scalar(event)

    def _guard(self, event: yaml.Event, line: int, depth: int) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._stop(line, "anchors (&) and aliases (*) are not allowed; write the value out")
        if depth > _MAX_DEPTH:
            self._stop(line, f"nested more than {_MAX_DEPTH} deep")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._stop(line, f"the tag {tag} is not allowed; write plain values")

    def _mapping(self, location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent) or event.anchor:
                self._stop(line, "a key has to be plain text")
            here = (*location, event.value)
            if event.value in found:
                told = f"is given twice, first on line {self.source.lines[here]}; keep one"
                self.source.lines[here] = line
                self.faults.append(Fault(here, None, told, told=True))
            self.source.lines[here] = line
            found[event.value] = self._value(next(self.events), here)
        return found

    def _sequence(self, location: Location) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*location, len(found))))
        return found

    def _stop(self, line: int, sentence: str) -> NoReturn:
        raise SpecError(f"{self.source.where}:{line}: {sentence}")


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 1


def _scalar(event: yaml.Event) -> Any:
    if not isinstance(event, yaml.ScalarEvent):
        raise InternalError(f"the YAML parser gave {event} where a value starts")
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.match(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _FLOAT.match(text) and len(text) <= _MAX_DIGITS:
        return float(text)
    return text
