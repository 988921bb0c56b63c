"""Every registered backend keeps every promise, and a backend that breaks one is caught."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from mdcompiler import conformance
from mdcompiler.backend import Emission, Runnable, why_not_run
from mdcompiler.backends.null import NullBackend
from mdcompiler.conformance import CHECKS, MODELS, ConformanceError, Trial, default_target, try_model
from mdcompiler.conformance.__main__ import conforms, main, report
from mdcompiler.errors import MissingToolError, TargetError, UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.registry import backends
from mdcompiler.target import Target


@lru_cache(maxsize=1)
def _trial(backend: str, model: str) -> Trial | str:
    """The compiled network, shared by the checks on it, or why the backend refuses it."""
    chosen = backends()[backend]
    target = default_target(chosen)
    try:
        return why_not_run(chosen, target) or try_model(chosen, target, MODELS[model]())
    except (MissingToolError, UnsupportedError) as error:
        return str(error)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("backend", sorted(backends()))
def test_backend_keeps_the_promise(backend: str, model: str, check: str, tmp_path: Path) -> None:
    trial = _trial(backend, model)
    if isinstance(trial, str):
        pytest.skip(f"refused: {trial}")
    CHECKS[check](trial, tmp_path)


class EditsGraph(NullBackend):
    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        emission = super().emit(module, progress, threads)
        module.graph.nodes[0].name += ".edited"
        return emission


class RandomBytes(NullBackend):
    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        emission = super().emit(module, progress, threads)
        return Emission({**emission.files, "noise.bin": os.urandom(8)}, emission.facts)


class LeavesFolder(NullBackend):
    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        return Emission({"../model.onnx": b""}, {"arena_bytes": 0})


class HidesArena(NullBackend):
    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        return Emission(super().emit(module, progress, threads).files)


class MumblesReason(NullBackend):
    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        return "no"


class _Changed:
    """A runnable whose answers pass through `change`."""

    def __init__(self, inner: Runnable, change: Callable[[Any], Any]) -> None:
        self.inner, self.change = inner, change

    def run(self, inputs: Any) -> Any:
        return {name: self.change(array) for name, array in self.inner.run(inputs).items()}

    def close(self) -> None:
        self.inner.close()


class WrongNumbers(NullBackend):
    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        return _Changed(super().load(directory, manifest, threads), lambda array: array + array.dtype.type(1))


class DriftingNumbers(NullBackend):
    runs = 0

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        return _Changed(super().load(directory, manifest, threads), self._drift)

    def _drift(self, array: Any) -> Any:
        self.runs += 1
        return array + array.dtype.type(self.runs)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (EditsGraph, "graph-untouched"),
        (RandomBytes, "same-bytes"),
        (LeavesFolder, "files"),
        (HidesArena, "files"),
        (MumblesReason, "reasons"),
        (WrongNumbers, "numbers"),
        (DriftingNumbers, "repeats"),
    ],
)
def test_broken_backend_is_caught(broken: type[NullBackend], check: str, tmp_path: Path) -> None:
    backend = broken()
    trial = try_model(backend, default_target(backend), MODELS["picture"]())
    with pytest.raises(ConformanceError):
        CHECKS[check](trial, tmp_path)


class RefusesAll(NullBackend):
    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        raise UnsupportedError("this backend compiles nothing.")


def test_backend_that_refuses_everything_does_not_conform() -> None:
    backend = RefusesAll()
    rows = report(backend, default_target(backend))
    assert [verdict for _, _, verdict in rows] == ["refused: this backend compiles nothing."] * len(MODELS)
    assert not conforms(rows)


class NeedsDevice(NullBackend):
    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        raise TargetError("this machine has no such device.")


def test_backend_whose_device_is_missing_is_told_so_in_the_report() -> None:
    backend = NeedsDevice()
    rows = report(backend, default_target(backend))
    assert ("picture", "numbers", "this machine has no such device.") in rows
    assert not conforms(rows)


def test_default_target_is_one_that_runs_here() -> None:
    assert default_target(NullBackend()).name == "null"
    stranger = NullBackend()
    stranger.name = "stranger"
    assert default_target(stranger).backend == "stranger"


def test_report_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["null"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(MODELS) * len(CHECKS)
    assert all(line.endswith(" ok") for line in lines)


def test_unknown_backend_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toaster"]) == 1
    assert "toaster" in capsys.readouterr().err
    assert main([]) == 2


def test_public_names() -> None:
    assert set(conformance.__all__) <= set(dir(conformance))
