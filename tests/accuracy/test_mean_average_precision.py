"""COCO's metric on a file written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdcompiler.accuracy.mean_average_precision import mean_average_precision, read_annotations
from mdcompiler.detections import Detection
from mdcompiler.errors import InputError


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    data = {
        "images": [{"id": index, "file_name": f"{index}.jpg", "width": 200, "height": 100} for index in (1, 2, 3)],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [20, 10, 100, 50]},
            {"image_id": 2, "category_id": 7, "bbox": [0, 0, 50, 50]},
            {"image_id": 3, "category_id": 8, "bbox": [0, 0, 50, 50]},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "bus"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(data))
    return path


def test_right_boxes_score_full_and_half_of_them_half(annotated: Path) -> None:
    pytest.importorskip("pycocotools", reason="the extra `eval` is not installed")
    boxes = {"1.jpg": (0.1, 0.1, 0.6, 0.6), "2.jpg": (0.0, 0.0, 0.5, 0.25)}
    read = read_annotations(annotated, annotated.parent, ["cat", "dog"])
    full = mean_average_precision(read, lambda path: [Detection(boxes[path.name], 0, "cat", 0.9)])
    assert full.all == pytest.approx(100.0)
    assert full.pictures == 2
    one = mean_average_precision(read, lambda path: [Detection(boxes["1.jpg"], 0, "cat", 0.9)][: path.name == "1.jpg"])
    assert 45 < one.all < 55
    assert mean_average_precision(read, lambda path: []).all == 0.0


def test_a_file_that_is_no_coco_file_is_refused(annotated: Path) -> None:
    with pytest.raises(InputError, match="none of the classes tram is a category"):
        read_annotations(annotated, annotated.parent, ["tram"])
    annotated.write_text("[1, 2]")
    with pytest.raises(InputError, match="Give a COCO instances file"):
        read_annotations(annotated, annotated.parent, ["cat"])
