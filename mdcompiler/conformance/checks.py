"""The checks. Each is a function of a trial and an empty folder, and raises ConformanceError."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.artifact import MANIFEST
from mdcompiler.backend import input_specs, output_specs
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.conformance.trial import Outputs, Trial, snapshot, try_model, write_files
from mdcompiler.errors import MdcError
from mdcompiler.head_check import RAW_BOXES, RAW_SCORES
from mdcompiler.kernel import kernels
from mdcompiler.manifest import TensorSpec
from mdcompiler.sampling import sample_inputs
from mdcompiler.self_check import CHECK_FILE, parse_check


class ConformanceError(MdcError):
    """A backend breaks a promise that every backend makes."""


def check_reasons(trial: Trial, folder: Path) -> None:
    """`why_not` gives None or a sentence, the same each time."""
    for kernel in kernels(trial.module.graph):
        reason = trial.backend.why_not(kernel, trial.module.target)
        _demand(reason is None or reason.strip().endswith("."), f"reason {reason!r} for {kernel.name} is no sentence")
        again = trial.backend.why_not(kernel, trial.module.target)
        _demand(again == reason, f"{kernel.name} is judged {reason!r}, then {again!r}")


def check_graph_untouched(trial: Trial, folder: Path) -> None:
    """`emit` does not edit the graph."""
    _demand(snapshot(trial.module) == trial.before, "emit edited the graph; do that in a pass of the backend")


def check_passes_settle(trial: Trial, folder: Path) -> None:
    """The backend's own passes make no edit in a second run."""
    for item in trial.backend.passes(trial.module.target):
        edits = item.run(trial.module)
        _demand(edits == 0, f"pass {item.name} makes {edits} edits in a second run")


def check_files(trial: Trial, folder: Path) -> None:
    """File names are plain and leave the manifest's alone; the facts are JSON and hold `arena_bytes`."""
    for name in trial.emission.files:
        plain = name not in ("", ".", "..", MANIFEST) and name == PurePosixPath(name).name
        _demand(plain, f"file name {name!r}; a plain name other than {MANIFEST}")
    arena = trial.emission.facts.get("arena_bytes")
    _demand(isinstance(arena, int) and arena >= 0, f"fact arena_bytes is {arena!r}; a number of bytes")
    json.dumps(trial.emission.facts)


def check_same_bytes(trial: Trial, folder: Path) -> None:
    """Compiling the same network again, nothing taken from a cache, gives the same files, byte for byte."""
    with _without_cache():
        again = try_model(trial.backend, trial.module.target, trial.model).emission.files
    files = trial.emission.files
    differing = [name for name in sorted({*files, *again}) if files.get(name) != again.get(name)]
    _demand(not differing, f"a second emit gives other bytes in {', '.join(differing)}")


def check_numbers(trial: Trial, folder: Path) -> None:
    """The loaded files reproduce the reference and leave the inputs as they are."""
    inputs = trial.inputs
    given = {name: array.copy() for name, array in inputs.items()}
    check = trial.check()
    with trial.loaded(folder) as run:
        if CHECK_FILE in trial.emission.files:  # a backend that rounds in its own way brings what it proved
            check = parse_check(trial.emission.files[CHECK_FILE], folder / CHECK_FILE, *_ends_of(trial))
        found, outputs = set(run(inputs)) - {RAW_BOXES, RAW_SCORES}, {item.name for item in _ends_of(trial)[1]}
        _demand(found == outputs, f"outputs are {sorted(found)}; expected {sorted(outputs)}")
        faults = check.faults(run)
    _demand(not faults, "; ".join(faults))
    for name, array in given.items():
        _demand(np.array_equal(inputs[name], array), f"run changes the input {name!r}")


def check_repeats(trial: Trial, folder: Path) -> None:
    """One loaded artifact, run from two threads at once with two inputs, answers as it does alone."""
    runnable = trial.backend.load(folder, write_files(trial, folder), 1)
    try:
        inputs = [sample_inputs(trial.module, seed) for seed in (1, 2)]
        alone = [_copy(runnable.run(item)) for item in inputs]
        with ThreadPoolExecutor(2) as pool:
            together = [_copy(outputs) for outputs in pool.map(runnable.run, inputs * 4)]
    finally:
        runnable.close()
    for index, outputs in enumerate(together):
        for name, array in alone[index % 2].items():
            _demand(np.array_equal(outputs[name], array), f"output {name!r} differs when two threads run")


Check = Callable[[Trial, Path], None]
CHECKS: Mapping[str, Check] = {
    "reasons": check_reasons,
    "graph-untouched": check_graph_untouched,
    "passes-settle": check_passes_settle,
    "files": check_files,
    "same-bytes": check_same_bytes,
    "numbers": check_numbers,
    "repeats": check_repeats,
}


@contextmanager
def _without_cache() -> Iterator[None]:
    before = os.environ.get("MDC_CACHE")
    os.environ["MDC_CACHE"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MDC_CACHE"]
        else:
            os.environ["MDC_CACHE"] = before


def _ends_of(trial: Trial) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    return tensor_specs(input_specs(trial.module)), tensor_specs(output_specs(trial.module))


def _demand(holds: bool, fault: str) -> None:
    if not holds:
        raise ConformanceError(fault)


def _copy(outputs: Mapping[str, NDArray[Any]]) -> Outputs:
    return {name: array.copy() for name, array in outputs.items()}
