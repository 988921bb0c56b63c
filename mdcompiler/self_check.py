"""The check that travels with an artifact: what the reference says to seeded inputs.

The file holds the reference's outputs as `<seed>/<output>`, long ones thinned out evenly. `mdc verify` runs the
artifact on the same input and compares; the compiler does so before an artifact takes its place.

Detections are compared as a set: two boxes whose scores differ by less than the tolerance may change places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import ArtifactError
from mdcompiler.foreign import read_file, refusing
from mdcompiler.manifest import TensorSpec
from mdcompiler.sampling import sample
from mdcompiler.tolerance import FLOAT_TOLERANCE, describe_difference, within_float_tolerance

CHECK_FILE = "check.safetensors"
_SEEDS = (0, 1, 2)
_MAX_VALUES = 1 << 14
_MOST_BYTES = 64 << 20
_DETECTIONS = frozenset(("boxes", "classes", "scores", "count"))
Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[dict[str, NDArray[Any]]], Arrays]


def seeded_inputs(inputs: Sequence[TensorSpec], seed: int = 0) -> dict[str, NDArray[Any]]:
    """One array for every input: bytes over their whole range, floats from [-1, 1]."""
    generator = np.random.default_rng(seed)
    return {item.name: sample(generator, item.shape, np.dtype(item.dtype)) for item in inputs}


def record_check(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], reference: Run) -> bytes:
    """The bytes of the check file: what `reference` says to the seeded inputs. Equal outputs give equal bytes."""
    from safetensors.numpy import save

    seeds = _SEEDS if {item.name for item in outputs} == _DETECTIONS else _SEEDS[:1]
    rows: dict[str, NDArray[Any]] = {}
    for seed in seeds:
        rows.update((f"{seed}/{name}", values) for name, values in _thinned(reference(seeded_inputs(inputs, seed))))
    return save({name: np.asarray(values, order="C") for name, values in rows.items()})


def check_faults(
    directory: Path, inputs: Sequence[TensorSpec], run: Run, tolerance: float = FLOAT_TOLERANCE
) -> list[str]:
    """What differs between `run` and the check file in `directory`, one sentence an output; [] when nothing.

    tolerance: for floats, see `mdcompiler.tolerance.tolerance_of`.
    One of several seeded pictures may sit on the edge of a decision of the suppression, so one that agrees is enough.
    """
    faults: list[str] = ["the check file is empty"]
    for seed, expected in sorted(_by_seed(_read(directory / CHECK_FILE)).items()):
        faults = differences(dict(_thinned(run(seeded_inputs(inputs, seed)))), expected, tolerance)
        if not faults:
            return []
    return faults


def _by_seed(rows: Arrays) -> dict[int, dict[str, NDArray[Any]]]:
    found: dict[int, dict[str, NDArray[Any]]] = {}
    for key, values in rows.items():
        seed, _, name = key.partition("/")
        if not seed.isdigit() or int(seed) not in _SEEDS:
            raise ArtifactError(f"reading {CHECK_FILE}: {key!r} is no output of a seeded input. Compile again.")
        found.setdefault(int(seed), {})[name] = values
    return found


def differences(got: Arrays, expected: Arrays, tolerance: float = FLOAT_TOLERANCE) -> list[str]:
    """What differs, one sentence an output; [] when everything is within the tolerance."""
    if set(got) != set(expected):
        return [f"outputs are {', '.join(got)} instead of {', '.join(expected)}"]
    if set(expected) == _DETECTIONS:
        return _detection_differences(got, expected, tolerance)
    return [
        f"{name}: {describe_difference(got[name], want, tolerance)}"
        for name, want in expected.items()
        if not within_float_tolerance(got[name], want, tolerance)
    ]


def _detection_differences(got: Arrays, expected: Arrays, tolerance: float) -> list[str]:
    shapes = [name for name in expected if got[name].shape != expected[name].shape]
    if shapes:
        return [f"{name}: shape {list(got[name].shape)} instead of {list(expected[name].shape)}" for name in shapes]
    scores, wanted = got["scores"][0], expected["scores"][0]
    if np.abs(scores - wanted).max(initial=0) > tolerance:
        return [f"scores: {describe_difference(got['scores'], expected['scores'], tolerance)}"]
    last = wanted[-1] if wanted.size else 0
    rows = [row for row in range(len(wanted)) if wanted[row] > last + tolerance]
    lost = [row for row in rows if not _found(row, got, expected, tolerance)]
    return [f"detections {lost} of the reference (by rank) are missing"] if lost else []


def _found(row: int, got: Arrays, expected: Arrays, tolerance: float) -> bool:
    """Whether `got` has the reference's detection `row`: its class, its box and nearly its score."""
    box = expected["boxes"][0, row]
    slack = tolerance * max(1.0, float(np.abs(box).max()))
    near = np.abs(got["scores"][0] - expected["scores"][0, row]) <= tolerance
    same = got["classes"][0] == expected["classes"][0, row]
    close = np.abs(got["boxes"][0] - box).max(axis=1) <= slack
    return bool((near & same & close).any())


def _thinned(outputs: Arrays) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every n-th value of a long output; detections stay whole, for they are compared row by row."""
    whole = set(outputs) == _DETECTIONS
    for name, array in outputs.items():
        long = array.size > _MAX_VALUES and not whole
        yield name, array.reshape(-1)[:: -(-array.size // _MAX_VALUES)] if long else array


def _read(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load

    with refusing(f"reading {path}", ArtifactError, "Compile the network again."):
        return load(read_file(path, _MOST_BYTES))
