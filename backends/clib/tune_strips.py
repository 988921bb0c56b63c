"""Which chains of convolutions are faster over strips of rows, by measuring whole networks.

A chain's time depends on what the caches hold when it starts, so it is timed where it stands: the network is
built unfused and with strips of several heights, and the libraries run in turn. Each chain's shortest time
decides; strips that are no slower win, because they need less memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.clib.choose_strips import TEMPLATE, VERSION, key_of, largest_strip, workload_of
from mdcompiler.backends.clib.emit_library import linked, lowered, write_library
from mdcompiler.backends.clib.library import SharedLibrary
from mdcompiler.backends.clib.strip_chain import Chain, chains
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.templates import tools
from mdcompiler.module import Module
from mdcompiler.processes import compile_processes
from mdcompiler.progress import Progress
from mdcompiler.sampling import sample_inputs
from mdcompiler.scratch import scratch_folder
from mdcompiler.target import Target
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Measurement, Record, now
from mdcompiler.tuning.records import Records

_PARTS = (1, 2, 4)
"""Heights to try: the largest strip whose tensors fit the cache, and its parts."""
_NO_SLOWER = 1.005
"""Ratio of times up to which two are called equal."""
_RUNS = 40
_PREFIX = "model"


@dataclass(frozen=True)
class _Timing:
    """Shortest and middle time of one chain, in nanoseconds."""

    min_ns: float
    median_ns: float


class _Heights:
    """Rows of each chain in one variant of the network: the whole picture divided, or 0 for no strips."""

    def __init__(self, target: Target, part: int) -> None:
        self.target, self.part = target, part
        self.seen: dict[str, tuple[Chain, int]] = {}

    def __call__(self, chain: Chain) -> int:
        rows = max(1, largest_strip(chain, self.target) // self.part) if self.part else 0
        self.seen[chain.name] = (chain, rows)
        return rows


def tune_strips(
    module: Module, network: str, known: Records, progress: Progress, runs: int = _RUNS
) -> dict[str, Record]:
    """Chain -> record for every chain of a placed network that `known` has none for.

    known: also where the kernels' schedules come from. runs: of every variant. Raises what compiling raises.
    """
    machine = Machine.of(module.target)
    wanted = [
        chain
        for chain in chains(lowered(module, Chooser(module.target, known)))
        if not _is_known(known, chain, machine)
    ]
    if not wanted:
        return {}
    variants = [_Heights(module.target, part) for part in (0, *_PARTS)]
    times: list[list[Counter[str]]] = [[] for _ in variants]
    with scratch_folder("strips") as folder:
        libraries = [
            _built(module, heights, known, folder / str(index), progress) for index, heights in enumerate(variants)
        ]
        _run_in_turn(module, libraries, times, runs, progress)
    return {chain.name: _record(chain.name, variants, times, module.target, network) for chain in wanted}


def _is_known(known: Records, chain: Chain, machine: Machine) -> bool:
    record = known.find(key_of(chain), machine)
    return record is not None and record.machine == machine


def _run_in_turn(
    module: Module, libraries: list[SharedLibrary], times: list[list[Counter[str]]], runs: int, progress: Progress
) -> None:
    inputs = sample_inputs(module)
    for index in range(runs):
        progress("time fused blocks", index, runs)
        for library, spent in zip(libraries, times, strict=True):
            spent.append(_by_kernel(library.profile(inputs)))
    progress("time fused blocks", runs, runs)


def _by_kernel(profile: Sequence[tuple[str, int]]) -> Counter[str]:
    spent: Counter[str] = Counter()
    for kernel, nanoseconds in profile:
        spent[kernel] += nanoseconds
    return spent


def _built(module: Module, heights: _Heights, known: Records, folder: Path, progress: Progress) -> SharedLibrary:
    """One variant of the network, loaded."""
    library = write_library(module, progress, compile_processes(), _PREFIX, heights, Chooser(module.target, known))
    folder.mkdir()
    path = folder / f"{_PREFIX}.so"
    path.write_bytes(linked(library, module.target, progress))
    return SharedLibrary(path, input_specs(module), output_specs(module))


def _record(
    name: str,
    variants: Sequence[_Heights],
    times: Sequence[Sequence[Counter[str]]],
    target: Target,
    network: str,
) -> Record:
    chain = variants[0].seen[name][0]
    measured: dict[int, Measurement] = {}
    for heights, profiles in zip(variants, times, strict=True):
        rows = heights.seen[name][1]
        timing = _timing([_spent(chain, profile) for profile in profiles])
        measured.setdefault(
            rows, Measurement(schedule={"rows": rows}, min_ns=timing.min_ns, median_ns=timing.median_ns)
        )
    best = _best(list(measured.values()))
    return Record(
        template=TEMPLATE,
        version=VERSION,
        tools=tools(),
        machine=Machine.of(target),
        workload=workload_of(chain),
        schedule=best.schedule,
        min_ns=best.min_ns or 0.0,
        median_ns=best.median_ns or 0.0,
        trials=len(measured),
        when=now(),
        network=network,
        measured=tuple(measured.values()),
    )


def _spent(chain: Chain, profile: Counter[str]) -> int:
    """Nanoseconds of the chain in one run, fused or not."""
    return profile[chain.name] or sum(profile[call.kernel] for call in chain.calls)


def _timing(spent: Sequence[int]) -> _Timing:
    ordered = sorted(spent)
    return _Timing(max(ordered[0], 1), max(ordered[len(ordered) // 2], 1))


def _best(measured: Sequence[Measurement]) -> Measurement:
    """The fastest; of those that are as fast, the one with the fewest rows in memory."""
    shortest = min(item.min_ns or 0.0 for item in measured)
    equal = [item for item in measured if (item.min_ns or 0.0) <= shortest * _NO_SLOWER]
    return min(equal, key=_rows_in_memory)


def _rows_in_memory(item: Measurement) -> Any:
    rows = item.schedule["rows"]
    return (rows == 0, rows)
