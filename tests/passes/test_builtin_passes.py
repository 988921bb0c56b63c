"""All passes together: names agree, order holds, random detectors keep their numbers, a second run is idle."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, is_dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdcompiler.compile_pass import STAGES, ExplainingPass, Pass
from mdcompiler.epilogue import Residual, epilogue
from mdcompiler.kernel import kernels
from mdcompiler.kernel_kinds import CONVOLUTIONS
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline, check_order
from mdcompiler.spec import SearchSpace, weight_shapes
from mdcompiler.weights.seeded import seeded_weights
from tests.graphs import detector_like, mobilenet_v2_like, resnet_like
from tests.pass_checks import assert_untouched, module_of

TESTS = Path(__file__).parent
ALL = {item.name: item for item in builtin_passes()}


@pytest.mark.parametrize("name", ALL)
def test_file_class_name_and_test_agree(name: str) -> None:
    item: Any = ALL[name]
    words = name.split("-")
    assert type(item).__name__ == "".join(word.capitalize() for word in words)
    assert type(item).__module__ == f"mdcompiler.passes.{'_'.join(words)}"
    assert (TESTS / f"test_{'_'.join(words)}.py").is_file()


@pytest.mark.parametrize("name", ALL)
def test_is_a_frozen_dataclass(name: str) -> None:
    item: Any = ALL[name]
    assert is_dataclass(item)
    assert isinstance(item, Pass)
    with pytest.raises(FrozenInstanceError):
        item.option = 1


def test_order() -> None:
    check_order(builtin_passes())
    stages = [STAGES.index(item.stage) for item in builtin_passes()]
    assert stages == sorted(stages)


def compile_and_check(module: Module) -> None:
    """All passes at the highest level of verification, then again: nothing to do, nothing changed."""
    Pipeline(verify=2).run(module, builtin_passes())
    for item in builtin_passes():
        assert_untouched(item, module)
    assert all(node.op != "BatchNormalization" for node in module.graph.nodes)


@pytest.mark.parametrize("model", [resnet_like(), mobilenet_v2_like(), detector_like()], ids=["r", "m", "d"])
def test_hand_written_networks(model: onnx.ModelProto) -> None:
    compile_and_check(module_of(model))


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), raw=st.booleans())
def test_random_detectors(seed: int, raw: bool) -> None:
    spec = SearchSpace.small().sample(seed)
    module = module_of(lower(spec, seeded_weights(weight_shapes(spec), seed), raw=raw))
    compile_and_check(module)
    for kernel in kernels(module.graph):
        if kernel.kind in CONVOLUTIONS and kernel.kind != "head":
            steps = epilogue(kernel)
            assert sum(isinstance(step, Residual) for step in steps) <= 1
            assert kernel.outputs == (kernel.nodes[-1].outputs[0],)


def test_refusals_name_nodes_of_the_graph() -> None:
    pipeline = Pipeline(explain=True)
    module = pipeline.run(module_of(resnet_like()), builtin_passes())
    names = {node.name for node in module.graph.nodes}
    assert all(refusal.node in names for _, refusal in pipeline.refused)
    assert any(isinstance(item, ExplainingPass) for item in builtin_passes())
