"""Annotated pictures beside the calibration data, and the mean average precision of a network on them.

The annotations are a COCO instances file. For a folder of pictures `file_name` names the picture; for an `.npz` file
the picture's `id` is its row. Pictures that are not there are left out, as are those without a known class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mdcompiler.accuracy.head import DetectorHead, find_head
from mdcompiler.accuracy.mean_average_precision import Annotations, mean_average_precision, read_annotations
from mdcompiler.calibration.probe import Arrays, Probe
from mdcompiler.calibration.samples import PictureFiles, open_samples, spread
from mdcompiler.detections import Detection, detections_from, postprocess
from mdcompiler.errors import InputError
from mdcompiler.foreign import is_file, is_folder
from mdcompiler.module import Module
from mdcompiler.read_network import labels_of, picture_of

MOST_PICTURES = 512
"""So many are looked at, evenly spread, when there are more: each candidate of a search runs over all of them."""
_ROWS = 1 << 20


@dataclass(frozen=True)
class Annotated:
    """Pictures with the truth. calibration: the folder or `.npz` file that holds them. labels: of the network."""

    annotations: Annotations
    calibration: Path
    labels: tuple[str, ...]

    def points(self, module: Module) -> float:
        """mAP of `module`, points of 100, box overlaps 0.50 to 0.95."""
        eyes = Eyes(module, self.labels)
        found = {name: eyes.see(sample) for name, sample in self._samples(module)}
        return mean_average_precision(self.annotations, lambda path: found.get(path.name, [])).all

    def _samples(self, module: Module) -> Iterator[tuple[str, Arrays]]:
        rows = self.annotations.pictures()
        names = [Path(str(row["file_name"])).name for row in rows]
        if is_folder(self.calibration):
            picture = picture_of(module)
            assert picture is not None, "the network was looked at when the annotations were read"
            files = PictureFiles(tuple(self.calibration / name for name in names), picture)
            yield from zip(names, files, strict=True)
            return
        wanted = dict(zip((int(row["id"]) for row in rows), names, strict=True))
        for index, sample in enumerate(open_samples(self.calibration, module, _ROWS)):
            if index in wanted:
                yield wanted[index], sample


def open_annotated(path: Path, calibration: Path, module: Module) -> Annotated:
    """The annotations at `path` of the pictures in `calibration`, for the detector `module`.

    Raises InputError when the network is no detector, or none of the annotated pictures is there.
    """
    labels = labels_of(module)
    if find_head(module) is None or not labels:
        raise InputError(
            f"reading annotations {path}: the network is no detector with named classes, so it has no mean average "
            "precision. Leave the annotations out, or give a spec with `classes`."
        )
    read = read_annotations(path, calibration, labels)
    count = None if is_folder(calibration) else len(open_samples(calibration, module, _ROWS))
    there = [row for row in read.pictures() if _is_there(row, calibration, count)]
    if not there:
        where = "`file_name` must name a picture there" if count is None else f"`id` must be a row, 0 to {count - 1}"
        raise InputError(f"reading annotations {path}: none of its pictures is in {calibration}; {where}.")
    kept = {**read.data, "images": list(spread(there, MOST_PICTURES))}
    return Annotated(replace(read, data=kept), calibration, labels)


def _is_there(row: dict[str, Any], calibration: Path, count: int | None) -> bool:
    if count is None:
        return is_file(calibration / Path(str(row["file_name"])).name)
    return isinstance(row["id"], int) and 0 <= row["id"] < count


class Eyes:
    """A detector, float or with Q/DQ nodes, and its post-processing."""

    def __init__(self, module: Module, labels: tuple[str, ...] = ()) -> None:
        head = find_head(module)
        if head is None:
            raise InputError("looking at pictures: the network is no detector that can be decoded. Give a detector.")
        self.head: DetectorHead = head
        self.labels = labels
        self._probe = Probe(module.graph, [head.boxes, head.scores])

    def see(self, sample: Arrays) -> list[Detection]:
        """The detections in one sample, best first."""
        raw = self._probe.run(sample)
        head = self.head
        return detections_from(postprocess(raw[head.boxes], raw[head.scores], head.anchors, head.options), self.labels)
