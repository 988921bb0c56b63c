"""Pictures in: from files nobody vouches for to the uint8 tensor a network takes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mdcompiler.errors import ImageError

MAX_PIXELS = 64 * 1024 * 1024
"""Largest picture that is decoded: 192 MiB as RGB."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""What is tried; formats that start other programs (EPS) are not."""

Picture = NDArray[np.uint8]


def read_picture(path: str | Path) -> Picture:
    """The picture in a file as RGB uint8 [height, width, 3], upright as its EXIF tag says.

    Raises ImageError when the file is missing, no picture, damaged or larger than MAX_PIXELS.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # The bound below is stricter than Pillow's, and broken metadata is no reason to refuse pixels.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, *image.size)
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"reading {path}: not a picture; {', '.join(FORMATS)} can be read.") from error
    except FileNotFoundError as error:
        raise ImageError(f"reading {path}: there is no such file. Check the path.") from error
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageError(f"reading {path}: {error or type(error).__name__}. Give an undamaged picture.") from error


def as_picture(image: str | Path | NDArray[Any] | Image.Image) -> Picture:
    """A path, a PIL image or an array uint8 [height, width, 3] as RGB uint8 [height, width, 3]."""
    if isinstance(image, (str, Path)):
        return read_picture(image)
    if isinstance(image, Image.Image):
        _check_size("the image", *image.size)
        return np.array(image.convert("RGB"))
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        what = f"{image.dtype}{list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"taking a picture: got {what}; an RGB array uint8 [height, width, 3] is allowed.")
    if 0 in image.shape:
        raise ImageError(f"taking a picture: its shape is {list(image.shape)}; it needs at least one pixel.")
    return image


def to_input(picture: Picture, height: int, width: int) -> Picture:
    """The picture at the network's size, uint8 [1, height, width, 3]; bilinear, averaging when it shrinks."""
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)[np.newaxis]


def _check_size(path: object, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"reading {path}: {width}x{height} pixels are more than the {MAX_PIXELS} allowed. Make it smaller first."
        )
