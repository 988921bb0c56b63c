"""Edited artifacts: every bit of every file, and manifests that lie with a hash that fits.

    python -m tests.faults.flips 2000

An edit is refused in one sentence; a lie may pass only where what runs is the same. Nothing may crash.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mdcompiler
from mdcompiler.artifact import MANIFEST
from mdcompiler.errors import MdcError
from mdcompiler.manifest import sealed_text
from tests.faults.networks import small_network

Array = np.ndarray[Any, Any]
_WORDS = ("", "x\0y", "../x", "int8", "null", "cpu", "cuda")
VALUES: tuple[Any, ...] = (0, -1, 1, 2**31, 2**31 - 1, 2**63, 1e308, *_WORDS, None, [], {}, [[]])
"""What a liar puts in the place of a value."""


@dataclass(frozen=True)
class Tally:
    """faults: an edit, and what went wrong with it."""

    tried: int
    faults: list[str]


def sandbox(folder: Path) -> Path:
    """An artifact to edit."""
    return mdcompiler.compile(small_network(folder / "net.onnx"), out=folder / "out", threads=1).directory


def try_edits(artifact: Path, count: int, seed: int = 0) -> Tally:
    """`count` edits of the artifact, each undone again. Two of three are flipped bits."""
    generator = np.random.default_rng(seed)
    files = {path.name: path.read_bytes() for path in artifact.iterdir()}
    want, faults = _answer(artifact), []
    for number in range(count):
        name, content = _lie(files, generator) if number % 3 == 2 else _flip(files, generator)
        (artifact / name).write_bytes(content)
        is_lie = number % 3 == 2
        fault = _fault(artifact, want, may_pass=is_lie)
        if fault and content != files[name]:
            kept = artifact.parent / f"fault-{number}"
            kept.write_bytes(content)
            faults.append(f"edit {number} of {name}: {fault}; kept as {kept}")
        (artifact / name).write_bytes(files[name])
    return Tally(count, faults)


def _flip(files: dict[str, bytes], generator: np.random.Generator) -> tuple[str, bytes]:
    """One bit of one file, the manifest's as often as all others'; now and then a byte more or less."""
    others = sorted(set(files) - {MANIFEST})
    name = MANIFEST if generator.random() < 0.5 else others[generator.integers(len(others))]
    content = bytearray(files[name])
    place = int(generator.integers(len(content)))
    kind = generator.random()
    if kind < 0.9:
        content[place] ^= 1 << int(generator.integers(8))
    elif kind < 0.95:
        del content[place]
    else:
        content.insert(place, int(generator.integers(256)))
    return name, bytes(content)


def _lie(files: dict[str, bytes], generator: np.random.Generator) -> tuple[str, bytes]:
    """A manifest with another value somewhere, and a hash that fits."""
    data = copy.deepcopy(json.loads(files[MANIFEST]))
    del data["digest"]
    places = list(_places(data))
    put = places[int(generator.integers(len(places)))]
    put(VALUES[int(generator.integers(len(VALUES)))])
    return MANIFEST, sealed_text(data)


def _places(data: Any) -> Iterator[Callable[[Any], None]]:
    """A function for every value inside `data` that puts another there."""
    keys = list(data) if isinstance(data, dict) else range(len(data))
    for key in keys:

        def put(value: Any, key: Any = key) -> None:
            data[key] = value

        yield put
        if isinstance(data[key], (dict, list)):
            yield from _places(data[key])


def _answer(artifact: Path) -> dict[str, Array]:
    """What it says to a fixed input, under whatever names."""
    with mdcompiler.load(artifact) as detector:
        inputs = {
            item.name: np.random.default_rng(7).standard_normal(item.shape).astype(item.dtype)
            for item in detector.artifact.manifest.inputs
        }
        return detector.run(inputs)


def _fault(artifact: Path, want: dict[str, Array], may_pass: bool) -> str:
    try:
        got = _answer(artifact)
    except MdcError as error:
        return "" if "\n" not in str(error) else f"not one sentence: {error}"
    except Exception as error:  # whatever else it is, it is no refusal
        return f"{type(error).__name__}: {error}"
    if not may_pass:
        return "it was accepted"
    same = list(got) == list(want) and all(np.array_equal(got[name], want[name]) for name in want)
    return "" if same else "it was accepted and runs otherwise"


def main() -> int:
    """Print the tally; 1 when anything went wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    tally = try_edits(sandbox(Path(tempfile.mkdtemp(prefix="flips-"))), count)
    print(f"{tally.tried} edits, {len(tally.faults)} wrong", *tally.faults, sep="\n")
    return bool(tally.faults)


if __name__ == "__main__":
    sys.exit(main())
