"""QNN drops a clamp without a word. Is that still so, does our spelling avoid it, and would it be noticed?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.htp.archs import qnn_options
from mdcompiler.backends.htp.check import Checker
from mdcompiler.backends.htp.cut import cut, unit_model
from mdcompiler.backends.htp.lower_clamps import LowerClamps
from mdcompiler.backends.htp.qnn import Context, compile_context, run_context
from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme
from tests.backends.htp.clamped import Clamped, image

pytestmark = pytest.mark.usefixtures("qnn")
UPPER_KEPT, LOWER_KEPT, INSIDE = (0.06, 156), (8 / 255, 0), (27 / 255, 156)
ARCH = 73
TRAPS = {
    "upper bound kept by saturation": Clamped("Clip", (0, 6), UPPER_KEPT, between=True),
    "lower bound kept by saturation": Clamped("Clip", (0, 6), LOWER_KEPT, between=True),
    "lower bound kept by the result": Clamped("Clip", (0, 6), LOWER_KEPT, INSIDE, between=True),
}
TRAPPED = pytest.mark.parametrize("clamped", TRAPS.values(), ids=TRAPS)


def compiled(module: Module) -> Context:
    model = unit_model(module, cut(module)).SerializeToString()
    return compile_context(model, qnn_options((ARCH,)))


def emulated(context: Context) -> NDArray[Any]:
    return run_context(context, [image()["x"]], 1)[0].astype(int)


def reference(module: Module) -> IntegerReference:
    return IntegerReference(module, find_scheme("hexagon-htp"))


@TRAPPED
def test_the_trap_is_there_and_the_pass_avoids_it(clamped: Clamped) -> None:
    module = clamped.module()
    want = reference(module).run(image())["y"].astype(int)
    off = np.abs(emulated(compiled(module)) - want)
    assert off.max() > 20, "QNN keeps the clamp now: lower-clamps may be more than is needed"
    assert LowerClamps().run(module) == 1
    # a step before another scale is up to four behind it
    assert np.abs(emulated(compiled(module)) - want).max() <= (4 if clamped.inner else 1)


@TRAPPED
def test_a_dropped_clamp_is_noticed(clamped: Clamped) -> None:
    module = clamped.module()
    checker = Checker(module, cut(module), reference(module), image())
    with pytest.raises(UnsupportedError, match="checking the HTP binary: "):
        checker.prove(ARCH, compiled(module))


@pytest.mark.parametrize(
    "clamped",
    [
        Clamped("Clip", (0, 6), UPPER_KEPT),
        Clamped("Clip", (0, 6), LOWER_KEPT),
        Clamped("Clip", (0, 6), INSIDE),
        Clamped("Max", (-1,), UPPER_KEPT),
        Clamped("Relu", (), UPPER_KEPT, leader="Add"),
        Clamped("", (), LOWER_KEPT, INSIDE, between=True),
    ],
    ids=str,
)
def test_every_spelling_is_compiled_rightly(clamped: Clamped) -> None:
    module = clamped.module()
    LowerClamps().run(module)
    checker = Checker(module, cut(module), reference(module), image())
    proof = checker.prove(ARCH, compiled(module))
    assert proof.as_dict()["largest"] <= 1
    assert max(proof.ends.values()) < 0.5


@pytest.mark.parametrize(
    "clamped", [Clamped("Clip", (0, 6), INSIDE), Clamped("Relu", (), INSIDE)], ids=["clip", "relu"]
)
def test_a_clamp_right_behind_a_convolution_is_not_taken(clamped: Clamped) -> None:
    with pytest.raises(UnsupportedError, match="compiling for HTP: QNN ended with 1"):
        compiled(clamped.module())
