"""The pipeline: order, verification, history, dumps, messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.errors import InternalError, OutputError, UnsupportedError
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline, check_order
from tests.graphs import mobilenet_v2_like
from tests.pass_checks import module_of


@dataclass(frozen=True)
class Act:
    """A pass that does what the test says."""

    action: Callable[[Module], int]

    name: ClassVar[str] = "act"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        return self.action(module)

    def refusals(self, module: Module) -> list[Refusal]:
        return [Refusal(module.graph.nodes[0].name, "it is Tuesday")]


@dataclass(frozen=True)
class Late(Act):
    """A pass that must come after `act`."""

    name: ClassVar[str] = "late"
    after: ClassVar[tuple[str, ...]] = ("act",)


def nothing(module: Module) -> int:
    return 0


def rename_badly(module: Module) -> int:
    module.graph.nodes[0].name = module.graph.nodes[1].name
    return 1


def scale_weights(module: Module) -> int:
    conv = next(node for node in module.graph.nodes if node.op == "Conv")
    conv.inputs[1].values = conv.inputs[1].values * np.float32(1.5)
    return 1


def forget_a_shape(module: Module) -> int:
    module.graph.nodes[0].outputs[0].shape = None
    return 1


def crash(module: Module) -> int:
    raise ValueError("no such axis")


def refuse(module: Module) -> int:
    raise UnsupportedError("this network is too wide")


@pytest.fixture
def module() -> Module:
    return module_of(mobilenet_v2_like())


def test_order_is_checked() -> None:
    with pytest.raises(InternalError, match="pass late must come after act"):
        check_order([Late(nothing), Act(nothing)])
    check_order([Act(nothing), Late(nothing)])
    check_order([Late(nothing)], ran=["act"])


def test_remembers_what_ran_before(module: Module) -> None:
    pipeline = Pipeline()
    pipeline.run(module, [Act(nothing)])
    pipeline.run(module, [Late(nothing)])
    assert pipeline.ran == ["act", "late"]


def test_history_names_passes_that_changed_something(module: Module) -> None:
    Pipeline().run(module, builtin_passes())
    assert "fold-batchnorm" in module.history
    assert "fuse-preprocessing" not in module.history


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (rename_badly, "node name .* is empty or taken"),
        (forget_a_shape, "has shape None"),
        (crash, "no such axis"),
    ],
)
def test_a_broken_promise_names_the_pass(module: Module, action: Callable[[Module], int], message: str) -> None:
    pipeline = Pipeline(ran=["fold-pad"])
    with pytest.raises(InternalError, match=f"pass act failed: .*{message}.*passes before it: fold-pad.*MDC_DUMP"):
        pipeline.run(module, [Act(action)])


def test_changed_numbers_are_found_only_when_asked(module: Module) -> None:
    Pipeline(verify=1).run(module, [Act(scale_weights)])
    with pytest.raises(InternalError, match=r"failed: the numbers changed: .* is off by"):
        Pipeline(verify=2).run(module, [Act(scale_weights)])


def test_verification_can_be_off(module: Module) -> None:
    Pipeline(verify=0).run(module, [Act(rename_badly)])


def test_the_users_error_passes_as_it_is(module: Module) -> None:
    with pytest.raises(UnsupportedError, match=r"^this network is too wide$"):
        Pipeline().run(module, [Act(refuse)])


def test_environment_sets_the_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_VERIFY", "2")
    monkeypatch.setenv("MDC_DEBUG", "nonsense")
    assert (Pipeline().verify, Pipeline().debug) == (2, 0)


def test_dumps_what_changed(module: Module, tmp_path: Path) -> None:
    Pipeline(dump=str(tmp_path / "dumps")).run(module, builtin_passes())
    files = sorted(path.name for path in (tmp_path / "dumps").iterdir())
    assert files[0] == "01-fold-constants.onnx"
    assert len(files) == len(module.history)
    onnx.checker.check_model(onnx.load(tmp_path / "dumps" / files[-1]), full_check=True)


def test_a_dump_that_cannot_be_written_is_the_users_error(module: Module, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"MDC_DUMP: .*cannot be written"):
        Pipeline(dump=str(tmp_path / "file")).run(module, [Act(scale_weights)])


def test_debug_speaks_on_stderr(module: Module, capsys: pytest.CaptureFixture[str]) -> None:
    Pipeline(debug=1).run(module, [Act(scale_weights)])
    captured = capsys.readouterr()
    assert captured.err == "mdc: simplify/act: 1 edits\n"
    assert captured.out == ""


def test_progress_is_told(module: Module) -> None:
    calls: list[tuple[str, int, int]] = []
    Pipeline(progress=lambda activity, done, total: calls.append((activity, done, total))).run(module, [Act(nothing)])
    assert calls[0] == ("pass act", 0, 1)


def test_refusals_are_gathered_when_asked(module: Module) -> None:
    silent, asked = Pipeline(), Pipeline(explain=True)
    silent.run(module, [Act(nothing)])
    asked.run(module, [Act(nothing)])
    assert silent.refused == []
    assert asked.refused == [("act", Refusal("/features/0/conv", "it is Tuesday"))]
