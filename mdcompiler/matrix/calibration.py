"""Calibration data of a matrix: the user's, or a few pictures of noise.

Noise has every value in every place, which is enough to compare integers with integers; it says nothing about
what a quantized network would see, so no method that improves it is run and no loss refuses it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mdcompiler.array_files import write_arrays
from mdcompiler.backend import input_specs
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.errors import InputError
from mdcompiler.foreign import is_folder, open_file, refusing
from mdcompiler.matrix.options import MatrixOptions
from mdcompiler.module import Module
from mdcompiler.quantization.options import Quantize
from mdcompiler.sampling import seeded_inputs

NOISE_SAMPLES = 4
_CHUNK_BYTES = 1 << 20
_FIRST_SEED = 1000
"""Far from the seeds of the check, so that a network is not calibrated on the picture it is compared on."""
NOISE_NOTE = (
    f"int8 networks were calibrated on {NOISE_SAMPLES} inputs of noise. Integers can be compared so; what the networks "
    "would detect cannot be judged (--calibration takes pictures)."
)


def quantize_options(options: MatrixOptions, module: Module, folder: Path) -> Quantize:
    """How `module` is quantized. folder: where noise is written when it is needed."""
    if options.calibration is not None:
        return Quantize(options.calibration, allow_degraded=options.allow_degraded)
    path = folder / "noise.npz"
    _write_noise(module, path)
    return Quantize.plainly(path)


def calibration_digest(calibration: Path | None) -> str:
    """Changes when the calibration data do: of a file its content, of a folder its names, sizes and times."""
    if calibration is None:
        return f"noise {NOISE_SAMPLES} {_FIRST_SEED}"
    digest = hashlib.sha256()
    with refusing(f"reading calibration data from {calibration}", InputError, "Check the path."):
        if is_folder(calibration):
            for path in sorted(calibration.iterdir()):
                about = path.lstat()
                digest.update(f"{path.name} {about.st_size} {about.st_mtime_ns}\n".encode(errors="surrogateescape"))
        else:
            with open_file(calibration) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
    return digest.hexdigest()


def _write_noise(module: Module, path: Path) -> None:
    inputs = tensor_specs(input_specs(module))
    drawn = [seeded_inputs(inputs, _FIRST_SEED + index) for index in range(NOISE_SAMPLES)]
    write_arrays(path, {item.name: np.concatenate([one[item.name] for one in drawn]) for item in inputs})
