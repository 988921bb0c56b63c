"""Arrays and pictures: inputs of a run, calibration data, weights, pictures."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mdcompiler.array_files import read_arrays
from mdcompiler.calibration.samples import open_samples
from mdcompiler.conformance import MODELS
from mdcompiler.images import read_picture, to_input
from mdcompiler.inputs import checked_inputs
from mdcompiler.manifest import TensorSpec
from mdcompiler.module import Module
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.self_check import CHECK_FILE, Answer, make_check, parse_check
from mdcompiler.target import find_target
from mdcompiler.weights import load_weights, weights_for
from mdcompiler.weights.files import save_weights
from tests.fuzz.kind import Kind
from tests.fuzz.mutate_archive import mutate_npy, mutate_npz, mutate_safetensors
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.weights.small_spec import small_spec

_INPUTS = (TensorSpec(name="x", shape=(1, 3, 4), dtype="float32"), TensorSpec(name="n", shape=(2,), dtype="int64"))


def _npz(**arrays: NDArray[Any]) -> bytes:
    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays)  # type: ignore[arg-type]
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return min(plain.getvalue(), packed.getvalue(), key=len)


def _input_seeds() -> Sequence[bytes]:
    return (_npz(x=np.ones((1, 3, 4), np.float32), n=np.arange(2)),)


def _npy_seeds() -> Sequence[bytes]:
    file = io.BytesIO()
    np.save(file, np.ones((1, 3, 4), np.float32))
    return (file.getvalue(),)


def _sample_seeds() -> Sequence[bytes]:
    samples = np.random.default_rng(0).normal(0, 1, (3, 13, 5, 6)).astype(np.float32)
    plain = io.BytesIO()
    np.savez(plain, x=samples[:1])
    return _npz(x=samples), plain.getvalue()


@functools.cache
def _module() -> Module:
    return module_from_model(MODELS["two-heads"](), find_target("cpu"))


@functools.cache
def _weights(suffix: str) -> Sequence[bytes]:
    import tempfile

    spec = small_spec()
    weights = dict(weights_for(spec))
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder, f"w{suffix}"), Path(folder, f"p{suffix}")
        save_weights(whole, weights)
        save_weights(part, dict(list(weights.items())[:3]))
        return part.read_bytes(), whole.read_bytes()


def _fit(file: Path) -> object:
    return load_weights(file) and weights_for(small_spec(), file)


_CHECKED = (TensorSpec(name="y", shape=(1, 4), dtype="float32"),)


def _check_seeds() -> Sequence[bytes]:
    return (make_check(_CHECKED, lambda arrays: Answer({"y": arrays["y"] * 2}, {"y": 1e-7})).to_bytes(),)


def _compare(file: Path) -> object:
    return parse_check(file.read_bytes(), file, _CHECKED, _CHECKED).faults(lambda arrays: {"y": arrays["y"] * 2})


@functools.cache
def _pictures() -> Sequence[bytes]:
    random = np.random.default_rng(0)
    colours = Image.fromarray(random.integers(0, 256, (12, 9, 3), dtype=np.uint8))
    found = []
    for mode, form in _PICTURES:
        file = io.BytesIO()
        picture = colours.convert("L").convert(mode) if mode.startswith(("I", "F")) else colours.convert(mode)
        options = (
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}
            if form == "JPEG"
            else {}
        )
        picture.save(file, form, **options)
        found.append(file.getvalue())
    return found


_PICTURES = (
    ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("RGB", "JPEG"),
    ("CMYK", "JPEG"), ("L", "JPEG"), ("RGB", "BMP"), ("P", "BMP"), ("P", "GIF"), ("RGB", "TIFF"), ("F", "TIFF"),
    ("I", "TIFF"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("RGB", "PPM"), ("1", "PPM"), ("RGBA", "WEBP"),
)  # fmt: skip


def _look(file: Path) -> object:
    return to_input(read_picture(file), 8, 8)


def _mixed(random: Random, data: bytes) -> bytes:
    """Damage, or the head of one picture and the tail of another."""
    if random.random() < 0.9:
        return mutate_bytes(random, data)
    other = random.choice(_pictures())
    at = random.randrange(1 + min(len(data), len(other)))
    return data[:at] + other[at:]


KINDS = (
    Kind(
        "inputs-npz",
        "i.npz",
        _input_seeds,
        mutate_npz,
        lambda file: checked_inputs(_INPUTS, read_arrays(file, _INPUTS)),
        80,
    ),
    Kind(
        "inputs-npy",
        "i.npy",
        _npy_seeds,
        mutate_npy,
        lambda file: checked_inputs(_INPUTS[:1], read_arrays(file, _INPUTS[:1])),
        80,
    ),
    Kind("samples-npz", "c.npz", _sample_seeds, mutate_npz, lambda file: list(open_samples(file, _module())), 80),
    Kind("weights-npz", "w.npz", lambda: _weights(".npz"), mutate_npz, _fit, 30),
    Kind("weights-safetensors", "w.safetensors", lambda: _weights(".safetensors"), mutate_safetensors, _fit, 60),
    Kind("check-file", CHECK_FILE, _check_seeds, mutate_safetensors, _compare, 40),
    Kind("pictures", "p.png", _pictures, _mixed, _look, 80),
)
