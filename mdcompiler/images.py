"""Pictures in: from files, bytes and objects nobody vouches for to the uint8 tensor a network takes.

One picture gives one array, however it comes: by path, as bytes, as an open file or as a PIL image. The rules, those of
Pillow's `convert("RGB")` where that keeps the picture:

* turned upright as the EXIF tag says; of several frames the first (of a PIL image, the one it stands at);
* transparency is dropped: the colours are those stored, whatever their alpha, as detectors are trained;
* 16 bits become 8 by their upper half, `v >> 8`, where Pillow would cut everything off above 255;
* floats are grey levels from 0 to 255; where they may as well be fractions, they are refused.
"""

from __future__ import annotations

import io
import os
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from mdcompiler.errors import ImageError
from mdcompiler.foreign import open_file, refusing

MAX_PIXELS = 64 * 1024 * 1024
"""Largest picture that is decoded: 192 MiB as RGB."""

MAX_SIDE_PIXELS = 1 << 16
"""Largest height and width: JPEG has no larger ones, and the memory of a resize grows with them."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""What is tried; formats that start other programs (EPS) are not."""

_MOST_FILE_BYTES = 1 << 29
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture upright, by the value of its EXIF tag Orientation."""

_WITH_ALPHA_MULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
Picture = NDArray[np.uint8]


def read_picture(path: str | Path) -> Picture:
    """The picture in a file as RGB uint8 [height, width, 3].

    Raises ImageError when the file is missing, no picture, damaged or larger than MAX_PIXELS.
    """
    with _refusing(f"reading {path}"):
        try:
            file = open_file(path)
        except FileNotFoundError as error:
            raise ImageError(f"reading {path}: there is no such file. Check the path.") from error
        with file:
            return _decoded(file)


def as_picture(image: str | Path | bytes | BinaryIO | NDArray[Any] | Image.Image) -> Picture:
    """A path, the bytes of a file, an open file, a PIL image or an array as RGB uint8 [height, width, 3].

    An array has to be uint8 [height, width, 3] already. Raises ImageError.
    """
    if isinstance(image, str | os.PathLike):
        return read_picture(image)
    if isinstance(image, bytes | bytearray | memoryview):
        with _refusing("reading a picture from bytes"):
            return _decoded(io.BytesIO(image))
    if isinstance(image, Image.Image):
        with _refusing("taking a PIL image"):
            return _rgb(image)
    if hasattr(image, "read"):
        with _refusing("reading a picture from an open file"):
            return _decoded(io.BytesIO(_rest_of(image)))
    return _checked(image)


def to_input(picture: Picture, height: int, width: int) -> Picture:
    """The picture at the network's size, uint8 [1, height, width, 3]; bilinear, averaging when it shrinks."""
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)[np.newaxis]


def _refusing(doing: str) -> AbstractContextManager[None]:
    return refusing(doing, ImageError, "Give an undamaged picture.")


def _decoded(file: BinaryIO) -> Picture:
    """The first frame of a file's picture. Any exception may leave it."""
    with warnings.catch_warnings():
        # The bounds here are stricter than Pillow's, and broken metadata is no reason to refuse pixels.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"it is not a picture; {', '.join(FORMATS)} can be read") from None
        with image:
            return _rgb(image)


def _rgb(image: Image.Image) -> Picture:
    """The pixels of `image`, upright."""
    _check_size(*image.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.load()
        _check_size(*image.size)
        turn = _TURNED.get(_orientation(image))
        upright = _converted(image) if turn is None else _converted(image).transpose(turn)
        return np.array(upright)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # tags are damaged in more ways than pixels, and say no more than how a camera was held
        return 1


def _converted(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        return _eight_bits(image)
    if mode == "F":
        _check_levels(np.asarray(image))
        return image.convert("L").convert("RGB")
    if mode in _WITH_ALPHA_MULTIPLIED:
        return image.convert(_WITH_ALPHA_MULTIPLIED[mode]).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow may keep in 32."""
    values = np.asarray(image.convert("I"))
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise ValueError(f"its grey levels are {low} to {high}; 0 to 65535 are allowed")
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def _check_levels(values: NDArray[Any]) -> None:
    low, high = float(values.min()), float(values.max())
    if not (0 <= low <= high <= 255) or 0 < high <= 1:
        raise ValueError(f"its grey levels are floats from {low:g} to {high:g}; 0 to 255 are allowed, not fractions")


def _rest_of(file: Any) -> bytes:
    data = file.read(_MOST_FILE_BYTES + 1)
    if not isinstance(data, bytes):
        raise ValueError("it is open as text and not in binary")
    if len(data) > _MOST_FILE_BYTES:
        raise ValueError(f"it has more than the {_MOST_FILE_BYTES} bytes allowed")
    return data


def _checked(array: object) -> Picture:
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        what = f"{array.dtype}{list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ImageError(
            f"taking a picture: got {what}; an RGB array uint8 [height, width, 3] is allowed. Give one, a PIL image, "
            "or the path, the bytes or the open file of a picture."
        )
    if 0 in array.shape:
        raise ImageError(f"taking a picture: its shape is {list(array.shape)}; it needs at least one pixel. Give one.")
    with _refusing("taking a picture"):
        _check_size(array.shape[1], array.shape[0])
    return np.asarray(array)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"it has {width}x{height} pixels; at least one is needed")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels are more than the {MAX_PIXELS} allowed; make it smaller first")
    if max(width, height) > MAX_SIDE_PIXELS:
        raise ValueError(f"{width}x{height} pixels: no side may have more than {MAX_SIDE_PIXELS}; cut it first")
