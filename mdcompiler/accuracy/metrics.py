"""How far one network's numbers are from another's: accumulated sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.accuracy.head import DetectorHead
from mdcompiler.detections import decode_boxes
from mdcompiler.same_everywhere import dot, log

CONFIDENT = 0.5
"""Score from which an anchor counts as a detection."""

DOUBTFUL = CONFIDENT / 2
"""Below this it does not; what lies between may go either way without being counted as a change."""

_MOST_DB = 200.0
DECIBELS = 4.342944819032518
"""10 / ln 10."""
Values = NDArray[np.floating[Any]]


@dataclass
class Noise:
    """Power of a signal and of its error."""

    signal: float = 0.0
    error: float = 0.0

    def update(self, want: Values, got: Values) -> None:
        """Add one sample; both arrays have one shape."""
        gap = got.astype(np.float64) - want
        self.signal += dot(want, want)
        self.error += dot(gap, gap)

    @property
    def decibels(self) -> float:
        """10 log10(signal / error): 200 where nothing differs, -200 where nothing is right."""
        if self.error == 0.0:
            return _MOST_DB
        if self.signal == 0.0:
            return -_MOST_DB
        return max(-_MOST_DB, min(_MOST_DB, DECIBELS * float(log(self.signal / self.error))))


@dataclass
class Anchors:
    """What becomes of a detector's anchors.

    total, changed: anchors, and those that show another class, show nothing any more, or show something where the
    float network sees nothing. confident, lost: anchors where the float network's best class has a score of at least
    CONFIDENT, and those of them that changed. error_px: sum of the mean distances of the confident anchors' box
    edges, in pixels. The background slot is left out: networks trained without it leave it undefined.
    """

    head: DetectorHead
    total: int = 0
    changed: int = 0
    confident: int = 0
    lost: int = 0
    error_px: float = 0.0

    def update(self, want: dict[str, Values], got: dict[str, Values]) -> None:
        """Add one sample: the tensors head.boxes and head.scores of the float and of the other network."""
        wanted, given = want[self.head.scores][0, :, 1:], got[self.head.scores][0, :, 1:]
        sure, now_sure = wanted.max(axis=1) >= CONFIDENT, given.max(axis=1) >= CONFIDENT
        swapped = wanted.argmax(axis=1) != given.argmax(axis=1)
        gone, new = given.max(axis=1) < DOUBTFUL, wanted.max(axis=1) < DOUBTFUL
        other = (sure & (swapped | gone)) | (now_sure & new)
        self.total += other.size
        self.changed += int(other.sum())
        self.confident += int(sure.sum())
        self.lost += int((other & sure).sum())
        if sure.any():
            gap = self._boxes(got, sure) - self._boxes(want, sure)
            self.error_px += float(np.abs(np.nan_to_num(gap, nan=1e4)).mean(axis=1).sum())

    def _boxes(self, arrays: dict[str, Values], rows: NDArray[np.bool_]) -> Values:
        """Corners in pixels [n,4] of the anchors `rows`."""
        encodings = arrays[self.head.boxes][0][rows].astype(np.float32)
        corners = decode_boxes(encodings, self.head.anchors[rows], self.head.options)
        size = [self.head.height, self.head.width] * 2
        return np.asarray(corners * np.array(size, np.float32))

    @property
    def changed_share(self) -> float:
        return self.changed / max(self.total, 1)

    @property
    def lost_share(self) -> float | None:
        """None when the float network is sure of nothing on these samples."""
        return self.lost / self.confident if self.confident else None

    @property
    def box_error_px(self) -> float | None:
        """Mean over the confident anchors, None without any."""
        return self.error_px / self.confident if self.confident else None
