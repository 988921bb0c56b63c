"""What the hexagon backend does not take, and how it says so. Nothing here runs or needs an emulator."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from mdcompiler.backends.hexagon import machine
from mdcompiler.backends.hexagon.backend import HexagonBackend
from mdcompiler.backends.hexagon.link import link_files
from mdcompiler.backends.hexagon.pack import delta_control, picture_spread
from mdcompiler.errors import InternalError, MissingToolError, UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.quantization.scheme import SCHEME_KEY, find_scheme
from mdcompiler.spec import SearchSpace, weight_shapes
from mdcompiler.target import find_target
from mdcompiler.weights import seeded_weights
from tests.backends.test_integer_networks import quantized

TARGET = find_target("hexagon-v66")
SPEC = SearchSpace.small().sample(4)


def test_float_networks_are_told_to_be_quantized() -> None:
    module = Module.from_onnx(lower(SPEC, seeded_weights(weight_shapes(SPEC), 0), raw=True), TARGET)
    Pipeline().run(module, builtin_passes())
    backend = HexagonBackend()
    reasons = {kernel.kind: backend.why_not(kernel, TARGET) for kernel in kernels(module.graph)}
    assert "--precision int8" in str(reasons["stem"])
    with pytest.raises(UnsupportedError, match=r"compiling for Hexagon: \S+ has no HVX kernel: .*int8"):
        backend.emit(module, silent, 1)


def test_another_schemes_rounding_is_refused() -> None:
    module, _ = quantized(SPEC, find_scheme("cpu"), "hexagon-v66")
    module.metadata[SCHEME_KEY] = "cpu"
    with pytest.raises(UnsupportedError, match=r"scheme cpu, which rounds by float-half-even.*hexagon-hvx"):
        HexagonBackend().emit(module, silent, 1)


def test_weights_beyond_int8_are_refused() -> None:
    module, _ = quantized(SPEC, find_scheme("edgetpu-qat"), "hexagon-v66")
    reasons = [HexagonBackend().why_not(kernel, TARGET) for kernel in kernels(module.graph)]
    assert any(reason and "exceed int8" in reason for reason in reasons)


def _changed(kind: str, change: Callable[[Kernel], None]) -> str:
    """Why the first kernel of this kind has no template after a change to it."""
    module, _ = quantized(SPEC, find_scheme(TARGET.scheme), TARGET.name)
    kernel = next(item for item in kernels(module.graph) if item.kind == kind)
    assert HexagonBackend().why_not(kernel, TARGET) is None
    change(kernel)
    return str(HexagonBackend().why_not(kernel, TARGET))


def _conv(kernel: Kernel) -> gs.Node:
    return next(node for node in kernel.nodes if node.op == "Conv")


def test_depthwise_strides_beyond_two_are_refused() -> None:
    reason = _changed("depthwise", lambda kernel: _conv(kernel).attrs.update(strides=[3, 3]))
    assert "a depthwise window of" in reason
    assert "stride (3, 3)" in reason
    assert "strides of 1 and 2" in reason


def test_a_dilated_picture_is_refused() -> None:
    reason = _changed("stem", lambda kernel: _conv(kernel).attrs.update(dilations=[2, 2]))
    assert "a picture of 3 channels, dilation (2, 2); it has 3, dilation 1." in reason


def test_floats_are_joined_along_the_outer_axis_only() -> None:
    reason = _changed("concat", lambda kernel: kernel.nodes[0].attrs.update(axis=2))
    assert reason == "a concatenation of floats along an inner axis."


def test_ways_out_of_integers_other_than_uint8_are_refused() -> None:
    def signed(kernel: Kernel) -> None:
        node = kernel.nodes[0]
        node.inputs[2] = gs.Constant("signed", np.zeros((), np.int8))

    assert "int8 with 1 scales; the template has one, uint8." in _changed("dequantize", signed)


def test_a_missing_emulator_is_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "apt-get install qemu-user" in HexagonBackend().why_not_run(TARGET)
    with pytest.raises(MissingToolError, match="apt-get install qemu-user"):
        HexagonBackend().load(tmp_path, {"inputs": [], "outputs": []}, 1)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert machine.launcher()[0] == "/usr/bin/qemu-hexagon"


def test_a_missing_linker_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdcompiler.backends.hexagon.link.find_spec", lambda _: None)
    with pytest.raises(MissingToolError, match="pip install ziglang"):
        link_files({"main.c": b"int main(void) { return 0; }"}, TARGET)


def test_the_shuffle_network_does_what_its_control_says() -> None:
    control, found = picture_spread(), np.arange(128)
    for stage in (64, 32, 16, 8, 4, 2, 1):
        found = np.where(control & stage, found[np.arange(128) ^ stage], found)
    pixels = found.reshape(32, 4)[:, :3]
    assert np.array_equal(pixels, np.arange(96).reshape(32, 3))


def test_a_shuffle_that_the_network_cannot_do_is_a_fault() -> None:
    with pytest.raises(InternalError, match="vdelta"):
        delta_control({0: 0, 1: 64, 2: 32, 64: 1, 32: 2, 65: 66})
