"""A backend whose machine rounds in its own way brings its check file; compiler and conformance suite use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import mdcompiler
from mdcompiler import compiler, detector
from mdcompiler.backend import Arrays, Emission, Runnable, input_specs
from mdcompiler.backends.null import NullBackend
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.conformance import CHECKS, MODELS, ConformanceError, default_target, try_model
from mdcompiler.errors import InternalError
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.reference import run_reference
from mdcompiler.self_check import CHECK_FILE, Answer, make_check
from tests.backends.edgetpu.detectors import detector as small_detector


@dataclass(frozen=True)
class Shifted:
    """A machine that is always a hundredth off."""

    inner: Runnable

    def run(self, inputs: Arrays) -> dict[str, Any]:
        return {name: array + 0.01 for name, array in self.inner.run(inputs).items()}

    def close(self) -> None:
        self.inner.close()


class Silent(NullBackend):
    """Is off and does not say so."""

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        return Shifted(super().load(directory, manifest, threads))


class Honest(Silent):
    """Is off and brings what it proved."""

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        emission, model = super().emit(module, progress, threads), module.to_onnx()

        def run(arrays: Any) -> Answer:
            return Answer({name: array + 0.01 for name, array in run_reference(model, arrays).items()})

        check = make_check(tensor_specs(input_specs(module)), run)
        return Emission({**emission.files, CHECK_FILE: check.to_bytes()}, emission.facts)


def test_the_conformance_suite_takes_it(tmp_path: Path) -> None:
    trials = [try_model(backend, default_target(backend), MODELS["picture"]()) for backend in (Honest(), Silent())]
    CHECKS["numbers"](trials[0], tmp_path)
    with pytest.raises(ConformanceError, match="is off by"):
        CHECKS["numbers"](trials[1], tmp_path)


@pytest.mark.parametrize("backend", [Honest(), Silent()], ids=["honest", "silent"])
def test_the_compiler_takes_it(backend: NullBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "find_backend", lambda name: backend)
    monkeypatch.setattr(detector, "running_backend", lambda name: backend)
    if isinstance(backend, Honest):
        artifact = mdcompiler.compile(small_detector(), "null", tmp_path / "out", raw=True)
        assert CHECK_FILE in {entry.name for entry in artifact.manifest.files}
        return
    with pytest.raises(InternalError, match="does not do what its source says"):
        mdcompiler.compile(small_detector(), "null", tmp_path / "out", raw=True)
