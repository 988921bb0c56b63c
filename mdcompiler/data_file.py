"""Machines and schemes as data: small YAML files, checked against a model, with errors that say which and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from mdcompiler.errors import SpecError, TargetError
from mdcompiler.foreign import read_file, refusing

_MAX_FILE_BYTES = 64 * 1024
Model = TypeVar("Model", bound=BaseModel)


class NamedData(BaseModel):
    """What a data file describes, under the name by which it is asked for."""

    name: str


Named = TypeVar("Named", bound=NamedData)


def shipped_data(package: str, folder: str, what: str, model: type[Named]) -> dict[str, Named]:
    """All `what` files in a folder of a package, by the names that they give themselves, in their order."""
    items = [item for item in (files(package) / folder).iterdir() if item.name.endswith(".yaml")]
    found = [parse_data_file(item.read_text(), item.name, what, model) for item in items]
    return {item.name: item for item in sorted(found, key=lambda item: item.name)}


def find_data(
    name: str, what: str, model: type[Named], shipped: Callable[[], Mapping[str, Named]], title: str = ""
) -> Named:
    """The shipped one called `name`, or the one in the YAML file at that path. title: what messages call it.

    Raises TargetError for an unknown name, an unreadable file or a bad field.
    """
    path = Path(name)
    if is_data_file(name):
        return parse_data_file(read_data_file(path, what), str(path), what, model)
    known = shipped()
    if name not in known:
        raise TargetError(
            f"{title or what} {name!r} is unknown; there are {', '.join(known)}. "
            f"Choose one of them or give the path of a {what} file (.yaml)."
        )
    return known[name]


def is_data_file(name: str) -> bool:
    """Whether `name` is the path of a file rather than the name of what ships."""
    return Path(name).suffix in (".yaml", ".yml")


def read_data_file(path: Path, what: str) -> str:
    """The text of a `what` file, e.g. a target file. Raises TargetError when it is unreadable or too large."""
    with refusing(f"{what} file {path} cannot be read", TargetError, f"Give the path of a {what} file."):
        return read_file(path, _MAX_FILE_BYTES).decode("utf-8-sig")


def parse_data_file(text: str, where: str, what: str, model: type[Model]) -> Model:
    """`text` as a `model`. Raises TargetError naming the file and every bad field."""
    from mdcompiler.spec.source import read_source  # its package is all that a spec may say: no need to run a network

    try:
        data = read_source(text, where, what).data
    except SpecError as error:
        raise TargetError(f"reading the {what} file {error}") from error
    with refusing(f"{what} file {where}", TargetError, "Mend these fields."):
        return model.model_validate(data)
