"""COCO's mAP of anything that detects, over drawn scenes (extra `eval`: pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.shapes.outlines import CLASSES
from examples.shapes.scenes import HELD_OUT, Scene, draw_scene
from mdcompiler.detections import Detection

Detect = Callable[[NDArray[np.uint8]], Sequence[Detection]]
"""From an RGB picture uint8 [size, size, 3] to its detections."""


@dataclass(frozen=True)
class Accuracy:
    """COCO's figures, 0 to 1.

    mean_ap: over IoU 0.50 to 0.95 and the classes; ap50, ap75: at one IoU; recall: the best at 100 detections a scene;
    class_ap: by class name, over IoU 0.50 to 0.95. scenes, objects: how many were looked at.
    """

    mean_ap: float
    ap50: float
    ap75: float
    recall: float
    class_ap: dict[str, float]
    scenes: int
    objects: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def held_out_scenes(count: int, size: int) -> Iterator[Scene]:
    """The first `count` scenes that no training sees."""
    for seed in range(HELD_OUT, HELD_OUT + count):
        yield draw_scene(seed, size)


def measure(detect: Detect, scenes: Iterable[Scene]) -> Accuracy:
    """Accuracy of `detect` on `scenes`, by pycocotools. Raises ImportError where that is missing."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    scenes = list(scenes)
    truth = coco_truth(scenes)
    found: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes):
        found.extend(_result(number, item, scene.image.shape[0]) for item in detect(scene.image))
    if not found:
        return _nothing(len(truth["images"]), len(truth["annotations"]))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return _accuracy(evaluation, len(truth["images"]), len(truth["annotations"]))


def coco_truth(scenes: Iterable[Scene]) -> dict[str, Any]:
    """What is in the scenes as a COCO instances file; `id` and `file_name` of a picture are the scene's number."""
    truth: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CLASSES)],
    }
    for number, scene in enumerate(scenes):
        size = scene.image.shape[0]
        truth["images"].append({"id": number, "file_name": f"{number}.png", "width": size, "height": size})
        truth["annotations"].extend(_annotations(number, scene, len(truth["annotations"]) + 1))
    return truth


def _annotations(number: int, scene: Scene, first: int) -> Iterator[dict[str, Any]]:
    size = scene.image.shape[0]
    for index, (box, category) in enumerate(zip(scene.boxes, scene.classes, strict=True)):
        place = _pixels(box.tolist(), size)
        row = {"id": first + index, "image_id": number, "category_id": int(category), "iscrowd": 0}
        yield {**row, "bbox": place, "area": place[2] * place[3]}


def _result(number: int, item: Detection, size: int) -> dict[str, Any]:
    place = _pixels(item.box, size)
    return {"image_id": number, "category_id": item.class_index, "bbox": place, "score": item.score}


def _pixels(box: Sequence[float], size: int) -> list[float]:
    """COCO's (x, y, width, height) in pixels."""
    ymin, xmin, ymax, xmax = (min(max(edge, 0.0), 1.0) * size for edge in box)
    return [xmin, ymin, xmax - xmin, ymax - ymin]


def _accuracy(evaluation: Any, scenes: int, objects: int) -> Accuracy:
    # precision: [IoU, recall, class, area, most detections]; -1 where a class has no object
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    classes = {name: _mean(precision[:, :, index]) for index, name in enumerate(CLASSES)}
    mean_ap, ap50, ap75 = (float(value) for value in evaluation.stats[:3])
    return Accuracy(mean_ap, ap50, ap75, float(evaluation.stats[8]), classes, scenes, objects)


def _mean(values: NDArray[np.float64]) -> float:
    present = values[values > -1]
    return float(present.mean()) if present.size else float("nan")


def _nothing(scenes: int, objects: int) -> Accuracy:
    """The figures of a detector that saw nothing at all, which pycocotools refuses to work out."""
    return Accuracy(0.0, 0.0, 0.0, 0.0, dict.fromkeys(CLASSES, 0.0), scenes, objects)
