"""Timing of a loaded artifact: whole runs, and where the time goes block by block."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from mdcompiler.detector import Detector
from mdcompiler.names import block_of
from mdcompiler.sampling import seeded_inputs

_PERCENTILE = 0.9


@dataclass(frozen=True)
class BlockTime:
    """Time of one block in one run; share of the run's time."""

    block: str
    milliseconds: float
    share: float


@dataclass(frozen=True)
class Measurement:
    """Times of whole runs in milliseconds, and sizes."""

    median_ms: float
    min_ms: float
    p90_ms: float
    runs: int
    threads: int
    arena_bytes: int
    file_bytes: int
    blocks: tuple[BlockTime, ...] = ()

    def facts(self) -> dict[str, int | float]:
        """Everything but the blocks."""
        return {name: value for name, value in asdict(self).items() if name != "blocks"}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.facts(), "blocks": [asdict(row) for row in self.blocks]}


def measure(detector: Detector, threads: int, runs: int) -> Measurement:
    """Time `runs` runs on a seeded input, after a tenth as many that do not count."""
    manifest = detector.artifact.manifest
    inputs = seeded_inputs(manifest.inputs)
    for _ in range(max(1, runs // 10)):
        detector.runnable.run(inputs)
    times = sorted(_milliseconds(detector, inputs) for _ in range(runs))
    arena = manifest.facts.get("arena_bytes", 0)
    return Measurement(
        median_ms=statistics.median(times),
        min_ms=times[0],
        p90_ms=times[min(runs - 1, int(runs * _PERCENTILE))],
        runs=runs,
        threads=threads,
        arena_bytes=arena if isinstance(arena, int) else 0,
        file_bytes=detector.artifact.file_bytes,
        blocks=_profile(detector, inputs),
    )


def by_block(rows: Iterable[tuple[str, int]]) -> tuple[BlockTime, ...]:
    """(kernel, nanoseconds) rows added up by block, in order of first appearance."""
    spent: dict[str, int] = {}
    for name, nanoseconds in rows:
        block = block_of(name)
        spent[block] = spent.get(block, 0) + nanoseconds
    total = sum(spent.values()) or 1
    return tuple(BlockTime(block, value / 1e6, value / total) for block, value in spent.items())


def _milliseconds(detector: Detector, inputs: dict[str, Any]) -> float:
    started = time.perf_counter_ns()
    detector.runnable.run(inputs)
    return (time.perf_counter_ns() - started) / 1e6


def _profile(detector: Detector, inputs: dict[str, Any]) -> tuple[BlockTime, ...]:
    profile = getattr(detector.runnable, "profile", None)
    return by_block(profile(inputs)) if profile else ()
