"""Reading specs: from the zoo, from a file, from text."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mdcompiler.errors import SpecError
from mdcompiler.foreign import read_file, refusing
from mdcompiler.spec.checks import spec_faults
from mdcompiler.spec.faults import Location, fail, faults_of
from mdcompiler.spec.model import Spec
from mdcompiler.spec.source import MAX_BYTES, read_source

_SUFFIXES = (".yaml", ".yml", ".json")


def zoo_names() -> tuple[str, ...]:
    """Names of the specs that ship with the package, sorted."""
    folder = files("mdcompiler.spec") / "zoo"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


def load_spec(name_or_path: str | Path) -> Spec:
    """The spec of the zoo called so, or the one in that YAML or JSON file.

    Raises SpecError for an unknown name, an unreadable file, and every fault in it, all at once.
    """
    text = str(name_or_path)
    if text in zoo_names():
        return _zoo_spec(text)
    path = Path(name_or_path)
    if path.suffix not in _SUFFIXES:
        raise SpecError(
            f"spec {text!r} is not in the zoo, which has {', '.join(zoo_names())}. "
            "Choose one of them or give the path of a spec file (.yaml, .yml or .json)."
        )
    return parse_spec(read_spec_file(path), str(path))


def parse_spec(text: str, where: str) -> Spec:
    """The spec that `text` (YAML or JSON) says; `where` is what errors call it, e.g. the file's name."""
    source = read_source(text, where)
    return build_spec(source.data, where, source.lines)


def build_spec(data: Any, where: str, lines: dict[Location, int] | None = None) -> Spec:
    """The spec in `data`, plain dictionaries and lists. Raises SpecError listing every fault."""
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        fail(where, faults_of(error, Spec), lines)
    faults = spec_faults(spec)
    if faults:
        fail(where, faults, lines)
    return spec


@lru_cache(maxsize=64)
def _zoo_spec(name: str) -> Spec:
    file = files("mdcompiler.spec") / "zoo" / f"{name}.yaml"
    return parse_spec(file.read_text(encoding="utf-8"), f"{name}.yaml")


def read_spec_file(path: Path) -> str:
    """The text of a spec file. Raises SpecError when it cannot be read."""
    with refusing(f"spec {path} cannot be read", SpecError, "Give the path of a spec file, which is YAML or JSON."):
        return read_file(path, MAX_BYTES).decode("utf-8-sig")
