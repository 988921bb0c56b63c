"""Running a matrix: verdicts, the block at fault, rows instead of errors, going on with a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from mdcompiler.artifact import open_artifact
from mdcompiler.backend import Costs, Proof
from mdcompiler.backends.null import NullBackend
from mdcompiler.compile_pass import Stage
from mdcompiler.compiler import Job
from mdcompiler.errors import InternalError, MissingToolError, OutputError, UnsupportedError
from mdcompiler.manifest import Source
from mdcompiler.matrix import MatrixOptions, pair, run_matrix, store
from mdcompiler.matrix.boundaries import boundaries, difference, tapped
from mdcompiler.matrix.network import Network
from mdcompiler.matrix.real_taps import integers_of, make_real
from mdcompiler.matrix.store import artifact_key
from mdcompiler.module import Module
from mdcompiler.target import find_target
from tests.matrix.matrices import break_block, options, tiny


def test_a_right_network_is_within_tolerance(tmp_path: Path) -> None:
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert row.verdict in ("bit for bit", "tolerance")
    assert set(row.outputs) == {"box_encodings", "class_scores"}
    assert row.first_diverging == ""
    assert [block.block for block in row.blocks][:4] == ["C1/b0.conv", "C2/b0.fused", "C2/b1.ibn", "C3/b0.ibn"]
    assert all(block.relative is not None for block in row.blocks)
    assert row.costs_missing, "the reference evaluator is not timed"


@pytest.mark.parametrize("block", ["C2/b1.ibn", "C3/b0.ibn"])
def test_the_first_block_at_fault_is_found(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NullBackend, "emit", break_block(block))
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert row.verdict == "differs"
    assert "from the same network in float64" in row.reason
    assert row.first_diverging == block
    assert open_artifact(tmp_path / "out" / "pairs" / "tiny-null-fp32"), "kept, to look at what is wrong"


def test_blocks_of_a_target_of_half_floats_are_allowed_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost in the first convolution is beyond what float32 may lose, and within what float16 may."""
    monkeypatch.setattr(NullBackend, "emit", break_block("C2/b1.ibn", 1.003))
    path = tmp_path / "half.yaml"
    path.write_text("{name: half, backend: 'null', dtypes: [float16, float32]}")
    whole, half = run_matrix(options(tiny(tmp_path), f"null,{path}"), tmp_path / "out").pairs
    assert whole.first_diverging == "C2/b1.ibn"
    assert half.first_diverging == ""


def test_without_block_comparison_nothing_is_said_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NullBackend, "emit", break_block("C2/b1.ibn"))
    (row,) = run_matrix(options(tiny(tmp_path), "null", blocks=False), tmp_path / "out").pairs
    assert (row.verdict, row.first_diverging, row.blocks_not_compared) == ("differs", "", "not asked for")


def test_a_backend_that_cannot_give_blocks_is_judged_by_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Job.build

    def build(self: Job, module: Module, *others: object) -> object:
        if len(module.graph.outputs) > 2:
            raise UnsupportedError("two outputs\nat most")
        return whole(self, module, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Job, "build", build)
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert row.verdict in ("bit for bit", "tolerance")
    assert row.blocks_not_compared == "outputs only: two outputs at most"


def test_integers_that_may_not_leave_are_taken_out_as_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend of floats' ends refuses the first build; from the second the integers come back exactly."""
    whole, refused = Job.build, list[str]()

    def build(self: Job, module: Module, *others: object) -> object:
        odd = [tensor.name for tensor in module.graph.outputs if tensor.dtype != np.float32]
        if odd:
            refused.append(odd[0])
            raise UnsupportedError("bytes do not leave")
        return whole(self, module, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Job, "build", build)
    (row,) = run_matrix(options(tiny(tmp_path), "cpu:int8"), tmp_path / "out").pairs
    assert refused
    assert (row.verdict, row.steps, row.blocks_not_compared) == ("bit for bit", 0, "")
    assert sum(block.steps == 0 for block in row.blocks) >= 6


def test_a_wrong_integer_is_still_seen_behind_its_scale(tmp_path: Path) -> None:
    wanted = options(tiny(tmp_path), "cpu:int8")
    network = Network(wanted.request(wanted.networks[0]), wanted, tmp_path)
    prepared = network.prepared(network.job(*wanted.target_of("cpu:int8")))
    taps = boundaries(prepared.module.graph)
    made = make_real(tapped(prepared.copy(find_target("cpu")), taps))
    values = {real: scale.dequantize(prepared.values[name]) for name, (real, scale) in made.items()}
    assert all(np.array_equal(integers_of(values, made)[name], prepared.values[name]) for name in made)
    name, (real, scale) = next(iter(made.items()))
    values[real] = values[real] + np.float32(scale.scale[0] * 2)
    moved = difference([name], integers_of(values, made), prepared.values)
    assert (moved.steps, moved.diverges) == (2, True)


