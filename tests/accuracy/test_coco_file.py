"""COCO files from outside: fields with their bounds, a sentence for everything else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mdcompiler.accuracy.mean_average_precision import read_annotations
from mdcompiler.errors import InputError

GOOD: dict[str, list[dict[str, Any]]] = {
    "images": [{"id": 1, "file_name": "a/1.jpg", "width": 200, "height": 100.5, "license": 3}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 7, "bbox": [20, 10.5, 100, 50], "segmentation": []}],
    "categories": [{"id": 7, "name": "cat"}],
}
ODD = {
    "infinite": ("categories", "id", "-Infinity", "-Infinity is no number"),
    "not a number": ("images", "width", "NaN", "NaN is no number"),
    "1e400": ("images", "height", "1e400", "larger than any number"),
    "digits": ("images", "id", "9" * 5000, "5000 digits"),
    "huge": ("categories", "id", str(1 << 70), "categories.0.id"),
    "a fraction": ("images", "id", "1.5", "images.0.id"),
    "true": ("annotations", "image_id", "true", "annotations.0.image_id"),
    "a word": ("images", "width", '"200"', "images.0.width"),
    "negative": ("images", "width", "-1", "images.0.width"),
    "a number for a name": ("images", "file_name", "3", "images.0.file_name"),
    "no name": ("images", "file_name", '""', "images.0.file_name"),
    "half a character": ("categories", "name", r'"\ud800"', "half a character"),
    "a box of two": ("annotations", "bbox", "[1, 2]", "annotations.0.bbox"),
    "a box of words": ("annotations", "bbox", '["a", 1, 2, 3]', "annotations.0.bbox"),
    "a box inside out": ("annotations", "bbox", "[1, 2, -3, 4]", "at least 0"),
    "crowds": ("annotations", "iscrowd", "2", "annotations.0.iscrowd"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_values(tmp_path: Path, name: str) -> None:
    part, field, value, why = ODD[name]
    data = copy.deepcopy(GOOD)
    data[part][0][field] = "VALUE"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data).replace('"VALUE"', value))
    with pytest.raises(InputError, match=why) as told:
        read_annotations(path, tmp_path, ["cat"])
    assert str(told.value).startswith(f"reading annotations {path}: ")


@pytest.mark.parametrize("part", GOOD)
def test_rows_that_are_none(tmp_path: Path, part: str) -> None:
    path = tmp_path / "a.json"
    broken: tuple[Any, ...] = (None, {}, 3, [[GOOD[part][0]]], [{}], [None], [{}] * 100_000)
    for rows in broken:
        path.write_text(json.dumps({**GOOD, part: rows}))
        with pytest.raises(InputError, match=rf"{part}") as told:
            read_annotations(path, tmp_path, ["cat"])
        assert len(str(told.value)) < 2000


@pytest.mark.parametrize(
    ("part", "changes", "why"),
    [
        ("images", {"id": 2}, "two pictures are called 1.jpg"),
        ("images", {"file_name": "2.jpg"}, "two pictures have the id 1"),
        ("categories", {"name": "dog"}, "two categories have the id 7"),
    ],
)
def test_twins(tmp_path: Path, part: str, changes: dict[str, Any], why: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**GOOD, part: [GOOD[part][0], {**GOOD[part][0], **changes}]}))
    with pytest.raises(InputError, match=why):
        read_annotations(path, tmp_path, ["cat"])


def test_what_is_used_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**GOOD, "info": {"year": 2017}}))
    read = read_annotations(path, tmp_path, ["cat"])
    assert read.categories == {"cat": 7}
    assert read.pictures() == [{"id": 1, "file_name": "a/1.jpg", "width": 200.0, "height": 100.5}]
    assert read.data["annotations"] == [{"image_id": 1, "category_id": 7, "bbox": [20, 10.5, 100, 50], "iscrowd": 0}]
