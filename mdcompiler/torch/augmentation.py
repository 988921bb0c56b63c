"""Pictures and boxes, changed as SSD's training changes them (Liu et al. 2016, arXiv 1512.02325, section 2.2).

Each function takes and gives a picture uint8 [H, W, 3], boxes float32 [n, 4] (ymin xmin ymax xmax as shares of the
picture) and classes [n], and draws from a NumPy generator alone: the same generator, the same result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mdcompiler.matching import Floats

Pixels = NDArray[np.uint8]
Example = tuple[Pixels, Floats, NDArray[Any]]

LEAST_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Of an object that a cropped window must show this share of; one is drawn for each crop."""
_SMALLEST_SIDE, _WIDEST = 0.3, 2.0
_TRIES = 50
_BRIGHTNESS, _CONTRAST, _SATURATION = 32.0, (0.5, 1.5), (0.5, 1.5)


def augment(rng: np.random.Generator, picture: Pixels, boxes: Floats, classes: NDArray[Any]) -> Example:
    """Colours, a window half of the time, a flip half of the time."""
    example = (distort_colours(rng, picture), boxes, classes)
    if rng.random() < 0.5:
        example = crop(rng, *example)
    return flip(*example) if rng.random() < 0.5 else example


def flip(picture: Pixels, boxes: Floats, classes: NDArray[Any]) -> Example:
    """Left becomes right."""
    turned = boxes.copy()
    turned[:, 1], turned[:, 3] = 1 - boxes[:, 3], 1 - boxes[:, 1]
    return np.ascontiguousarray(picture[:, ::-1]), turned, classes


def crop(rng: np.random.Generator, picture: Pixels, boxes: Floats, classes: NDArray[Any]) -> Example:
    """A random window, enlarged to the whole; objects whose centers it holds stay, cut at its edges.

    The example as it is when no window was found that shows enough of an object.
    """
    least = float(rng.choice(LEAST_OVERLAPS))
    for _ in range(_TRIES):
        window = _window(rng)
        kept = _inside(boxes, window)
        if kept.any() and float(_shares(boxes[kept], window).max()) >= least:
            return _cut(picture, window), _moved(boxes[kept], window), classes[kept]
    return picture, boxes, classes


def distort_colours(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Brightness, contrast and saturation, each at random."""
    pixels = picture.astype(np.float32) + np.float32(rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))
    pixels = (pixels - 128) * np.float32(rng.uniform(*_CONTRAST)) + 128
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(rng.uniform(*_SATURATION))
    return np.asarray(np.rint(np.clip(pixels, 0, 255)), np.uint8)


def _window(rng: np.random.Generator) -> Floats:
    """ymin xmin ymax xmax, sides from 0.3 to 1, at most twice as wide as high or as high as wide."""
    height = float(rng.uniform(_SMALLEST_SIDE, 1))
    width = float(rng.uniform(max(_SMALLEST_SIDE, height / _WIDEST), min(1.0, height * _WIDEST)))
    top, left = float(rng.uniform(0, 1 - height)), float(rng.uniform(0, 1 - width))
    return np.array([top, left, top + height, left + width], np.float32)


def _inside(boxes: Floats, window: Floats) -> NDArray[np.bool_]:
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.asarray(((centers > window[:2]) & (centers < window[2:])).all(axis=1))


def _shares(boxes: Floats, window: Floats) -> Floats:
    """The share of every box that lies in the window."""
    seen = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(np.clip(seen, 0, None).prod(axis=1) / np.maximum(areas, np.float32(1e-9)))


def _cut(picture: Pixels, window: Floats) -> Pixels:
    height, width = picture.shape[:2]
    top, left, bottom, right = (float(edge) for edge in window)
    box = (left * width, top * height, right * width, bottom * height)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box=box))


def _moved(boxes: Floats, window: Floats) -> Floats:
    sides = np.tile(window[2:] - window[:2], 2)
    return np.clip((boxes - np.tile(window[:2], 2)) / sides, 0, 1).astype(np.float32)
