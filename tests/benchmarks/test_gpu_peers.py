"""The GPU benchmark without a GPU: its arguments, its processes with our artifact on the fake driver, its report."""

from __future__ import annotations

import json
import platform
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from mdcompiler.backends.cuda.toolchain import why_missing
from mdcompiler.compiler import Job
from mdcompiler.read_network import Request
from mdcompiler.reference import run_reference
from mdcompiler.spec import load_spec
from mdcompiler.target import find_target
from tests.backends.cuda.conftest import target_here
from tests.backends.cuda.emulate import emulated_kernels, fake_driver
from tests.benchmarks import gpu_peers
from tests.benchmarks.agreement import WRONG
from tests.benchmarks.gpu_device import DeviceState, parse_device, parse_memory
from tests.benchmarks.gpu_process import GpuProcess
from tests.benchmarks.gpu_result import Contest, GpuResult, as_json, report
from tests.benchmarks.gpu_runtimes import GPU_PEERS
from tests.benchmarks.half_model import half_model
from tests.benchmarks.peer_models import UnavailableError
from tests.benchmarks.peer_runtimes import OURS
from tests.benchmarks.subjects import Subject, prepare

SPEC = load_spec("mobiledet-cpu").with_(width=0.25, height=64, width_px=64)


def made_up(runtime: str, times: tuple[float, ...], difference: str = "equal") -> GpuResult:
    return GpuResult("mobiledet-gpu", "fp16", runtime, times, 1500.0, difference, 312.0 if runtime == OURS else None)


STATE = DeviceState("GPU X", "580.1", "1830 MHz", "2619 MHz", "1980 MHz", "120 W", "41")
CONTEST = Contest(
    results=(
        made_up(OURS, (1.0, 1.2, 1.1)),
        made_up("torch", (2.0, 2.2, 2.4), "1.0e-03 of the range"),
        made_up("onnxruntime-cuda", (0.5, 0.5, 0.5), f"9.0e-01 of the range {WRONG}"),
    ),
    before=STATE,
    after=DeviceState(),
    left_out={"onnxruntime-tensorrt": "not installed (pip install x)"},
)


def test_the_report_names_times_memory_clocks_and_who_is_absent() -> None:
    text = report([CONTEST])
    assert CONTEST.ratio == pytest.approx(1.1 / 2.2), "a wrong runtime is nobody's target"
    assert "### mobiledet-gpu, fp16: 0.50 of the best peer's time" in text
    assert f"| {OURS} | 1.100 | 1.000 |  | 1.5 | 312 | equal |" in text
    assert "| torch | 2.200 | 2.000 |  | 1.5 | unknown | 1.0e-03 of the range |" in text
    assert "onnxruntime-tensorrt left out: not installed (pip install x)" in text
    assert "before: GPU X, driver 580.1, 1830 MHz of 1980 MHz, memory at 2619 MHz, 120 W, 41 °C" in text
    assert "after: unknown: there is no nvidia-smi here" in text
    assert text.endswith("mobiledet-gpu fp16: ratio 0.50")
    assert json.loads(as_json([CONTEST]))[0]["results"][0]["times_ms"] == [1.0, 1.2, 1.1]


def test_without_a_right_peer_there_is_no_ratio() -> None:
    assert np.isnan(Contest((made_up(OURS, (1.0,)),), STATE, STATE, {}).ratio)


def test_what_nvidia_smi_prints_is_read() -> None:
    line = "NVIDIA H100, 580.1, 345 MHz, 2619 MHz, 1980 MHz, 71.2 W, 31\n"
    assert parse_device(line) == DeviceState("NVIDIA H100", "580.1", "345 MHz", "2619 MHz", "1980 MHz", "71.2 W", "31")
    assert parse_device("what?\n") == DeviceState()
    assert parse_memory("12, 300 MiB\n1234, 512 MiB\n", 1234) == 512.0
    assert parse_memory("1234, [N/A]\n", 1234) is None


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MDC_LIBCUDA", str(tmp_path / "none.so"))
    with pytest.raises(SystemExit, match=r"there is nothing to measure: .*none\.so .*cannot be opened"):
        gpu_peers.main(["mobiledet-gpu"])


