"""Finds the tile of each convolution by counting packets: `python -m mdcompiler.backends.hexagon.tune SPEC ...`

Counts are deterministic, so one run of each candidate is enough and anybody finds the same tiles. The candidates with
the least estimates are compiled; the best is appended to the records, from which `choose` takes it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mdcompiler.backends.hexagon.choose import RECORDS_FILE, candidates, estimate, key_of
from mdcompiler.backends.hexagon.convolution import QUADS, HvxConvolution, HvxTile
from mdcompiler.backends.hexagon.count_kernels import KernelRun, count_packets
from mdcompiler.backends.hexagon.ending import PLAIN
from mdcompiler.backends.hexagon.instructions import LANES, VECTOR_BYTES
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource
from mdcompiler.target import Target

_TRIED = 12
_POINTERS = 6
"""Of a convolution with the plain ending."""
_MARGIN_BYTES = 1 << 16


@dataclass(frozen=True)
class Record:
    """The best tile of a convolution and its packets; tried: how many were counted."""

    work: HvxConvolution
    tile: HvxTile
    packets: int
    tried: int

    def line(self) -> str:
        """As a line of the records' file; shape is for the reader."""
        work, tile = self.work, self.tile
        shape = f"{work.window.blocks} blocks, {work.window.kernel} -> {work.out_blocks} blocks, {work.out}"
        found = {
            "key": key_of(work),
            "tile": [tile.pixels, tile.groups, tile.unroll],
            "packets": self.packets,
            "tried": self.tried,
            "shape": shape,
        }
        return json.dumps(found)


def tune_tile(work: HvxConvolution, target: Target, tried: int = _TRIED) -> Record:
    """Count the packets of the candidates that promise most and keep the best."""
    tiles = sorted(candidates(work), key=lambda tile: estimate(work, tile))[:tried]
    counts = count_packets([_run_of(work, tile) for tile in tiles], target)
    packets = {tile: count * tile.tasks(work) for tile, count in zip(tiles, counts, strict=True)}
    best = min(tiles, key=lambda tile: packets[tile])
    return Record(work, best, packets[best], len(tiles))


def tune_all(works: Iterable[HvxConvolution], target: Target, path: Path) -> None:
    """Tune what the file at `path` does not hold yet, and append it."""
    known = {json.loads(line)["key"] for line in path.read_text().splitlines()} if path.exists() else set()
    for work in works:
        if key_of(work) in known:
            continue
        known.add(key_of(work))
        record = tune_tile(work, target)
        with path.open("a") as stream:
            stream.write(record.line() + "\n")
        print(record.line(), flush=True)


def _run_of(work: HvxConvolution, tile: HvxTile) -> KernelRun:
    """One task of the kernel: all take the same packets."""
    work = replace(work, ending=PLAIN)
    weights = work.out_blocks * work.window.total_steps * QUADS * VECTOR_BYTES
    largest = max(work.window.size, weights, work.out_blocks * work.out[0] * work.out[1] * LANES)
    return KernelRun(HvxConvolutionSource(work, tile), _POINTERS, largest + _MARGIN_BYTES, 1)


def main(arguments: Sequence[str]) -> None:
    """Tune all convolutions of the networks named, and write them to the records of this package."""
    from mdcompiler.backends.hexagon.workloads import convolutions_of
    from mdcompiler.spec import load_spec
    from mdcompiler.target import find_target

    target = find_target("hexagon-v66")
    for name in arguments:
        tune_all(convolutions_of(load_spec(name), target), target, Path(__file__).with_name(RECORDS_FILE))


if __name__ == "__main__":
    main(sys.argv[1:])
