"""Pictures from anywhere: what is read, what is refused, and what is drawn."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mdcompiler.detections import Detection
from mdcompiler.drawing import class_color, draw_detections
from mdcompiler.errors import ImageError
from mdcompiler.images import MAX_SIDE_PIXELS, as_picture, read_picture, to_input


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


RAMP = np.tile(np.arange(0, 256, 5, dtype=np.uint8), (7, 1))
"""Grey levels, wider than high."""

GREY = np.repeat(RAMP[:, :, None], 3, axis=2)
WIDE = RAMP.astype(np.uint16) * 256 + 201
"""16 bits whose upper half is RAMP."""


def _palette(alpha: bool) -> Image.Image:
    image = Image.fromarray(RAMP // 5, "P")
    image.putpalette([value for level in range(0, 256, 5) for value in (level, 255 - level, 7)])
    if alpha:
        image.info["transparency"] = bytes(range(len(RAMP[0])))
    return image


def _with(mode: str, *bands: np.ndarray) -> Image.Image:
    return Image.merge(mode, [Image.fromarray(band) for band in bands])


COLOURS = np.dstack([RAMP, 255 - RAMP, np.full_like(RAMP, 7)])
HALF = np.full_like(RAMP, 3)
MODES: dict[str, tuple[Image.Image, np.ndarray, tuple[str, ...]]] = {
    "1": (Image.fromarray(RAMP > 99), np.where(GREY > 99, 255, 0), ("png", "tif", "bmp", "pbm")),
    "L": (Image.fromarray(RAMP), GREY, ("png", "tif", "bmp", "pgm", "webp", "gif")),
    "LA": (_with("LA", RAMP, HALF), GREY, ("png", "tif")),
    "P": (_palette(alpha=False), COLOURS, ("png", "gif", "tif", "bmp")),
    "P with alpha": (_palette(alpha=True), COLOURS, ("png",)),
    "PA": (_palette(alpha=True).convert("PA"), COLOURS, ()),
    "RGB": (Image.fromarray(COLOURS), COLOURS, ("png", "tif", "bmp", "ppm", "webp")),
    "RGBA": (_with("RGBA", *np.moveaxis(COLOURS, 2, 0), HALF), COLOURS, ("png", "tif", "webp")),
    "RGBX": (Image.fromarray(COLOURS).convert("RGBX"), COLOURS, ()),
    "RGBa": (Image.fromarray(COLOURS).convert("RGBA").convert("RGBa"), COLOURS, ()),
    "La": (Image.fromarray(RAMP).convert("LA").convert("La"), GREY, ()),
    "CMYK": (_with("CMYK", 255 - RAMP, RAMP, HALF * 0, HALF * 0), COLOURS * [1, 1, 0] + [0, 0, 255], ("tif",)),
    "I;16": (Image.fromarray(WIDE), GREY, ("png", "tif", "pgm")),
    "I;16B": (Image.frombytes("I;16B", RAMP.shape[::-1], WIDE.astype(">u2").tobytes()), GREY, ("tif",)),
    "I": (Image.fromarray(WIDE.astype(np.int32)), GREY, ("tif",)),
    "F": (Image.fromarray(RAMP.astype(np.float32)), GREY, ("tif",)),
}
LOSSLESS: dict[str, dict[str, Any]] = {"webp": {"lossless": True, "exact": True}}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_its_colours_however_it_comes(tmp_path: Path, mode: str) -> None:
    image, expected, suffixes = MODES[mode]
    np.testing.assert_array_equal(as_picture(image), expected)
    for suffix in suffixes:
        path = tmp_path / f"a.{suffix}"
        image.save(path, **LOSSLESS.get(suffix, {}))
        with path.open("rb") as file:
            found = [read_picture(path), as_picture(str(path)), as_picture(path.read_bytes()), as_picture(file)]
        with Image.open(path) as opened:
            found.append(as_picture(opened))
        for got in found:
            assert got.dtype == np.uint8
            np.testing.assert_array_equal(got, expected, err_msg=suffix)


def test_colours_of_other_spaces_are_those_of_pillow() -> None:
    for mode in ("HSV", "YCbCr", "LAB"):
        image = Image.fromarray(picture()).convert(mode)
        np.testing.assert_array_equal(as_picture(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("adobe", [False, True], ids=["plain", "Adobe"])
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_jpegs(tmp_path: Path, adobe: bool, progressive: bool) -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    image = Image.fromarray(flat).convert("CMYK") if adobe else Image.fromarray(flat)
    image.save(tmp_path / "a.png", format="JPEG", quality=100, progressive=progressive)
    assert np.abs(read_picture(tmp_path / "a.png").astype(int) - flat).max() <= 3


def test_sixteen_bits_in_a_file_of_few_levels(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 1023\n" + np.array([0, 1023], ">u2").tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "a.pgm")[0, :, 0], [0, 255])


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_the_first_of_several_frames(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(GREY // 86 * 86), Image.fromarray(255 - GREY)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **LOSSLESS.get(suffix, {}))
    np.testing.assert_array_equal(read_picture(path), GREY // 86 * 86)


LEVELS: dict[str, tuple[np.ndarray, str]] = {
    "fractions": (np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3), "floats from 0 to 1; 0 to 255"),
    "not a number": (np.array([[1, np.nan]], np.float32), "floats from nan"),
    "infinite": (np.array([[1, np.inf]], np.float32), "to inf"),
    "32 bits": (np.array([[1, 70000]], np.int32), "1 to 70000; 0 to 65535"),
    "negative": (np.array([[1, -1]], np.int32), "-1 to 1; 0 to 65535"),
}


@pytest.mark.parametrize("name", LEVELS)
def test_grey_levels_that_may_mean_anything(tmp_path: Path, name: str) -> None:
    values, why = LEVELS[name]
    Image.fromarray(values).save(tmp_path / "a.tif")
    for given in (tmp_path / "a.tif", Image.fromarray(values)):
        with pytest.raises(ImageError, match=why):
            as_picture(given)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gray16"])
def test_a_turned_camera_is_turned_back_however_the_picture_comes(tmp_path: Path, suffix: str, turn: int) -> None:
    upright = Image.fromarray(WIDE if suffix == "gray16" else GREY)
    flat = GREY
    seen = {1: flat, 2: flat[:, ::-1], 3: flat[::-1, ::-1], 4: flat[::-1], 5: flat.transpose(1, 0, 2)}
    seen |= {6: np.rot90(flat, -1), 7: flat[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(flat)}
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / ("a.png" if suffix == "gray16" else f"a.{suffix}")
    upright.save(path, exif=exif, quality=100, lossless=True)
    with Image.open(path) as opened:
        for given in (path, path.read_bytes(), opened):
            assert np.abs(as_picture(given).astype(int) - seen[turn]).max() <= (suffix == "jpg")


def test_broken_tags_are_no_reason_to_refuse_pixels(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), GREY)


def test_sizes_that_no_picture_has(tmp_path: Path) -> None:
    Image.new("1", (MAX_SIDE_PIXELS + 1, 1)).save(tmp_path / "a.png")
    for given in (tmp_path / "a.png", Image.new("1", (1, MAX_SIDE_PIXELS + 1))):
        with pytest.raises(ImageError, match="no side may have more than 65536"):
            as_picture(given)
    with pytest.raises(ImageError, match="at least one is needed"):
        as_picture(Image.new("RGB", (0, 5)))
    assert to_input(as_picture(Image.new("L", (MAX_SIDE_PIXELS, 1))), 32, 32).shape == (1, 32, 32, 3)


def test_what_is_no_file_of_a_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with (tmp_path / "text.png").open("w+") as text, pytest.raises(ImageError, match="open as text"):
        as_picture(text)  # type: ignore[arg-type]
    for path, why in (("pipe.png", "a pipe"), ("zero.png", "a device"), ("x" * 300, "too long"), ("a\0b", "NUL")):
        with pytest.raises(ImageError, match=why):
            read_picture(f"{tmp_path}/{path}")
    with pytest.raises(ImageError, match="got NoneType"):
        as_picture(None)  # type: ignore[arg-type]


def test_pixels_come_back_as_they_were(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture())


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
