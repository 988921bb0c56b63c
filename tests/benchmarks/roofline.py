"""How far each block of a network is from what the core can do: its multiply-adds and its memory.

    python -m tests.benchmarks.roofline mobiledet-cpu --precision int8 --by kernel

The time of a part is the shortest of many profiled runs, on one thread. Two roofs stand over it: its multiply-adds at
the core's measured peak, and the bytes it must read and write at the measured bandwidth of the smallest cache that
could hold them. `of roof` is the higher roof's time over the time spent: at 100 % nothing is left to be won; a part
that only joins tensors written in place may show more. `must` are weights and tensors that cross the part's border;
`moved` adds what its kernels hand to one another when none are fused.
(Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.)
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mdcompiler
from mdcompiler.backends.clib.library import SharedLibrary
from mdcompiler.compiler import Job
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.names import block_of
from mdcompiler.read_network import Request
from mdcompiler.spec import Spec
from mdcompiler.target import Target, find_target
from tests.benchmarks.peaks import Peaks
from tests.benchmarks.peaks import measure as measure_peaks
from tests.benchmarks.subjects import PRECISIONS, Subject, place, prepare, quantized_module, zoo_spec
from tests.benchmarks.traffic import Part, parts


@dataclass(frozen=True)
class Roof:
    """A part with its time. compute_s, memory_s: what its multiply-adds and its bytes take at least."""

    part: Part
    seconds: float
    compute_s: float
    memory_s: float

    @property
    def bound(self) -> str:
        """The roof that is higher."""
        return "compute" if self.compute_s >= self.memory_s else "memory"

    @property
    def share_of_roof(self) -> float:
        """1 where nothing is left to be won."""
        return max(self.compute_s, self.memory_s) / self.seconds if self.seconds else 1.0


def placed_kernels(spec: Spec, subject: Subject, target: str) -> list[Kernel]:
    """The kernels of the network as the backend gets it."""
    if subject.precision == "fp32":
        return kernels(Job(Request(spec, raw=True), find_target(target)).graph_after("place").graph)
    job, module = quantized_module(spec, subject.image, target)
    place(job, module)
    return kernels(module.graph)


def fastest(subject: Subject, image: NDArray[np.uint8], runs: int) -> dict[str, int]:
    """Nanoseconds of every kernel by name: the shortest of `runs` runs."""
    least: dict[str, int] = {}
    with mdcompiler.load(subject.artifact.directory) as detector:
        assert isinstance(detector.runnable, SharedLibrary), "only a C library has a profile"
        for _ in range(runs):
            for name, spent in detector.runnable.profile({"image": image}):
                least[name] = min(spent, least.get(name, spent))
    return least


def roofs(found: Sequence[Part], seconds: Mapping[str, float], peaks: Peaks, precision: str) -> list[Roof]:
    """Each part under its two roofs. seconds: by name of the part."""
    macs = peaks.macs(precision)
    return [
        Roof(item, seconds.get(item.name, 0.0), item.macs / macs, item.must_bytes / peaks.bandwidth(item.must_bytes))
        for item in found
    ]


def merged(rows: Sequence[Roof], key: Callable[[str], str]) -> list[Roof]:
    """Rows added up by the key of their names: parts that are never fused with one another."""
    groups: dict[str, list[Roof]] = {}
    for row in rows:
        groups.setdefault(key(row.part.name), []).append(row)
    return [_sum(name, group) for name, group in groups.items()]


def _sum(name: str, rows: Sequence[Roof]) -> Roof:
    numbers = (sum(getattr(row.part, field.name) for row in rows) for field in fields(Part)[1:])
    times = (sum(getattr(row, field) for row in rows) for field in ("seconds", "compute_s", "memory_s"))
    return Roof(Part(name, *numbers), *times)


def table(rows: Sequence[Roof]) -> str:
    """Markdown, the sum last."""
    total = sum(row.seconds for row in rows)
    columns = ["part", "kernels", "MMAC", "must KiB", "moved KiB", "us", "Gop/s", "bound", "of roof", "of the run"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += [_line(row, total) for row in rows]
    everything = _sum("all", rows)
    least = sum(max(row.compute_s, row.memory_s) for row in rows)
    return "\n".join([*lines, _line(replace(everything, compute_s=least, memory_s=0.0), total)])


def _line(row: Roof, total: float) -> str:
    part = row.part
    rate = f"{2e-9 * part.macs / row.seconds:.0f}" if row.seconds else ""
    cells = [part.name, str(part.kernels), f"{part.macs / 1e6:.1f}"]
    cells += [f"{part.must_bytes / 1024:.0f}", f"{part.moved_bytes / 1024:.0f}", f"{row.seconds * 1e6:.0f}", rate]
    cells += [row.bound, f"{row.share_of_roof:.0%}", f"{row.seconds / total:.1%}"]
    return "| " + " | ".join(cells) + " |"


def times_by_part(items: Sequence[Kernel], least: Mapping[str, int], key: Callable[[Kernel], str]) -> dict[str, float]:
    """Seconds by name of the part. A profiled name that is no kernel of the graph counts for its block."""
    known = {item.name: key(item) for item in items}
    spent: dict[str, float] = {}
    for name, nanoseconds in least.items():
        part = known.get(name, block_of(name))
        spent[part] = spent.get(part, 0.0) + nanoseconds / 1e9
    return spent


def measure(spec: Spec, precision: str, by: str, runs: int, target: str = "cpu") -> tuple[list[Roof], Peaks]:
    """Compile `spec`, profile it, and put every part under its roofs."""
    with tempfile.TemporaryDirectory() as name:
        subject = prepare(spec, precision, Path(name), target)
        items = placed_kernels(spec, subject, target)
        peaks = measure_peaks(find_target(target))
        least = fastest(subject, subject.image, runs)
    if by == "block":
        return _under_roofs(items, least, lambda item: item.block, peaks, precision, find_target(target)), peaks
    rows = _under_roofs(items, least, lambda item: item.name, peaks, precision, find_target(target))
    kinds = {item.name: item.kind for item in items}
    return (merged(rows, kinds.__getitem__) if by == "kind" else rows), peaks


def _under_roofs(
    items: Sequence[Kernel],
    least: Mapping[str, int],
    key: Callable[[Kernel], str],
    peaks: Peaks,
    precision: str,
    target: Target,
) -> list[Roof]:
    return roofs(parts(items, key, target), times_by_part(items, least, key), peaks, precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="name from the zoo")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--by", choices=("block", "kind", "kernel"), default="block")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--size", type=int, help="pixels of the square picture instead of the spec's")
    parser.add_argument("--target", default="cpu")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    spec = zoo_spec(options.network, options.size)
    rows, peaks = measure(spec, options.precision, options.by, options.runs, options.target)
    rates = ", ".join(f"{size // 1024} KiB {rate / 1e9:.0f}" for size, rate in peaks.read_bytes.items())
    print(f"{options.network} {options.precision}: peak {2e-9 * peaks.macs(options.precision):.0f} Gop/s", end=" ")
    print(f"(two a multiply-add); GB/s read from {rates}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
