"""The proof of a binary, with a unit that is played: it computes what the reference does, but where it is bent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mdcompiler.backends.htp import check
from mdcompiler.backends.htp.check import Checker
from mdcompiler.backends.htp.cut import cut
from mdcompiler.backends.htp.measure import watched_tensors
from mdcompiler.backends.htp.qnn import Context
from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme
from tests.backends.edgetpu.detectors import detector, picture, quantized_detector
from tests.backends.edgetpu.sketches import one_conv, quantized_sketch

SCHEME = "hexagon-htp"
SHIPPED, WATCHED = Context(b"shipped", b""), Context(b"watched", b"")


@dataclass
class Played:
    """bent: tensor -> steps that the watched binary adds; moved: steps that the shipped one adds to its ends."""

    checker: Checker
    bent: dict[str, int]
    moved: int = 0

    def run(self, context: Context, inputs: list[Any], outputs: int) -> list[Any]:
        values = self.checker.reference.run(self.checker.inputs)
        handed = [tensor.name for tensor in self.checker.cut.handed]
        if context is SHIPPED:
            return [values[name].astype(np.int64) + self.moved for name in handed]
        seen = [tensor.name for tensor in watched_tensors(self.checker.cut) if tensor.name not in handed]
        return [values[name].astype(np.int64) + self.bent.get(name, 0) for name in (*handed, *seen)][:outputs]


def played(
    module: Module, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, moved: int = 0, **bent: int
) -> Checker:
    checker = Checker(module, cut(module), IntegerReference(module, find_scheme(SCHEME)), inputs)
    unit = Played(checker, bent, moved)
    monkeypatch.setattr(check, "compile_context", lambda model, options: WATCHED)
    monkeypatch.setattr(check, "run_context", unit.run)
    return checker


def test_an_exact_unit_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = played(quantized_detector(detector(), SCHEME), picture(detector()), monkeypatch).prove(73, SHIPPED)
    assert (proof.as_dict()["largest"], proof.as_dict()["share"], set(proof.ends.values())) == (0, 0.0, {0.0})


@pytest.mark.parametrize("steps", [2, 3])
def test_a_shipped_binary_whose_ends_have_moved_is_refused(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checker = played(quantized_detector(detector(), SCHEME), picture(detector()), monkeypatch, steps)
    if steps == 2:
        assert set(checker.prove(73, SHIPPED).ends.values()) == {2.0}
        return
    with pytest.raises(UnsupportedError, match=r"its result \S+ is 3\.0 steps, in the mean, .* \(3 at most\); 2 is"):
        checker.prove(73, SHIPPED)


def _float_input() -> tuple[Module, dict[str, Any], str]:
    module = quantized_sketch(one_conv(), "a/conv", target=SCHEME)
    shape = tuple(module.graph.inputs[0].shape)
    inputs = {"x": np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)}
    (name,) = [node.outputs[0].name for node in module.graph.nodes if node.op == "QuantizeLinear" and _enters(node)]
    return module, inputs, name


def _enters(node: Any) -> bool:
    return str(node.inputs[0].name) == "x"


def test_a_float_input_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module, inputs, name = _float_input()
    rows = played(module, inputs, monkeypatch).prove(73, SHIPPED).kernels
    assert {row.largest for row in rows.values()} == {0}
    assert any(row.elements == inputs["x"].size for row in rows.values())
    with pytest.raises(UnsupportedError, match=r"is 2 steps from the integer reference in \d+ of \d+ elements; 1"):
        played(module, inputs, monkeypatch, **{name: 2}).prove(73, SHIPPED)
