"""A detection set that is drawn, not downloaded: textured shapes that overlap on noisy ground.

A scene is its seed and its size: the same two give the same picture.
Colour, texture, size, stretch and turn say nothing about the class, neighbours may hide up to half of a shape,
some shapes nearly have the ground's colour, and blobs, outlines and strokes that are no class lie in between.

>>> scene = draw_scene(HELD_OUT, 160)
>>> scene.image.shape, scene.image.dtype.name, len(scene.boxes) == len(scene.classes)
((160, 160, 3), 'uint8', True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from examples.shapes.outlines import CLASSES, class_outline, distractor_outline
from examples.shapes.textures import fill_texture, ground_texture

HELD_OUT = 0
"""Seeds from here on are for evaluation."""
TRAIN = 1_000_000
"""Seeds from here on are for training; the two never meet."""
CALIBRATION = 500_000
"""Seeds from here on are for calibration of a quantized network."""

_MOST_SHAPES = 9
_SMALLEST_RADIUS, _LARGEST_RADIUS = 0.055, 0.27
_LEAST_VISIBLE = 0.5
_SUPERSAMPLING = 2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """image: RGB uint8 [size, size, 3]; boxes: float32 [n, 4], ymin xmin ymax xmax in 0..1; classes: int64 [n]."""

    image: NDArray[np.uint8]
    boxes: Floats
    classes: NDArray[np.int64]

    @property
    def labels(self) -> list[str]:
        """The names of the classes, one for each box."""
        return [CLASSES[index] for index in self.classes]


def draw_scene(seed: int, size: int = 320) -> Scene:
    """The scene of `seed`, `size` x `size` pixels. Boxes are of the whole shape, cut at the picture's edge."""
    rng = np.random.default_rng(seed)
    canvas = _Canvas(ground_texture(rng, size))
    for _ in range(int(rng.integers(0, 7))):
        canvas.try_shape(rng, distractor_outline(rng), _place(rng))
    wanted = int(rng.integers(2, _MOST_SHAPES + 1))
    boxes, classes = [], []
    for _ in range(wanted):
        index = int(rng.integers(len(CLASSES)))
        outline = class_outline(rng, index)
        box = canvas.try_shape(rng, outline, _place(rng), counts=True)
        if box is not None:
            boxes.append(box)
            classes.append(index)
    image = _camera(rng, canvas.pixels)
    return Scene(image, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64))


@dataclass(frozen=True)
class _Place:
    """Where a shape lies and how large it is, as shares of the picture's side; stretch > 1 is wide."""

    x: float
    y: float
    radius: float
    stretch: float
    turn: float


def _place(rng: np.random.Generator) -> _Place:
    low, high = np.log(_SMALLEST_RADIUS), np.log(_LARGEST_RADIUS)
    radius = float(np.exp(rng.uniform(low, high)))
    x, y = rng.uniform(0.6 * radius, 1 - 0.6 * radius, 2)
    stretch = float(np.exp(rng.uniform(-0.3, 0.3)))
    return _Place(float(x), float(y), radius, stretch, float(rng.uniform(-0.6, 0.6)))


class _Canvas:
    """The picture so far, and which shape every pixel belongs to."""

    def __init__(self, pixels: Floats) -> None:
        self.pixels = pixels
        self.size = pixels.shape[0]
        self.owner = np.zeros(pixels.shape[:2], np.int16)
        self.areas = [0]
        self.visible = [0]

    def try_shape(
        self, rng: np.random.Generator, rings: list[Floats], place: _Place, counts: bool = False
    ) -> tuple[float, float, float, float] | None:
        """Draw the polygon with holes `rings` unless it hides too much of a shape that counts; its box."""
        corners = [_move(ring, place) * self.size for ring in rings]
        low = np.clip(np.floor(corners[0].min(axis=0)), 0, self.size - 1).astype(int)
        high = np.clip(np.ceil(corners[0].max(axis=0)), low + 1, self.size).astype(int)
        mask = _rasterize([ring - low for ring in corners], tuple(high - low))
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        if not self._claim(mask > 0.5, window, counts):
            return None
        under = self.pixels[window]
        texture = fill_texture(rng, (mask.shape[0], mask.shape[1]), self.size, under.mean(axis=(0, 1)))
        opacity = mask[..., None] * np.float32(rng.uniform(0.75, 1.0))
        under += (texture - under) * opacity
        edges = np.clip(np.concatenate([corners[0].min(axis=0)[::-1], corners[0].max(axis=0)[::-1]]) / self.size, 0, 1)
        ymin, xmin, ymax, xmax = (float(edge) for edge in edges)
        return ymin, xmin, ymax, xmax

    def _claim(self, inside: NDArray[np.bool_], window: tuple[slice, slice], counts: bool) -> bool:
        """Make the pixels `inside` the next shape's; False when an older one would be hidden too much."""
        area = int(np.count_nonzero(inside))
        hidden = np.bincount(self.owner[window][inside], minlength=len(self.areas))
        left = np.array(self.visible) - hidden
        if area < 12 or bool(np.any(left[1:] < _LEAST_VISIBLE * np.array(self.areas[1:]))):
            return False
        self.visible = [*left.tolist(), area]
        self.areas.append(area if counts else 0)
        self.owner[window][inside] = len(self.areas) - 1
        return True


def _move(ring: Floats, place: _Place) -> Floats:
    """Corners [n, 2] (x, y) around 0 with radius 1, put in their place."""
    cos, sin = np.cos(place.turn), np.sin(place.turn)
    stretched = ring * np.sqrt([place.stretch, 1 / place.stretch])
    turned = stretched @ np.array([[cos, sin], [-sin, cos]])
    moved: Floats = (turned * place.radius + np.array([place.x, place.y])).astype(np.float32)
    return moved


def _rasterize(rings: list[Floats], size: tuple[int, ...]) -> Floats:
    """Coverage 0..1 [height, width] of a polygon (first ring) without its holes (the others)."""
    width, height = size
    picture = Image.new("L", (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    draw = ImageDraw.Draw(picture)
    for number, ring in enumerate(rings):
        draw.polygon((ring * _SUPERSAMPLING).ravel().tolist(), fill=0 if number else 255)
    coverage: Floats = np.asarray(picture.reduce(_SUPERSAMPLING), np.float32) / np.float32(255)
    return coverage


def _camera(rng: np.random.Generator, pixels: Floats) -> NDArray[np.uint8]:
    """Exposure, blur and noise, as a cheap camera adds them."""
    exposed = (pixels - 128) * np.float32(rng.uniform(0.6, 1.1)) + np.float32(128 + rng.uniform(-25, 25))
    picture = Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8))
    blur = rng.uniform(0, 0.0045) * pixels.shape[0]
    picture = picture.filter(ImageFilter.BoxBlur(max(float(blur) - 0.3, 0.0)))
    strength = np.float32(rng.uniform(2, 16))
    noise = rng.standard_normal(pixels.shape[:2], np.float32)[..., None] * strength
    return np.clip(np.asarray(picture, np.float32) + noise, 0, 255).astype(np.uint8)
