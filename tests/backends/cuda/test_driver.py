"""The C runtime against a fake driver: what it asks for, in which order, and what it says when that fails."""

from __future__ import annotations

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.clib.library import SharedLibrary
from mdcompiler.errors import InternalError, TargetError
from mdcompiler.target import Target
from tests.backends.cuda.emulate import fake_driver
from tests.backends.cuda.kernel_sources import mirrored
from tests.backends.cuda.two_launches import SHAPE, Model, build

X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def model(orin: Target, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return build(orin, tmp_path_factory.mktemp("two"))


@pytest.fixture
def log(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake driver tells what it was asked; the environment that lets a model use it."""
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    monkeypatch.setenv("FAKE_CUDA_KERNELS", str(model.kernels))
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", "8.7")
    path = tmp_path / "log"
    monkeypatch.setenv("FAKE_CUDA_LOG", str(path))
    return path


@pytest.fixture
def library(model: Model, log: Path, tmp_path: Path) -> SharedLibrary:
    return model.copy(tmp_path)


def live() -> int:
    """Objects of the fake driver that nobody has given back."""
    return int(ctypes.CDLL(str(fake_driver())).fake_cuda_live())


def test_launches_are_tried_then_recorded_once_and_run_in_order(library: SharedLibrary, log: Path) -> None:
    for scale in (1, 2):
        np.testing.assert_array_equal(library.run({"x": scale * X})["y"], mirrored(mirrored(scale * X)))
    library.close()
    size = X.nbytes
    run = [
        "graph",
        f"copy up {size}",
        f"launch mirror 4 1 1 64 1 1 {2 * size}+0 {2 * size}+{size}",
        f"launch mirror 4 1 1 64 1 1 {2 * size}+{size} {2 * size}+0",
        f"copy down {size}",
    ]
    assert log.read_text().splitlines() == ["module cubin", *run[1:], "record", "recorded", *run, *run]
    assert live() == 0


def test_a_profile_times_every_kernel_without_the_graph(library: SharedLibrary, log: Path) -> None:
    rows = library.profile({"x": X})
    library.close()
    assert [name for name, _ in rows] == ["first", "second"]
    assert all(nanoseconds > 0 for _, nanoseconds in rows)
    assert "graph" not in log.read_text().splitlines()
    assert live() == 0


def test_contexts_share_the_module_and_run_at_once(library: SharedLibrary, log: Path) -> None:
    inputs = [X * scale for scale in range(1, 7)]
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda x: library.run({"x": x})["y"], inputs))
    library.close()
    for given, got in zip(inputs, outputs, strict=True):
        np.testing.assert_array_equal(got, mirrored(mirrored(given)))
    assert log.read_text().count("module") == 1
    assert live() == 0


@pytest.mark.parametrize("capability", ["8.9", "9.0", "12.1"])
def test_later_chips_get_the_ptx(
    capability: str, library: SharedLibrary, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", capability)
    np.testing.assert_array_equal(library.run({"x": X})["y"], mirrored(mirrored(X)))
    library.close()
    assert log.read_text().startswith("module ptx\n")


@pytest.mark.parametrize("capability", ["7.2", "8.6"])
def test_an_older_chip_is_refused(capability: str, library: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", capability)
    said = rf"compiled for compute capability 8\.7 and later; this is Fake GPU, compute capability {capability}, driver"
    with pytest.raises(TargetError, match=said):
        library.run({"x": X})
    assert live() == 0


def test_machine_code_that_the_driver_does_not_read_is_replaced_by_ptx(
    library: SharedLibrary, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAIL", "load_cubin:209:1")
    np.testing.assert_array_equal(library.run({"x": X})["y"], mirrored(mirrored(X)))
    library.close()
    assert log.read_text().startswith("module cubin\nmodule ptx\n")


def test_what_the_translator_says_is_told(library: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", "9.0")
    monkeypatch.setenv("FAKE_CUDA_FAIL", "load_ptx:218:1")
    with pytest.raises(TargetError, match=r"translating PTX\): ptxas says no: CUDA_ERROR_NUMBER_218 \(218\)"):
        library.run({"x": X})
    assert live() == 0


def test_no_driver(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_LIBCUDA", str(tmp_path / "nowhere.so"))
    with pytest.raises(TargetError, match=r"nowhere\.so cannot be opened .* Install NVIDIA's driver\."):
        model.copy(tmp_path).run({"x": X})


def test_no_gpu(library: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_NONE", "1")
    with pytest.raises(TargetError, match="the driver sees none; CUDA_VISIBLE_DEVICES may hide it"):
        library.run({"x": X})


CREATING = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuCtxPushCurrent_v2",
    "cuModuleLoadDataEx",
    "cuModuleGetFunction",
    "cuMemAlloc_v2",
    "cuMemHostAlloc",
    "cuMemcpyHtoD_v2",
    "cuStreamCreate",
    "cuStreamBeginCapture_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuLaunchKernel",
    "cuMemcpyDtoHAsync_v2",
    "cuStreamSynchronize",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
)
"""Driver functions in the order in which creating a context calls them."""


@pytest.mark.parametrize("function", CREATING)
def test_every_failure_while_starting_is_told_and_leaves_nothing(
    function: str, library: SharedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAIL", f"{function}:999:1")
    plain = function.removesuffix("WithFlags").partition("_v2")[0]
    with pytest.raises(TargetError, match=rf"{plain}\w*: CUDA_ERROR_NUMBER_999 \(999\), some error\. Restart"):
        library.run({"x": X})
    assert live() == 0
    monkeypatch.delenv("FAKE_CUDA_FAIL")
    np.testing.assert_array_equal(library.run({"x": X})["y"], mirrored(mirrored(X)))
    library.close()
    assert live() == 0


@pytest.mark.parametrize("function", ["cuMemcpyHtoDAsync_v2", "cuLaunchKernel", "cuMemcpyDtoHAsync_v2"])
def test_a_failure_while_recording_ends_the_recording(
    function: str, library: SharedLibrary, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAIL", f"{function}:{1}:{3 if function == 'cuLaunchKernel' else 2}")
    with pytest.raises(TargetError, match=rf"{function.removesuffix('_v2')}: CUDA_ERROR_NUMBER_1 "):
        library.run({"x": X})
    assert log.read_text().splitlines()[-2:] == ["record", "recorded"]
    assert live() == 0


@pytest.mark.parametrize("number", [2, 3])
def test_memory_that_is_missing_is_told(number: int, library: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_FAIL", f"cuMemAlloc_v2:2:{number - 1}")
    with pytest.raises(TargetError, match=r"out of memory\. Free memory of the GPU"):
        library.run({"x": X})
    assert live() == 0


@pytest.mark.parametrize(
    ("function", "method"),
    [
        ("cuGraphLaunch", "run"),
        ("cuStreamSynchronize", "run"),
        ("cuCtxPushCurrent_v2", "run"),
        ("cuEventCreate", "profile"),
        ("cuEventRecord", "profile"),
        ("cuLaunchKernel", "profile"),
        ("cuEventElapsedTime", "profile"),
    ],
)
def test_every_failure_while_running_is_told(
    function: str, method: str, library: SharedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.run({"x": X})
    monkeypatch.setenv("FAKE_CUDA_FAIL", f"{function}:700:1")
    plain = function.partition("_v2")[0]
    with pytest.raises(InternalError, match=rf"{plain}: CUDA_ERROR_NUMBER_700 \(700\), .* This is a fault of a kernel"):
        getattr(library, method)({"x": X})
    library.close()
    assert live() == 0


def test_every_known_error_has_advice(library: SharedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path(__file__).parents[3] / "backends" / "cuda" / "runtime" / "mdc_cuda_driver.c"
    if not runtime.is_file():
        pytest.skip("needs the checkout")
    known = {int(number): text for number, text in re.findall(r'\{(\d+), "([^"]+)"\}', runtime.read_text())}
    assert len(known) > 15
    for number, advice in known.items():
        monkeypatch.setenv("FAKE_CUDA_FAIL", f"cuInit:{number}:1")
        with pytest.raises(TargetError) as caught:
            library.run({"x": X})
        assert f"cuInit: CUDA_ERROR_NUMBER_{number} ({number})" in str(caught.value)
        assert str(caught.value).endswith(f"{advice}.")
    monkeypatch.setenv("FAKE_CUDA_FAIL", "cuInit:12345:1")
    with pytest.raises(TargetError, match="See the CUDA driver API's list of errors"):
        library.run({"x": X})
