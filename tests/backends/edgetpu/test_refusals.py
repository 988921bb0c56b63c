"""What the writer refuses, and what it says then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import mdcompiler
from mdcompiler.backends.edgetpu.backend import EdgeTpuBackend
from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.backends.tflite.runnable import TfliteRunnable
from mdcompiler.errors import ArtifactError, InternalError, MissingToolError, UnsupportedError
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.progress import silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.target import find_target
from tests.backends.edgetpu.detectors import detector, manifest_of, picture, quantized_detector
from tests.backends.edgetpu.sketches import one_conv, quantized_sketch
from tests.graphs import Sketch
from tests.quantization.networks import float_module, observe, quantized

pytest.importorskip("ai_edge_litert", reason="needs the extra `edgetpu`")


def _float() -> Module:
    return float_module(detector())


def _wide() -> Module:
    return quantized(_float(), "edgetpu-ptq", {"C3/b0.ibn": "int16"})[0]


def _float_block() -> Module:
    return quantized(_float(), "edgetpu-ptq", {"C2/b0.fused": "float"})[0]


def _float_stem() -> Module:
    return quantized(_float(), "edgetpu-ptq", {"C1/b0.conv": "float"})[0]


def _float_part() -> Module:
    """A part of the boxes is a constant, which has no integers."""
    scheme = find_scheme("edgetpu-ptq").model_copy(update={"may_stay_float": ("concat", "postprocess")})
    module = _float()
    InsertQdq(Parameters(observe(module, tensors_to_calibrate(module.graph, scheme))), scheme=scheme).run(module)
    joined = next(node for node in module.graph.nodes if node.name == "head/concat_boxes")
    joined.inputs[0] = gs.Constant("fixed", np.zeros(joined.inputs[0].shape, np.float32))
    return module


def _curve() -> Module:
    return quantized_detector(detector(defaults={"activation": "hard-swish"}))


def _groups() -> Module:
    return quantized_sketch(one_conv(group=2), "a/conv")


def _clamp() -> Module:
    """The clamped tensor shares the scale of a wider one, with which it leaves the network."""
    net = one_conv()
    net.clip("y", "a/conv", -0.2, 0.3)
    return quantized_sketch(net, net.node("Concat", "joined", "y", net.conv("b", "x", (8, 8)), axis=1))


def _product() -> Module:
    net = Sketch()
    net.node("Mul", "product", net.conv("a", net.input("x", [1, 8, 6, 6]), (8, 8)), net.input("z", [8, 6, 6]))
    return quantized_sketch(net, "product")


def _unread_input() -> Module:
    net = one_conv()
    net.input("unread", [1, 4])
    return quantized_sketch(net, "a/conv")


def _computed_anchors() -> Module:
    module = quantized_detector(detector())
    (detection,) = [node for node in module.graph.nodes if node.domain]
    detection.inputs[2] = gs.Variable("anchors", np.float32, detection.inputs[2].shape)
    return module


REFUSED: dict[str, tuple[Callable[[], Module], str]] = {
    "float": (_float, r"the network computes in float, .* Add `--precision int8 --calibration DIR`"),
    "16 bits": (_wide, r"writing C3/b0.ibn/expand.* has 16-bit integers, the chip has 8-bit ones"),
    "float block": (_float_block, r"C2/b0.fused/\w+ as TFLite: the \w+ computes in float"),
    "float part": (_float_part, r"writing head/concat_boxes as TFLite: the concat computes in float"),
    "float stem": (_float_stem, r"the input image \(uint8\) is read by .*leave out --keep-float"),
    "unread input": (_unread_input, r"the input unread \(float32\) is read by nothing"),
    "curve": (_curve, r"hard_swish has no operator there that rounds .* `activation: relu6`"),
    "groups": (_groups, r"writing a/conv as TFLite: a convolution in 2 groups of several channels"),
    "clamp": (_clamp, r"clamps its integers to -?\d+ and -?\d+, which none of NONE, RELU6"),
    "product": (_product, r"a product of tensors of 3 and 4 axes"),
    "anchors": (_computed_anchors, r"its anchors are computed; they must be constants"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_says_why_and_what_to_do(name: str) -> None:
    build, said = REFUSED[name]
    module = build()
    with pytest.raises(UnsupportedError, match=said):
        emit(module, silent)


def _reasons(module: Module) -> dict[str, str]:
    backend, target = EdgeTpuBackend(), find_target("edgetpu")
    found = {kernel.name: backend.why_not(kernel, target) for kernel in kernels(module.graph)}
    return {name: reason for name, reason in found.items() if reason is not None}


def test_reasons_of_a_float_network_name_the_block() -> None:
    assert set(_reasons(_float())) == set()
    reasons = _reasons(float_module(detector(defaults={"activation": "hard-swish", "se_gate": "hard-sigmoid"})))
    assert "give the block `activation: relu6`" in reasons["C1/b0.conv/conv"]
    assert set(reasons) >= {"C1/b1.tucker/reduce", "C2/b0.fused/expand", "C3/b0.ibn/expand", "C3/b0.ibn/dw"}
    swish = _reasons(float_module(detector(defaults={"activation": "swish"})))
    assert "SWISH is none of its operators" in swish["C1/b0.conv/conv"]


def test_the_gate_has_its_own_reason() -> None:
    reasons = _reasons(float_module(detector(defaults={"se_gate": "hard-sigmoid"})))
    assert list(reasons) == ["C3/b0.ibn/se"]
    assert "give the squeeze-excite the gate `sigmoid`" in reasons["C3/b0.ibn/se"]


def test_reasons_of_a_quantized_network() -> None:
    assert set(_reasons(quantized_detector(detector()))) == {"head/postprocess"}
    wide = _reasons(_wide())
    assert "is INT16" in wide["C3/b0.ibn/dw"]


def test_other_operators_have_a_reason() -> None:
    net = one_conv()
    net.node("MaxPool", "pooled", net.node("Softplus", "bent", "a/conv"), kernel_shape=[2, 2])
    net.node("Mul", "scaled", "pooled", net.weight("factor", np.float32(3)))
    reasons = _reasons(Module.from_onnx(net.model("scaled"), find_target("edgetpu")))
    assert "this MUL has no integer form in this toolkit" in reasons["scaled"]
    assert "SOFTPLUS is none of its operators" in reasons["bent"]
    assert "this MAX_POOL_2D has no integer form in this toolkit" in reasons["pooled"]


@pytest.mark.parametrize("target", ["edgetpu", "ethos-u55-256"])
def test_without_the_extra_nothing_is_read(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    with pytest.raises(MissingToolError, match=r"writing a .tflite file needs .* pip install mdcompiler\[edgetpu\]"):
        mdcompiler.compile("no such spec", target, tmp_path / "out", precision="int8", calibration=tmp_path)


@pytest.mark.parametrize("part", ["schema_py_generated", "interpreter"])
def test_without_the_extra_the_message_says_what_to_install(part: str, tmp_path: Path, monkeypatch: Any) -> None:
    module = quantized_detector(detector())
    emission = emit(module, silent)
    (tmp_path / "model.tflite").write_bytes(emission.files["model.tflite"])
    monkeypatch.setitem(sys.modules, f"ai_edge_litert.{part}", None)
    manifest = manifest_of(module, emission)
    needs: dict[str, Callable[[], object]] = {
        "interpreter": lambda: TfliteRunnable(tmp_path / "model.tflite", manifest, 1),
        "schema_py_generated": lambda: emit(module, silent),
    }
    with pytest.raises(MissingToolError, match=r"pip install mdcompiler\[edgetpu\]"):
        needs[part]()


@pytest.mark.parametrize(
    "orders",
    [None, {}, {"inputs": [[0, 1, 2, 3]]}, {"inputs": [[0, 1, 2, 2]], "outputs": [[0, 1, 2]] * 4}, {"inputs": 3}],
)
def test_a_manifest_without_orders_is_refused(orders: Any, tmp_path: Path) -> None:
    module = quantized_detector(detector())
    emission = emit(module, silent)
    (tmp_path / "model.tflite").write_bytes(emission.files["model.tflite"])
    manifest = manifest_of(module, emission) | {"facts": {"orders": orders}}
    with pytest.raises(ArtifactError, match="fact `orders` does not say how the"):
        TfliteRunnable(tmp_path / "model.tflite", manifest, 1)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    module = quantized_detector(detector())
    manifest = manifest_of(module, emit(module, silent))
    (tmp_path / "model.tflite").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="LiteRT does not take it"):
        TfliteRunnable(tmp_path / "model.tflite", manifest, 1)


def test_a_closed_file_is_not_run(tmp_path: Path) -> None:
    module = quantized_detector(detector())
    emission = emit(module, silent)
    (tmp_path / "model.tflite").write_bytes(emission.files["model.tflite"])
    runnable = TfliteRunnable(tmp_path / "model.tflite", manifest_of(module, emission), 1)
    runnable.close()
    with pytest.raises(InternalError, match="was closed"):
        runnable.run(picture(detector()))