@pytest.mark.parametrize(("steps", "verdict"), [(1, "tolerance"), (2, "differs")])
def test_a_machine_that_rounds_in_its_own_way_is_judged_by_its_proof(
    steps: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference in floats stands for such a machine: it is one step off here and there."""
    proof = Proof({"C1/b0.conv": 0, "C2/b1.ibn": steps}, 0.0123)
    monkeypatch.setattr(NullBackend, "block_proof", lambda self, artifact: proof, raising=False)
    monkeypatch.setattr(NullBackend, "emit", break_block("C2/b1.ibn"))
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert (row.verdict, row.steps) == (verdict, steps)
    assert (
        row.note == f"each operation at most {steps} step(s) from the integer reference; 1.23% of the elements differ"
    )
    assert row.first_diverging == ("" if steps == 1 else "C2/b1.ibn")


def test_a_target_that_does_not_run_here_is_compiled_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "no such device\nis here"
    monkeypatch.setattr(NullBackend, "why_not_run", lambda self, target: reason, raising=False)
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert (row.verdict, row.reason, row.outputs) == ("compiled only", "no such device is here", {})
    assert {row.blocks_not_compared, row.costs_missing} == {"it does not run here"}
    assert row.file_bytes
    assert [block.block for block in row.blocks if block.macs][:2] == ["C1/b0.conv", "C2/b0.fused"]
    costs = Costs("clocks", "estimated", {"C1/b0.conv": 5.0})
    monkeypatch.setattr(NullBackend, "block_costs", lambda self, artifact: costs, raising=False)
    (row,) = run_matrix(options(tiny(tmp_path), "null", blocks=False), tmp_path / "out").pairs
    assert (row.verdict, row.cost, row.how) == ("compiled only", 5.0, "estimated"), "an estimate needs no run"
    monkeypatch.setattr(NullBackend, "why_not_run", lambda self, target: "")
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert row.verdict in ("bit for bit", "tolerance"), "examined again, with the device"


@pytest.mark.parametrize(
    ("error", "verdict"), [(MissingToolError("no runner"), "compiled only"), (InternalError("no runner"), "differs")]
)
def test_an_artifact_that_cannot_be_opened_is_a_row(
    error: Exception, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(NullBackend, "load", broken)
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert (row.verdict, row.reason) == (verdict, "no runner")


def test_tools_that_are_missing_refuse_a_pair_before_it_is_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_ready(self: NullBackend, target: object) -> None:
        raise MissingToolError("install this")

    monkeypatch.setattr(NullBackend, "check_ready", check_ready, raising=False)
    (row,) = run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out").pairs
    assert (row.verdict, row.reason) == ("refused", "install this")


def test_a_scheme_file_that_changes_makes_another_artifact(tmp_path: Path) -> None:
    path = tmp_path / "target.yaml"
    path.write_text("{name: mine, backend: edgetpu, dtypes: [int8], scheme: mine.yaml}")
    keys, source = [], Source(name="a", weights="0" * 64, model="0" * 64)
    for rounding in ("fixed-point-double", "fixed-point-single"):
        (tmp_path / "mine.yaml").write_text(
            "{name: mine, activation: int8, weight: int8, per_channel: true, symmetric_weights: true, "
            f"rounding: {rounding}}}"
        )
        target = find_target(str(path))
        keys.append(artifact_key(source, target, "int8", options("a", "b")))
    assert keys[0] != keys[1]
    assert keys[1] == artifact_key(source, find_target(str(path)), "int8", options("a", "b"))


def test_what_only_shows_rows_is_no_part_of_an_artifact() -> None:
    top = Path(str(files("mdcompiler")))
    for place in store._SHOWING:
        assert list(top.glob(f"{place}*")), place


def test_what_fails_is_a_row_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("lost\nkey")

    monkeypatch.setattr(NullBackend, "load", broken)
    said: list[str] = []
    wanted = MatrixOptions((tiny(tmp_path), "nonet"), ("nochip", "edgetpu", "null"), precision="fp32", raw=True)
    rows = run_matrix(wanted, tmp_path / "out", said.append).pairs
    assert [(row.network, row.target, row.verdict) for row in rows] == [
        ("tiny", "nochip", "refused"),
        ("tiny", "edgetpu", "refused"),
        ("tiny", "null", "failed"),
        ("nonet", "nochip", "refused"),
        ("nonet", "edgetpu", "refused"),
        ("nonet", "null", "refused"),
    ]
    assert "target 'nochip' is unknown" in rows[0].reason
    assert "it computes in int8. Choose --precision int8 or auto." in rows[1].reason
    assert rows[2].reason.startswith("KeyError: ")
    assert "spec 'nonet' is not in the zoo" in rows[3].reason
    assert all("\n" not in row.reason for row in rows)
    assert any("tiny for null: failed" in line for line in said)


def test_a_refusal_tells_what_the_backend_says_to_every_kernel(tmp_path: Path) -> None:
    path = Path(tiny(tmp_path))
    path.write_text(path.read_text().replace("kind: fused, out: 8", "kind: fused, out: 8, activation: hard-swish"))
    (row,) = run_matrix(options(str(path), "edgetpu"), tmp_path / "out").pairs
    assert row.verdict == "refused"
    assert "hard_swish" in row.reason
    assert [block.block for block in row.blocks if block.fallbacks] == ["C2/b0.fused"]
    assert "HARD_SWISH is none of its operators" in row.blocks[1].fallbacks[0]


def test_a_folder_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, out = tiny(tmp_path), tmp_path / "out"
    compiled: list[str] = []
    whole = pair.compile_pair

    def counted(job: Job, *others: object) -> object:
        compiled.append(f"{job.target.name} {job.precision}")
        return whole(job, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("mdcompiler.matrix.run.compile_pair", counted)
    first = run_matrix(options(spec, "null"), out)
    assert run_matrix(options(spec, "null"), out) == first
    assert compiled == ["null fp32"], "the same pair is there"
    run_matrix(options(spec, "null", blocks=False), out)
    assert compiled == ["null fp32"], "another question to the same artifact"
    run_matrix(options(spec, "null", seed=1), out)
    assert compiled == ["null fp32"] * 2, "other weights"
    (out / "pairs" / "tiny-null-fp32" / "model.onnx").write_bytes(b"damaged")
    run_matrix(options(spec, "null", seed=1), out)
    assert compiled == ["null fp32"] * 3
    (out / "pairs" / "tiny-null-fp32.json").write_text(json.dumps({"key": 5}))
    run_matrix(options(spec, "null", seed=1), out)
    assert compiled == ["null fp32"] * 4, "a record that says nothing is none"


def test_networks_are_quantized_once_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    whole = Job.prepare

    def counted(self: Job, module: Module) -> None:
        prepared.append(self.target.scheme)
        whole(self, module)

    monkeypatch.setattr(Job, "prepare", counted)
    matrix = run_matrix(options(tiny(tmp_path), "edgetpu,ethos-u55-256,edgetpu-qat"), tmp_path / "out")
    assert prepared == ["edgetpu-ptq", "edgetpu-qat"]
    assert [(row.verdict, row.steps) for row in matrix.pairs] == [("bit for bit", 0)] * 3
    assert [row.how for row in matrix.pairs] == ["", "estimated", ""]
    assert matrix.pairs[0].predicted_chip == "coral-edgetpu"
    assert any("4 inputs of noise" in note for note in matrix.notes)


@dataclass(frozen=True)
class _LatePass:
    name: ClassVar[str] = "late"
    stage: ClassVar[Stage] = "place"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        return 0


def test_a_network_prepared_for_one_target_is_placed_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass of the second target's backend may ask for one that ran for the first."""
    monkeypatch.setattr(NullBackend, "passes", lambda self, target: (_LatePass(),))
    targets = [tmp_path / f"{name}.yaml" for name in "ab"]
    for path in targets:
        path.write_text(f"{{name: {path.stem}, backend: 'null'}}")
    rows = run_matrix(options(tiny(tmp_path), ",".join(map(str, targets))), tmp_path / "out").pairs
    assert [row.reason for row in rows] == ["", ""]
    assert {row.verdict for row in rows} <= {"bit for bit", "tolerance"}


def test_a_target_may_have_a_precision_of_its_own(tmp_path: Path) -> None:
    wanted = options(tiny(tmp_path), "null,null:fp32,edgetpu:fp32,null:fp16")
    rows = run_matrix(wanted, tmp_path / "out").pairs
    assert [(row.target, row.precision) for row in rows][:2] == [("null", "fp32"), ("null:fp32", "fp32")]
    assert "compiling for edgetpu in fp32" in rows[2].reason
    assert "target 'null:fp16' is unknown" in rows[3].reason


def test_two_networks_of_one_name_are_two(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    specs = tiny(tmp_path / "a"), tiny(tmp_path / "b")
    matrix = run_matrix(MatrixOptions(specs, ("null",), raw=True), tmp_path / "out")
    assert [row.network for row in matrix.pairs] == ["tiny", "tiny.2"]
    assert {path.name for path in (tmp_path / "out" / "pairs").iterdir() if path.is_dir()} == {
        "tiny-null-fp32",
        "tiny.2-null-fp32",
    }


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match=r"out is a file\. Give the path of a folder"):
        run_matrix(options(tiny(tmp_path), "null"), tmp_path / "out")


def test_calibration_data_are_used(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    np.savez(tmp_path / "pictures.npz", image=pictures)
    wanted = options(tiny(tmp_path), "edgetpu", calibration=tmp_path / "pictures.npz", allow_degraded=True)
    matrix = run_matrix(wanted, tmp_path / "out")
    assert matrix.notes == ()
    assert matrix.pairs[0].verdict == "bit for bit"
    missing = options(tiny(tmp_path), "edgetpu", calibration=tmp_path / "none")
    (row,) = run_matrix(missing, tmp_path / "out").pairs
    assert row.verdict == "refused"
    assert "none" in row.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"precision": "fp8"}, r"there is auto, fp32, int8"), ({"targets": ()}, "one network and one target at least")],
)
def test_options_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        MatrixOptions(**{"networks": ("a",), "targets": ("null",), **changes})  # type: ignore[arg-type]
