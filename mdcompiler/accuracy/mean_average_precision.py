"""Mean average precision against COCO annotations, by pycocotools (COCO's own protocol: 0.50:0.95, 100 detections)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdcompiler.accuracy.coco_file import parse_coco
from mdcompiler.detections import Detection
from mdcompiler.errors import InputError, MissingToolError
from mdcompiler.foreign import read_file, refusing, shortened

_MOST_BYTES = 64 << 20
"""COCO's own 5,000 pictures take 20 MiB; as objects a file is twenty times as large."""

Detect = Callable[[Path], Iterable[Detection]]


@dataclass(frozen=True)
class Precision:
    """Points of 100. all: mean over overlaps 0.50 to 0.95; half: at overlap 0.50. pictures: how many counted."""

    all: float
    half: float
    pictures: int


@dataclass(frozen=True)
class Annotations:
    """COCO annotations of the pictures in `folder`; categories: name -> id of those that count."""

    data: dict[str, Any]
    folder: Path
    categories: dict[str, int]

    def pictures(self) -> list[dict[str, Any]]:
        """Rows of the pictures that show one of the categories, in the order of the file."""
        wanted = set(self.categories.values())
        shown = {row["image_id"] for row in self.data["annotations"] if row["category_id"] in wanted}
        return [row for row in self.data["images"] if row["id"] in shown]


def read_annotations(path: Path, folder: Path, labels: Sequence[str]) -> Annotations:
    """The COCO file at `path`, for a detector whose classes are called `labels`.

    Raises InputError when it is no COCO file or knows none of the labels.
    """
    with refusing(f"reading annotations {path}", InputError, "Give a COCO instances file."):
        data = parse_coco(read_file(path, _MOST_BYTES))
    names = {row["name"]: row["id"] for row in data["categories"]}
    categories = {name: names[name] for name in labels if name in names}
    if not categories:
        raise InputError(
            f"reading annotations {path}: none of the classes {shortened(', '.join(labels))} is a category there. Give "
            "annotations with these names."
        )
    return Annotations(data, folder, categories)


def mean_average_precision(annotations: Annotations, detect: Detect) -> Precision:
    """Run `detect` over the pictures and score it. Raises MissingToolError without pycocotools."""
    coco_class, evaluation_class = _tools()
    pictures = annotations.pictures()
    rows = [row for picture in pictures for row in _rows(annotations, picture, detect)]
    if not rows:
        return Precision(0.0, 0.0, len(pictures))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class()
        truth.dataset = _complete(annotations.data)
        truth.createIndex()
        evaluation = evaluation_class(truth, truth.loadRes(rows), "bbox")
        evaluation.params.imgIds = [picture["id"] for picture in pictures]
        evaluation.params.catIds = sorted(annotations.categories.values())
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Precision(100 * float(evaluation.stats[0]), 100 * float(evaluation.stats[1]), len(pictures))


def _rows(annotations: Annotations, picture: Mapping[str, Any], detect: Detect) -> list[dict[str, Any]]:
    name = Path(str(picture["file_name"])).name
    width, height = float(picture["width"]), float(picture["height"])
    rows = []
    for found in detect(annotations.folder / name):
        if found.class_name in annotations.categories:
            ymin, xmin, ymax, xmax = found.box
            box = [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height]
            category = annotations.categories[found.class_name]
            rows.append({"image_id": picture["id"], "category_id": category, "bbox": box, "score": found.score})
    return rows


def _complete(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the fields that pycocotools reads and some files leave out."""
    rows = [
        {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row, "id": index + 1}
        for index, row in enumerate(data["annotations"])
    ]
    return {**data, "annotations": rows, "info": {}}


def _tools() -> tuple[Any, Any]:
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingToolError(
            "measuring mean average precision: pycocotools is not installed. Run `pip install 'mdcompiler[eval]'`."
        ) from error
    return COCO, COCOeval
