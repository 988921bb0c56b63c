"""The host code of a CUDA model under AddressSanitizer and the fake driver: every failure gives all memory back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdcompiler.backends.cuda import emit
from mdcompiler.backends.cuda.toolchain import why_missing
from tests.backends.cuda.conftest import target_here
from tests.backends.cuda.emulate import fake_driver
from tests.backends.cuda.kernel_sources import mirrored
from tests.backends.cuda.test_driver import CREATING
from tests.backends.cuda.two_launches import SHAPE, Model, build
from tests.c_compiler import RUNTIME
from tests.sanitizers.sanitizer import compile_sanitized, run_sanitized

X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
RUNNING = ("cuGraphLaunch", "cuStreamSynchronize", "cuEventCreate", "cuEventRecord", "cuEventElapsedTime")


@pytest.fixture(scope="module")
def linked() -> dict[str, bytes]:
    """The generated C files, as they were about to be linked."""
    return {}


@pytest.fixture(scope="module")
def model(linked: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Model:
    if why_missing():
        pytest.skip(why_missing())

    def keep(link: Any) -> Any:
        def kept(files: Mapping[str, bytes], *rest: Any) -> bytes:
            linked.update(files)
            return bytes(link(files, *rest))

        return kept

    with pytest.MonkeyPatch.context() as patch:
        for name in ("link_library", "link_small_program"):
            patch.setattr(emit, name, keep(getattr(emit, name)))
        return build(target_here("jetson-orin"), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def program(model: Model, linked: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized")
    files = {**linked, **{path.name: path.read_bytes() for path in RUNTIME.iterdir()}}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sources = [folder / name for name in files if name.endswith(".c")]
    return compile_sanitized(sources, folder / "model_run", "address")


def run(program: Path, model: Model, folder: Path, fail: str = "", *words: str) -> tuple[int, str]:
    """Exit status and stderr; `fail` as FAKE_CUDA_FAIL."""
    X.tofile(folder / "x")
    (folder / "known").write_text("leak:libcuda.so.1\n")  # the fake driver keeps what it recorded
    variables = {
        "MDC_LIBCUDA": str(fake_driver()),
        "FAKE_CUDA_KERNELS": str(model.kernels),
        "FAKE_CUDA_CAPABILITY": "8.7",
        "FAKE_CUDA_FAIL": fail,
        "LSAN_OPTIONS": f"suppressions={folder / 'known'}:print_suppressions=0",
    }
    done = run_sanitized([program, *words, folder / "x", folder / "y"], **variables)
    assert "Sanitizer" not in done.stderr, done.stderr
    assert "runtime error" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [(), ("-n", "3"), ("-k",)], ids=["once", "often", "kernels"])
def test_a_run_is_clean(words: tuple[str, ...], program: Path, model: Model, tmp_path: Path) -> None:
    assert run(program, model, tmp_path, "", *words) == (0, "")
    got = np.fromfile(tmp_path / "y", np.float32).reshape(SHAPE)
    np.testing.assert_array_equal(got, mirrored(mirrored(X)))


@pytest.mark.parametrize("function", [*CREATING, *RUNNING])
def test_every_failure_gives_all_back(function: str, program: Path, model: Model, tmp_path: Path) -> None:
    words = ("-k",) if function.startswith("cuEvent") else ()
    code, said = run(program, model, tmp_path, f"{function}:999:1", *words)
    assert code == 1
    assert "CUDA_ERROR_NUMBER_999" in said
