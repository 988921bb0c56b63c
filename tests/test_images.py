"""Pictures from anywhere: what is read, what is refused, and what is drawn."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdcompiler.detections import Detection
from mdcompiler.drawing import class_color, draw_detections
from mdcompiler.errors import ImageError
from mdcompiler.images import as_picture, read_picture, to_input


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    Image.new(mode, (5, 4)).save(path)
    found = read_picture(path)
    assert found.shape == (4, 5, 3)
    assert found.dtype == np.uint8


def test_pixels_come_back_as_they_were(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture())


def test_a_turned_camera_is_turned_back(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.rot90(picture(), -1))


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT" + bytes(1000)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.png", b"", "not a picture"),
        ("a.jpg", b"plain text", "not a picture"),
        ("a.png", png_header(60000, 60000), "pixels|exceeds"),
        ("a.png", png_header(9000, 9000), "more than the"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
    ids=["empty", "text", "decompression bomb", "too many pixels", "a format that runs programs"],
)
def test_what_is_no_picture(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=words):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif"])
def test_a_truncated_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture()).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"reading .*a\."):
        read_picture(path)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(ImageError, match="directory"):
        read_picture(tmp_path)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_picture(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="taking a picture"):
        as_picture(array)


def test_input_has_the_networks_size() -> None:
    constant = np.full((37, 91, 3), (10, 20, 30), np.uint8)
    found = to_input(constant, 32, 48)
    assert found.shape == (1, 32, 48, 3)
    assert (found == (10, 20, 30)).all()


def test_drawing_marks_the_box_and_leaves_the_rest() -> None:
    before = np.full((200, 300, 3), 128, np.uint8)
    after = draw_detections(before, [Detection((0.5, 0.5, 0.9, 0.9), 3, "dog", 0.8)])
    assert (before == 128).all()
    assert tuple(after[100 + 2, 220]) == class_color(3) or tuple(after[179, 220]) == class_color(3)
    assert (after[:70] == 128).all()
    assert (after[120:160, 200:250] == 128).all()


@pytest.mark.parametrize(
    "box",
    [(-1, -1, 2, 2), (0.5, 0.5, 0.5, 0.5), (float("-inf"), float("nan"), float("inf"), 1.0), (0.9, 0.9, 0.1, 0.1)],
)
def test_any_box_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    assert draw_detections(picture(), [Detection(box, 0, "ünïcode → name", 1.0)]).shape == (40, 60, 3)


def test_neighbouring_classes_differ_in_color() -> None:
    assert len({class_color(index) for index in range(90)}) == 90
