"""What the webgpu backend does not take, what it says when something is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import onnx
import pytest

from mdcompiler.backends.gpu.lower import lower_gpu
from mdcompiler.backends.gpu.traits import traits_of
from mdcompiler.backends.webgpu import device
from mdcompiler.backends.webgpu.backend import WebGpuBackend
from mdcompiler.errors import MissingToolError, TargetError, UnsupportedError
from mdcompiler.kernel import kernels
from mdcompiler.progress import silent
from mdcompiler.target import Target, find_target
from tests.backends.webgpu.networks import TARGET, network, placed
from tests.graphs import Sketch


def refusal(model: onnx.ModelProto) -> str:
    """The only reason that the backend gives for `model`; `emit` says the same."""
    module = placed(model)
    reasons = [reason for kernel in kernels(module.graph) if (reason := WebGpuBackend().why_not(kernel, TARGET))]
    assert len(reasons) == 1
    with pytest.raises(UnsupportedError, match=r"compiling for a GPU: .* has no kernel") as caught:
        WebGpuBackend().emit(module, silent, 1)
    assert reasons[0] in str(caught.value)
    return reasons[0]


def test_a_window_too_large_for_a_workgroup() -> None:
    net = Sketch()
    data = net.input("input", [1, 4, 64, 64])
    model = net.model(net.conv("/wide", data, (4, 4), 41, group=4))
    assert "exceed the 16384 bytes of a workgroup (maxComputeWorkgroupStorageSize)" in refusal(model)


def test_a_tensor_too_large_to_bind() -> None:
    net = Sketch()
    model = net.model(net.node("Relu", "/relu", net.input("input", [1, 4, 4096, 4096])))
    module = placed(model)
    reasons = {kernel.kind: WebGpuBackend().why_not(kernel, TARGET) for kernel in kernels(module.graph)}
    assert "may bind 134217728 (maxStorageBufferBindingSize)" in str(reasons["elementwise"])


def test_an_operator_without_a_template() -> None:
    net = Sketch()
    model = net.model(net.node("Softplus", "/bent", net.input("input", [1, 4, 8, 8])))
    assert refusal(model) == "Softplus: kernels of kind generic have no GPU template."


def test_a_grouped_convolution() -> None:
    net = Sketch()
    model = net.model(net.conv("/grouped", net.input("input", [1, 8, 8, 8]), (8, 8), 3, group=2))
    assert "grouped_conv have no GPU template" in refusal(model)


def test_a_concatenation_along_an_inner_axis() -> None:
    net = Sketch()
    data = net.input("input", [1, 2, 3, 4])
    model = net.model(net.node("Concat", "/join", data, net.node("Relu", "/relu", data), axis=2))
    assert refusal(model) == "a concatenation along an inner axis."


def test_weights_larger_than_a_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdcompiler.backends.webgpu.describe._MOST_BUFFER_BYTES", 1000)
    with pytest.raises(UnsupportedError, match=r"weights of \d+ bytes exceed a buffer of WebGPU \(1000 bytes"):
        WebGpuBackend().emit(placed(network()), silent, 1)


def smaller(**fields: int) -> Target:
    """A device that grants less than others."""
    return TARGET.model_copy(update={"llvm": {**TARGET.llvm, **fields}})


def test_a_workgroup_larger_than_the_device_has() -> None:
    net = Sketch()
    model = net.model(net.node("Relu", "/relu", net.input("input", [1, 4, 8, 8])))
    with pytest.raises(UnsupportedError, match=r"128 threads; allowed 64 \(maxComputeInvocationsPerWorkgroup\)"):
        WebGpuBackend().emit(placed(model, smaller(max_num_threads=64)), silent, 1)


def test_more_buffers_than_a_kernel_may_bind() -> None:
    traits = replace(traits_of(TARGET), max_buffers=3)
    with pytest.raises(UnsupportedError, match=r"needs 4 buffers at once, and a kernel may bind 3 \(maxStorageBuffers"):
        lower_gpu(placed(network()), traits)


def test_a_target_of_another_kind() -> None:
    with pytest.raises(TargetError, match="its kind is llvm; GPU backends know webgpu and cuda"):
        traits_of(find_target("cpu"))


@pytest.fixture
def _no_adapter_known() -> Iterator[None]:
    device.forget_adapter()
    yield
    device.forget_adapter()


@pytest.mark.usefixtures("_no_adapter_known")
def test_a_missing_package_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wgpu", None)
    assert "pip install mdcompiler[webgpu]" in WebGpuBackend().why_not_run(TARGET)
    with pytest.raises(MissingToolError, match=r"pip install mdcompiler\[webgpu\]"):
        device.open_device()


@pytest.mark.usefixtures("_no_adapter_known")
@pytest.mark.parametrize("answer", [None, RuntimeError("no adapter\nat all")])
def test_a_missing_driver_is_one_message(answer: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    wgpu = pytest.importorskip("wgpu")

    def request(**_: object) -> None:
        if answer is not None:
            raise answer

    monkeypatch.setattr(wgpu.gpu, "request_adapter_sync", request)
    reason = WebGpuBackend().why_not_run(TARGET)
    assert "apt-get install mesa-vulkan-drivers libvulkan1" in reason
    assert "\n" not in reason
