"""Pictures out: detections drawn so that they can be read at any size."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mdcompiler.detections import Detection
from mdcompiler.images import Picture

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_GOLDEN_ANGLE = 0.618034


def draw_detections(picture: Picture, detections: Sequence[Detection]) -> Picture:
    """A copy of `picture` (uint8 [height, width, 3]) with a box and a label for every detection.

    The best detection is drawn last, on top. Lines and letters grow with the picture.
    """
    image = Image.fromarray(picture).copy()
    side = min(image.size)
    line, font = max(2, side // 160), ImageFont.load_default(size=max(11, side // 28))
    canvas = ImageDraw.Draw(image)
    for detection in reversed(detections):
        _draw_one(canvas, image.size, detection, line, font)
    return np.array(image)


def class_color(index: int) -> Color:
    """A colour of its own for every class; neighbours in number are far apart in hue."""
    red, green, blue = colorsys.hsv_to_rgb((index * _GOLDEN_ANGLE) % 1, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw_one(canvas: ImageDraw.ImageDraw, size: tuple[int, int], detection: Detection, line: int, font: Font) -> None:
    corners = _pixels(detection.box, size)
    color = class_color(detection.class_index)
    canvas.rectangle(corners, outline=color, width=line)
    text = f"{detection.class_name}: {detection.score:.0%}"
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = int(right - left) + 2 * line, int(bottom - top) + 2 * line
    x = max(0, min(corners[0], size[0] - width))
    y = corners[1] - height if corners[1] >= height else corners[1]
    canvas.rectangle((x, y, x + width, y + height), fill=color)
    canvas.text((x + line - left, y + line - top), text, font=font, fill=_readable_on(color))


def _pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) inside the picture; a box may reach beyond it or be infinite."""
    width, height = size
    ymin, xmin, ymax, xmax = (float(np.clip(np.nan_to_num(edge), 0, 1)) for edge in box)
    left, top = round(xmin * (width - 1)), round(ymin * (height - 1))
    return left, top, max(left, round(xmax * (width - 1))), max(top, round(ymax * (height - 1)))


def _readable_on(color: Color) -> Color:
    """Black or white, whichever contrasts more (luma of ITU-R BT.601)."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
