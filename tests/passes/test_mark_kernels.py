"""mark-kernels: every kind, names, every node has a home, second run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mdcompiler.errors import InternalError
from mdcompiler.kernel import KERNEL, KIND, kernels
from mdcompiler.kernel_kinds import KINDS
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.mark_kernels import MarkKernels
from mdcompiler.pipeline import Pipeline
from tests.graphs import Sketch, detector_like, mobilenet_v2_like, resnet_like
from tests.pass_checks import assert_untouched, module_of, run_pass

PASS = MarkKernels()


def kinds(module: Module) -> dict[str, str]:
    return {kernel.name: kernel.kind for kernel in kernels(module.graph)}


@pytest.mark.parametrize(
    ("channels", "kernel", "attributes", "kind"),
    [
        ((4, 8), 1, {}, "pointwise"),
        ((4, 8), 1, {"strides": [2, 2]}, "pointwise"),
        ((4, 8), 3, {}, "conv"),
        ((4, 8), 3, {"group": 2}, "grouped_conv"),
        ((4, 8), 3, {"group": 4}, "grouped_conv"),
        ((4, 4), 5, {"group": 4}, "depthwise"),
    ],
)
def test_kind_of_a_convolution(channels: tuple[int, int], kernel: int, attributes: dict[str, Any], kind: str) -> None:
    net = Sketch()
    model = net.model(net.conv("block", net.input("x", [1, 4, 6, 6]), channels, kernel, **attributes))
    assert kinds(run_pass(PASS, model)) == {"block": kind}


def test_kinds_of_single_nodes() -> None:
    net = Sketch()
    data = net.input("x", [1, 4, 6, 6])
    other = net.node("Softmax", "generic", data)
    total = net.node("Add", "add", data, other)
    total = net.node("Mul", "elementwise", total, net.weight("two", np.float32(2)))
    total = net.node("Add", "broadcast", total, net.weight("one", np.float32(1)))
    both = net.node("Concat", "concat", total, data, axis=1)
    pooled = net.node("MaxPool", "pool", both, kernel_shape=[2, 2])
    module = run_pass(PASS, net.model(net.node("Flatten", "view", pooled)))
    found = kinds(module)
    assert found.pop("broadcast") == "elementwise"
    assert all(name == kind for name, kind in found.items())
    assert set(found.values()) <= set(KINDS)


def test_one_dimensional_convolutions_are_generic() -> None:
    net = Sketch()
    weight = net.weight("w", np.ones((3, 4, 3), np.float32))
    assert kinds(run_pass(PASS, net.model(net.node("Conv", "c/conv", net.input("x", [1, 4, 9]), weight)))) == {
        "c": "generic"
    }


def test_our_operators_are_postprocessing() -> None:
    net = Sketch()
    module = module_of(net.model(net.node("Sin", "post", net.input("x", [4]))))
    module.graph.nodes[0].domain = "mdc"
    PASS.run(module)
    assert module.graph.nodes[0].attrs[KIND] == "postprocess"


def test_a_detector() -> None:
    module = Pipeline().run(module_of(detector_like()), builtin_passes())
    assert kinds(module) == {
        "C1/b0.conv/conv": "stem",
        "C2/b0.ibn/expand": "pointwise",
        "C2/b0.ibn/dw": "depthwise",
        "C2/b0.ibn/se": "squeeze_excite",
        "C2/b0.ibn/project": "pointwise",
        "head/l0/box/pw": "head",
    }
    assert_untouched(PASS, module)


def test_every_node_has_a_home() -> None:
    for model in (resnet_like(), mobilenet_v2_like()):
        module = Pipeline().run(module_of(model), builtin_passes())
        assert all(KERNEL in node.attrs and node.attrs[KIND] in KINDS for node in module.graph.nodes)


def test_kernels_that_wait_for_one_another_are_a_fault() -> None:
    net = Sketch()
    data = net.node("Sin", "a", net.input("x", [4]))
    data = net.node("Cos", "b", data)
    module = module_of(net.model(net.node("Neg", "c", data)))
    for node, name in zip(module.graph.nodes, ("one", "two", "one"), strict=True):
        node.attrs[KERNEL] = name
    with pytest.raises(InternalError, match="wait for one another"):
        PASS.run(module)
