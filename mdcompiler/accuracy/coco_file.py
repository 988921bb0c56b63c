"""COCO instances files: the fields that are used, each with its bounds, and nothing else of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field

from mdcompiler.foreign import shortened
from mdcompiler.strict_json import parse_json

_Id = Annotated[int, Field(ge=-(1 << 62), lt=1 << 62)]
_Pixels = Annotated[float, Field(gt=0, lt=1e7)]
_Place = Annotated[float, Field(gt=-1e7, lt=1e7)]


def _with_extent(box: list[float]) -> list[float]:
    if min(box[2:]) < 0:
        raise ValueError("a box has a width and a height of at least 0")
    return box


class _Row(BaseModel):
    model_config = ConfigDict(strict=True)


class _Picture(_Row):
    id: _Id
    file_name: str = Field(min_length=1, max_length=4096)
    width: _Pixels
    height: _Pixels


class _Object(_Row):
    """bbox: left, top, width, height in pixels."""

    image_id: _Id
    category_id: _Id
    bbox: Annotated[list[_Place], Field(min_length=4, max_length=4), AfterValidator(_with_extent)]
    area: Annotated[float, Field(ge=0, lt=1e14)] | None = None
    iscrowd: Literal[0, 1] = 0


class _Category(_Row):
    id: _Id
    name: str = Field(min_length=1, max_length=1000)


class _File(_Row):
    images: Annotated[list[_Picture], FailFast()]
    annotations: Annotated[list[_Object], FailFast()]
    categories: Annotated[list[_Category], FailFast()]


def parse_coco(data: bytes) -> dict[str, Any]:
    """`images`, `annotations` and `categories` as COCO has them. Any exception may leave it: see `mdcompiler.foreign`.

    Pictures differ in their ids and in their names without folders, by which they are looked for.
    """
    found = _File.model_validate(parse_json(data)).model_dump(exclude_none=True)
    _check_different([row["id"] for row in found["images"]], "pictures have the id")
    _check_different([Path(row["file_name"]).name for row in found["images"]], "pictures are called")
    _check_different([row["id"] for row in found["categories"]], "categories have the id")
    return found


def _check_different(values: list[Any], what: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"two {what} {shortened(str(value), 80)}")
        seen.add(value)
