"""The backend keeps every promise of `mdcompiler.conformance` when its code runs on the fake driver."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from mdcompiler.backend import Runnable
from mdcompiler.backends.cuda.backend import CudaBackend
from mdcompiler.conformance import CHECKS, MODELS, Trial, try_model
from mdcompiler.errors import UnsupportedError
from mdcompiler.target import Target
from tests.backends.cuda.conftest import target_here
from tests.backends.cuda.emulate import emulated_kernels, fake_driver

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="threads are emulated on x86-64 only"),
    pytest.mark.usefixtures("_compilers"),
]


class EmulatedBackend(CudaBackend):
    """The backend with a GPU that is none. Its kernels are built beside the library that runs them."""

    def why_not_run(self, target: Target) -> str:
        return ""

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        emulated_kernels(directory / "model.cu", directory / "kernels.so")
        return super().load(directory, manifest, threads)


@lru_cache(maxsize=1)
def _trial(model: str) -> Trial | str:
    try:
        return try_model(EmulatedBackend(), target_here("jetson-orin"), MODELS[model]())
    except UnsupportedError as error:
        return str(error)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the check may write; the fake driver takes its kernels from there."""
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", "8.7")
    monkeypatch.setenv("FAKE_CUDA_KERNELS", str(tmp_path / "kernels.so"))
    return tmp_path


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("model", MODELS)
def test_the_backend_keeps_the_promise(model: str, check: str, folder: Path) -> None:
    trial = _trial(model)
    if isinstance(trial, str):
        pytest.skip(f"refused: {trial}")
    CHECKS[check](trial, folder)