@pytest.mark.parametrize(
    ("capability", "target"), [("7.2", "jetson-xavier"), ("8.9", "jetson-orin"), ("9.0", "h100"), ("12.0", "h100")]
)
def test_the_target_of_a_gpu(capability: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", capability)
    assert gpu_peers.target_of_this_gpu().name == target


def test_a_gpu_that_is_too_old_has_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", "5.3")
    with pytest.raises(SystemExit, match=r"no target for compute capability 5\.3"):
        gpu_peers.target_of_this_gpu()


def test_a_worker_that_cannot_load_says_why(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(UnavailableError, match=r"ArtifactError: opening .*nowhere"):
        GpuProcess(OURS, tmp_path / "nowhere", ["y"], tmp_path)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="threads are emulated on x86-64 only")
def test_our_artifact_is_compared_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the fake driver: the times mean nothing, the rest is as on a GPU."""
    if why_missing():
        pytest.skip(why_missing())
    monkeypatch.setattr(gpu_peers, "find_target", lambda name: target_here(name))
    subject = gpu_peers.subject_for(SPEC, "fp16", tmp_path, "jetson-orin")
    np.save(tmp_path / "image.npy", subject.image)
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    kernels = emulated_kernels(subject.artifact.directory / "model.cu", tmp_path / "kernels.so")
    monkeypatch.setenv("FAKE_CUDA_KERNELS", str(kernels))
    models, left_out = gpu_peers.models_for(subject, SPEC, GPU_PEERS, tmp_path)
    contest = gpu_peers.measure(subject, {OURS: models[OURS]}, tmp_path, 30)
    assert len(contest.ours.times_ms) == 40
    assert not contest.ours.is_wrong
    assert contest.ours.kernels_ms
    assert set(left_out) | set(models) == {OURS, *GPU_PEERS}


def test_wrong_outputs_of_ours_end_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = prepare(SPEC, "fp32", tmp_path, "null")
    np.save(tmp_path / "image.npy", good.image)
    wrong = {name: array + 1 for name, array in good.expected.items()}
    subject = Subject(good.network, good.precision, good.model, good.artifact, good.image, wrong, good.allowed)
    with pytest.raises(SystemExit, match="box_encodings is wrong"):
        gpu_peers.measure(subject, {OURS: subject.artifact.directory}, tmp_path, 1)


def test_half_precision_for_other_runtimes(tmp_path: Path) -> None:
    subject = prepare(SPEC, "fp32", tmp_path, "null")
    half = half_model(onnx.load(str(subject.model)))
    onnx.checker.check_model(half, full_check=True)
    types = {item.data_type for item in half.graph.initializer}
    assert onnx.TensorProto.FLOAT not in types
    got = run_reference(half, {"image": subject.image})
    for name, want in subject.expected.items():
        assert got[name].dtype == np.float32
        assert 0 < np.abs(got[name] - want).max() < 0.02 * np.ptp(want)


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("network", ["mobiledet-gpu", "mobiledet-dsp", "mobiledet-cpu"])
def test_the_network_for_torch(network: str) -> None:
    import torch

    from tests.benchmarks.torch_network import torch_function

    spec = load_spec(network).with_(width=0.25, height=64, width_px=64)
    model = Job(Request(spec, raw=True), find_target("null")).graph_after("simplify").to_onnx()
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        outputs = torch_function(model, "cpu", half=False)(torch.from_numpy(image))
    for want, got in zip(run_reference(model, {"image": image}).values(), outputs, strict=True):
        np.testing.assert_allclose(got.numpy(), want, atol=1e-4 * np.ptp(want))
