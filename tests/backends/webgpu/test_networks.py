"""Whole float networks through the webgpu backend, run as WGSL and compared with the reference."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mdcompiler
from mdcompiler.backend import block_costs, input_specs, output_specs
from mdcompiler.backends.webgpu.backend import WebGpuBackend
from mdcompiler.errors import InputError
from mdcompiler.kernel import kernels
from mdcompiler.progress import silent
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec import load_spec
from mdcompiler.target import Target, find_target
from mdcompiler.tolerance import tolerance_of, within_float_tolerance
from tests.backends.gpu.shaders import needs_device
from tests.backends.webgpu.networks import SMALL, TARGET, network, placed
from tests.graphs import Sketch, detector_like

pytestmark = needs_device
TARGETS = [TARGET, find_target("webgpu-fp16")]


def check(model: onnx.ModelProto, folder: Path, target: Target = TARGET) -> None:
    """Compile `model`, run it, and compare every output with the reference."""
    module, backend = placed(model, target), WebGpuBackend()
    inputs = dict(sample_inputs(module))
    expected = run_reference(model, inputs)
    assert not [k.name for k in kernels(module.graph) if backend.why_not(k, module.target)]
    for name, content in backend.emit(module, silent, 1).files.items():
        (folder / name).write_bytes(content)
    loaded = backend.load(folder, {"inputs": input_specs(module), "outputs": output_specs(module)}, 1)
    try:
        got = loaded.run(inputs)
    finally:
        loaded.close()
    assert list(got) == [output.name for output in model.graph.output]
    for name, want in expected.items():
        assert np.ptp(want) > 0, "the reference must not be flat"
        assert within_float_tolerance(got[name], want, tolerance_of(target.dtypes)), name


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_small_network(target: Target, tmp_path: Path) -> None:
    skip_without(target)
    check(network(), tmp_path, target)


def skip_without(target: Target) -> None:
    """Skip where the device lacks what `target` needs."""
    if reason := WebGpuBackend().why_not_run(target):
        pytest.skip(reason)


def pieces() -> onnx.ModelProto:
    """What detectors of the zoo lack: float input, pooling, a sum with its activation, copies into a join, a mean."""
    net = Sketch(seed=1)
    data = net.conv("/stem", net.input("input", [1, 3, 20, 20]), (3, 10), 3, strides=[2, 2])
    data = net.node("MaxPool", "/maxpool", data, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    total = net.node("Add", "/add", net.conv("/left", data, (10, 10), 3), net.node("Relu", "/right", data))
    total = net.node("HardSwish", "/act", total)
    mean = net.node("Flatten", "/flat", net.node("GlobalAveragePool", "/mean", total), axis=1)
    plain = net.node("Flatten", "/plain", total, axis=1)
    return net.model(net.node("Concat", "/join", net.node("Sigmoid", "/gate", mean), plain, axis=1))


@pytest.mark.parametrize("model", [pieces, detector_like], ids=lambda model: model.__name__)
def test_networks_of_other_exporters(model: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    check(model(), tmp_path)


ZOO = ("mobiledet-cpu", "mobiledet-dsp", "mobiledet-edgetpu", "mobiledet-gpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "name"),
    # the software device translates each network's shaders for 20 s, so float16 has the two with most kinds of block
    [*((TARGETS[0], name) for name in ZOO), *((TARGETS[1], name) for name in ZOO[:2])],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_zoo(name: str, target: Target, tmp_path: Path) -> None:
    skip_without(target)
    check(network(load_spec(name).with_(height=97, width_px=80)), tmp_path, target)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> mdcompiler.Artifact:
    """A detector; it was compared with the reference before it took its place."""
    return mdcompiler.compile(SMALL, "webgpu", tmp_path_factory.mktemp("webgpu") / "out", threads=1)


def test_a_detector_is_checked_when_it_is_compiled(artifact: mdcompiler.Artifact) -> None:
    manifest = artifact.manifest
    assert manifest.check == ""
    assert all(kernel.fallback is None for kernel in manifest.kernels)
    names = {entry.name for entry in manifest.files}
    assert names == {"model.wgsl", "model.json", "weights.bin", "run.mjs", "index.html", "check.safetensors"}


def test_the_manifest_states_the_memory(artifact: mdcompiler.Artifact) -> None:
    facts: Any = artifact.manifest.facts
    assert facts["arena_bytes"] >= facts["arena_lower_bound_bytes"] > 0
    assert 0 < facts["workgroup_bytes"] <= 16384
    assert 32 <= facts["workgroup_threads"] <= 256
    assert (artifact.directory / "weights.bin").stat().st_size == facts["constants_bytes"]


def test_blocks_have_estimated_costs(artifact: mdcompiler.Artifact) -> None:
    costs = block_costs(WebGpuBackend(), artifact)
    assert costs is not None
    assert (costs.unit, costs.how) == ("clocks", "estimated")
    blocks = {kernel.block for kernel in artifact.manifest.kernels if kernel.macs}
    assert blocks <= set(costs.blocks)
    assert all(amount > 0 for amount in costs.blocks.values())


def test_half_the_bytes(tmp_path: Path, artifact: mdcompiler.Artifact) -> None:
    """float16 weights and activations, checked against the reference by `compile` itself."""
    skip_without(TARGETS[1])
    half = mdcompiler.compile(SMALL, "webgpu-fp16", tmp_path / "out", threads=1)
    assert half.manifest.check == ""
    facts: Any = half.manifest.facts
    full: Any = artifact.manifest.facts
    assert facts["constants_bytes"] < 0.7 * full["constants_bytes"]
    assert (half.directory / "model.wgsl").read_text().startswith("// Generated by mdcompiler.\nenable f16;\n")


def test_calls_from_several_threads_do_not_mix(artifact: mdcompiler.Artifact) -> None:
    shape = artifact.manifest.inputs[0].shape
    pictures = [np.full(shape, level, np.uint8) for level in (0, 90, 255)]
    with artifact.load() as detector:
        alone = [detector.run({"image": picture}) for picture in pictures]
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(lambda picture: detector.run({"image": picture}), pictures * 2))
    assert len({result["scores"].tobytes() for result in alone}) == len(alone), (
        "the pictures must give different results"
    )
    for got, want in zip(together, alone * 2, strict=True):
        assert all(np.array_equal(got[name], want[name]) for name in want)


def test_a_wrong_input_is_refused(artifact: mdcompiler.Artifact) -> None:
    with artifact.load() as detector, pytest.raises(InputError, match="'image' is float32"):
        detector.run({"image": np.zeros(artifact.manifest.inputs[0].shape, np.float32)})
