"""The benchmark on a small network: every installed runtime, both precisions."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from mdcompiler.kernel import Kernel
from mdcompiler.reference import run_reference
from mdcompiler.spec import Spec, load_spec
from mdcompiler.target import find_target
from tests.benchmarks import c_start
from tests.benchmarks.peaks import Peaks
from tests.benchmarks.peer_models import UnavailableError, model_for, without_picture
from tests.benchmarks.peer_runtimes import OURS, PEERS, RUNTIMES
from tests.benchmarks.peers import measure, usable_models
from tests.benchmarks.result import Result
from tests.benchmarks.roofline import merged, placed_kernels, roofs, times_by_part
from tests.benchmarks.subjects import PRECISIONS, Subject, prepare
from tests.benchmarks.traffic import Part, parts

RUNS = 20
CPU = find_target("cpu")


def small_spec() -> Spec:
    return load_spec("mobiledet-cpu").with_(width=0.25, height=64, width_px=64)


@pytest.fixture(scope="module", params=PRECISIONS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("subject")
    made = prepare(small_spec(), request.param, folder)
    np.save(folder / "image.npy", made.image)
    return made


def test_every_installed_runtime_agrees_and_is_measured(subject: Subject, capsys: pytest.CaptureFixture[str]) -> None:
    folder = subject.model.parent
    models = usable_models(subject, PEERS, folder, None)
    left_out = capsys.readouterr().err
    results = {item.runtime: item for item in measure(subject, 1, RUNS, models, folder)}
    assert set(results) == set(models)
    assert OURS in results
    for name in set(PEERS) - set(models):
        assert f"{name} left out: " in left_out
    for item in results.values():
        check_result(item)
    ours = results[OURS]
    assert (ours.difference == "equal") >= (subject.precision == "int8")
    assert ours.c_start is not None
    assert ours.arena_bytes is not None


def check_result(item: Result) -> None:
    assert len(item.times_ms) == len(item.cpu_ms) == RUNS
    assert min(item.times_ms) > 0
    assert not item.is_wrong, f"{item.runtime}: {item.difference}"
    assert item.busy_threads == 1, f"{item.runtime} was told to use one thread"
    assert item.peak_mib > item.added_mib > 0
    assert item.file_bytes > 0


def test_who_is_not_installed_is_named_with_the_command(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tests.benchmarks.peer_models.find_spec", lambda name: None if name == "ncnn" else find_spec(name)
    )
    with pytest.raises(UnavailableError, match=r"not installed \(pip install ncnn && pip install --no-deps pnnx\)"):
        model_for("ncnn", subject, subject.model.parent)


def test_a_tflite_file_is_taken_from_a_folder(subject: Subject, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES["litert"].module)
    name = f"{subject.network}.{subject.precision}.tflite"
    with pytest.raises(UnavailableError, match=f"put {name} into a folder and give --tflite"):
        model_for("litert", subject, tmp_path, tmp_path)
    (tmp_path / name).write_bytes(b"")
    assert model_for("litert", subject, tmp_path, tmp_path) == tmp_path / name


def test_planes_give_what_the_picture_gives(subject: Subject) -> None:
    if subject.precision == "int8":
        pytest.skip("a quantized graph starts with bytes")
    planes = np.ascontiguousarray(subject.image.transpose(0, 3, 1, 2)).astype(np.float32)
    got = run_reference(without_picture(onnx.load(str(subject.model))), {"image": planes})
    for name, want in run_reference(onnx.load(str(subject.model)), {"image": subject.image}).items():
        assert np.array_equal(got[name], want)


def test_a_c_program_starts(subject: Subject) -> None:
    start = c_start.measure(subject.artifact, times=1)
    assert min(start.load_ms, start.first_run_ms, start.run_ms) > 0
    assert start.peak_kib * 1024 > subject.artifact.manifest.facts["constants_bytes"]  # type: ignore[operator]


@pytest.fixture(scope="module")
def items(subject: Subject) -> list[Kernel]:
    return placed_kernels(small_spec(), subject, "cpu")


def test_a_block_moves_no_less_than_it_must(items: list[Kernel], subject: Subject) -> None:
    blocks = parts(items, lambda item: item.block, CPU)
    assert sum(block.macs for block in blocks) == sum(item.macs for item in subject.artifact.manifest.kernels)
    assert sum(block.kernels for block in blocks) == len(items)
    assert all(0 < block.must_bytes <= block.moved_bytes for block in blocks)
    (everything,) = parts(items, lambda _: "all", CPU)
    tensors = [*subject.expected.values(), subject.image]
    constants = everything.must_bytes - sum(item.nbytes for item in tensors)
    assert constants == pytest.approx(subject.artifact.manifest.facts["constants_bytes"], rel=0.25)


def test_a_chain_inside_a_part_stays_inside(items: list[Kernel]) -> None:
    chain = [item for item in items if item.block == "C3/b0.ibn"]
    (whole,) = parts(chain, lambda item: item.block, CPU)
    handed = [tensor for item in chain for tensor in item.outputs][:-1]
    size = sum(int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize for tensor in handed)
    assert whole.moved_bytes - whole.must_bytes == 2 * size


def test_times_go_to_parts_and_strangers_to_their_block(items: list[Kernel]) -> None:
    least = {item.name: 1000 for item in items} | {"C3/b0.ibn/fused": 500}
    spent = times_by_part(items, least, lambda item: item.block)
    count = sum(item.block == "C3/b0.ibn" for item in items)
    assert spent["C3/b0.ibn"] == pytest.approx(count * 1e-6 + 0.5e-6)
    assert sum(spent.values()) == pytest.approx(len(items) * 1e-6 + 0.5e-6)


PEAKS = Peaks(float_macs=1e9, byte_macs=4e9, read_bytes={1000: 1e9, 100_000: 1e8})


def test_a_part_stands_under_the_higher_roof() -> None:
    busy, idle = Part("busy", 1, 2_000_000, 500, 500), Part("idle", 1, 0, 2000, 4000)
    first, second = roofs([busy, idle], {"busy": 4e-3, "idle": 1e-4}, PEAKS, "fp32")
    assert [first.bound, second.bound] == ["compute", "memory"]
    assert [first.share_of_roof, second.share_of_roof] == pytest.approx([0.5, 0.2])
    (integers,) = roofs([busy], {"busy": 4e-3}, PEAKS, "int8")
    assert integers.share_of_roof == pytest.approx(0.125)
    (both,) = merged([first, second], lambda _: "both")
    assert both.part == Part("both", 2, 2_000_000, 2500, 4500)
    assert [both.seconds, both.compute_s, both.memory_s] == pytest.approx([4.1e-3, 2e-3, 2.05e-5])


def test_bandwidth_is_that_of_the_smallest_cache_that_fits() -> None:
    assert [PEAKS.bandwidth(size) for size in (1, 1000, 1001, 10**9)] == [1e9, 1e9, 1e8, 1e8]
