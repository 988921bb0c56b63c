"""What legalisation refuses, in which words, and that a dying compiler is an error and no crash."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper

from mdcompiler.backends.legalize import Refusal, legalize, legalize_all, limit_table, run_child, try_legalize, why_not
from mdcompiler.errors import InternalError, UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from tests.backends.plain_library import HOST
from tests.graphs import Sketch

FLOAT = TensorProto.FLOAT


def _kernel(
    op: str,
    shape: tuple[int | str, ...] = (2, 3),
    *,
    dtype: int = FLOAT,
    outputs: int = 1,
    out_shape: tuple[int | str, ...] | None = None,
    name: str = "here/node",
    **attributes: Any,
) -> Kernel:
    """One node of two equal inputs; nothing about it need be valid but what the limits read."""
    inputs = [helper.make_tensor_value_info(key, dtype, shape) for key in "ab"]
    results = [helper.make_tensor_value_info(f"y{i}", dtype, out_shape or shape) for i in range(outputs)]
    domain = str(attributes.pop("domain", ""))
    node = helper.make_node(op, ["a", "b"], [r.name for r in results], name=name, domain=domain, **attributes)
    return kernels(gs.import_onnx(helper.make_model(helper.make_graph([node], "g", inputs, results))))[0]


def _branch() -> onnx.GraphProto:
    return helper.make_graph([], "branch", [], [])


REFUSED: dict[str, Callable[[], Kernel]] = {
    "standard_domain": lambda: _kernel("Add", domain="com.example"),
    "no_control_flow": lambda: _kernel("If", then_branch=_branch(), else_branch=_branch()),
    "size_by_value": lambda: _kernel("NonZero"),
    "plain_dtypes": lambda: _kernel("Add", dtype=TensorProto.BFLOAT16),
    "static_shapes": lambda: _kernel("Add", ("N", 3)),
    "no_empty_tensors": lambda: _kernel("Add", (0, 3)),
    "batchnorm_of_inference": lambda: _kernel("BatchNormalization", training_mode=1),
    "layernorm_without_statistics": lambda: _kernel("LayerNormalization", outputs=3),
    "integer_mod": lambda: _kernel("Mod"),
    "isinf_of_both_signs": lambda: _kernel("IsInf", detect_negative=0),
    "no_cubic_resize": lambda: _kernel("Resize", mode="cubic"),
    "no_roi_align": lambda: _kernel("RoiAlign"),
    "no_bit_shift": lambda: _kernel("BitShift", dtype=TensorProto.UINT8, direction="LEFT"),
    "depth_first_space_to_depth": lambda: _kernel("SpaceToDepth", mode="CRD"),
}


def test_every_limit_has_a_case() -> None:
    assert set(REFUSED) == set(limit_table())


@pytest.mark.parametrize("name", REFUSED)
def test_a_limit_refuses_with_its_own_words_and_without_a_child(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    kernel = REFUSED[name]()
    assert why_not(kernel) == limit_table()[name]
    with pytest.raises(UnsupportedError, match="kernel 'here/node', node 'here/node' ") as error:
        legalize(kernel, HOST)
    assert limit_table()[name] in str(error.value)


@pytest.mark.parametrize(
    "kernel",
    [
        _kernel("BatchNormalization", training_mode=0),
        _kernel("LayerNormalization"),
        _kernel("Mod", dtype=TensorProto.INT32),
        _kernel("IsInf"),
        _kernel("Resize", mode="linear"),
        _kernel("SpaceToDepth"),
    ],
    ids=lambda kernel: str(kernel.nodes[0].op),
)
def test_limits_let_the_common_forms_pass(kernel: Kernel) -> None:
    assert why_not(kernel) is None


def test_what_tvm_refuses_is_named_with_tvms_reason_and_the_rest_is_served() -> None:
    s = Sketch()
    x = s.input("x", [1, 6])
    outputs = (s.node("Det", "a/det", s.input("m", [2, 2])), s.node("Relu", "a/relu", x), s.node("Celu", "a/celu", x))
    found = kernels(gs.import_onnx(s.model(*outputs)))
    with pytest.raises(UnsupportedError) as error:
        legalize_all(found, HOST)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "node 'a/det' (Det): TVM cannot read it" in lines[0]
    assert "node 'a/celu' (Celu): TVM cannot read it" in lines[1]


def _worker(folder: Path, monkeypatch: pytest.MonkeyPatch, deed: str) -> str:
    """A worker module that does `deed` at the kernel `bad` and answers every other one."""
    (folder / "strange_worker.py").write_text(
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from mdcompiler.backends.legalize.exchange import is_answered, read_job, write_refusal\n"
        "for folder in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    if not is_answered(folder):\n"
        "        if read_job(folder)[0].prefix == 'bad':\n"
        f"            {deed}\n"
        "        write_refusal(folder, 'answered')\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return "strange_worker"


def _three() -> list[Kernel]:
    return [_kernel("Add", name=name) for name in ("first", "bad", "last")]


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("sys.exit(0)", "gave no answer"),
    ],
)
def test_a_child_that_dies_costs_one_kernel(
    deed: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = try_legalize(_three(), HOST, worker=_worker(tmp_path, monkeypatch, deed))
    reasons = [result.reason for result in results if isinstance(result, Refusal)]
    assert "answered" in reasons[0]
    assert words in reasons[1]
    assert "node 'bad' (Add)" in reasons[1]
    assert "answered" in reasons[2]


def test_a_child_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_child, "_START_SECONDS", 1)
    monkeypatch.setattr(run_child, "_KERNEL_SECONDS", 0)
    (tmp_path / "sleeping_worker.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(str(tmp_path))
    (result,) = try_legalize([_kernel("Add")], HOST, worker="sleeping_worker")
    assert isinstance(result, Refusal)
    assert "TVM had not ended after 1 s at it" in result.reason


def test_a_fault_of_the_worker_is_an_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        try_legalize(_three(), HOST, worker=_worker(tmp_path, monkeypatch, "1 / 0"))


def test_no_child_is_started_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    assert legalize_all([], HOST) == {}


def test_numbers_that_differ_are_a_refusal() -> None:
    from mdcompiler.backends.legalize.lower_relax import lower
    from mdcompiler.backends.legalize.self_check import check

    def model(op: str) -> onnx.ModelProto:
        s = Sketch()
        return s.model(s.node(op, "y", s.input("x", [1, 6])))

    lowered = lower(model("Relu"), "k", HOST)
    assert check(model("Relu"), lowered)
    with pytest.raises(UnsupportedError, match="TVM computes something else than ONNX says: output 'y'"):
        check(model("Neg"), lowered)


def test_indices_are_sampled_in_range() -> None:
    from mdcompiler.backends.legalize.lower_relax import lower
    from mdcompiler.backends.legalize.self_check import check

    s = Sketch()
    indices = s.input("i", [4], TensorProto.INT64)
    model = s.model(s.node("Gather", "y", s.weight("table", np.array([[1, 2], [3, 4]], "float32")), indices))
    assert check(model, lower(model, "k", HOST))
