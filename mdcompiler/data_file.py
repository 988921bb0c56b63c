"""Machines and schemes as data: small YAML files, checked against a model, with errors that say which and why."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mdcompiler.errors import TargetError

_MAX_FILE_BYTES = 64 * 1024
Model = TypeVar("Model", bound=BaseModel)


def read_data_file(path: Path, what: str) -> str:
    """The text of a `what` file, e.g. a target file. Raises TargetError when it is unreadable or too large."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise TargetError(f"{what} file {path} is larger than {_MAX_FILE_BYTES} bytes; it holds a few lines.")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{what} file {path} cannot be read: {error}. Check the path.") from error


def parse_data_file(text: str, where: str, what: str, model: type[Model]) -> Model:
    """`text` as a `model`. Raises TargetError naming the file and every bad field."""
    try:
        return model.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise TargetError(f"{what} file {where} is no YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise TargetError(f"{what} file {where}: {faults}. Mend these fields.") from error
