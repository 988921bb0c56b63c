"""Latency of one block on this machine: compiled alone as a small network, timed by its kernels' clock."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mdcompiler.array_files import write_arrays
from mdcompiler.backend import why_not_run
from mdcompiler.detector import Detector
from mdcompiler.errors import TargetError
from mdcompiler.kernel_kinds import KINDS
from mdcompiler.lowering.steps import write_step
from mdcompiler.lowering.writer import GraphWriter
from mdcompiler.operators import IR_VERSION, OPSET, attach_functions
from mdcompiler.quantization.options import Quantize
from mdcompiler.registry import backend
from mdcompiler.sampling import seeded_inputs
from mdcompiler.scratch import scratch_folder
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.target import Target

_INPUT = "source"
_SEED = 0
_SAMPLES = 2
_CONVERSIONS = ("quantize", "dequantize")
"""Kinds that a block by itself has at its ends only: inside a network integers go on."""


def check_runs_here(target: Target) -> None:
    """Raises TargetError with the reason when this machine cannot run what is compiled for `target`."""
    reason = why_not_run(backend(target.backend), target)
    if reason:
        raise TargetError(f"measuring blocks for {target.name}: {reason} Leave --measure out to predict instead.")


def describe_host(threads: int) -> str:
    """This processor and the threads of a call: measurements elsewhere are of another table."""
    return f"{_processor()}, {threads} thread{'s' * (threads > 1)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def measure_block(
    block: PlacedBlock, target: Target, runs: int = 30, threads: int = 1, precision: str = "fp32"
) -> float:
    """Microseconds of `block`: the least of `runs` runs, for what disturbs one run seldom disturbs all.

    precision: fp32 or int8, which is calibrated on noise. Kernels that compute are added up; those that a backend
    adds to bring tensors into its layout are left out, for inside a network blocks hand on tensors as they are.
    Raises TargetError where nothing times kernels: what an emulator takes is not what the machine does.
    """
    from mdcompiler.compiler import compile as compile_network

    with scratch_folder("block") as folder:
        path = folder / "block.onnx"
        onnx.save(block_model(block), path)
        calibration = _noise(block, folder / "noise.npz") if precision == "int8" else None
        artifact = compile_network(
            path, target, Path(folder) / "out", precision=precision, calibration=calibration, threads=1, check=False
        )
        with Detector.open(artifact, threads) as detector:
            return _least_us(detector, runs)


def _noise(block: PlacedBlock, path: Path) -> Quantize:
    """Latency does not depend on the numbers, so nothing that would improve them is run."""
    source = block.steps[0].source
    shape = (_SAMPLES, source.channels, *source.size)
    write_arrays(path, {_INPUT: np.random.default_rng(_SEED).normal(0, 1, shape).astype(np.float32)})
    return Quantize.plainly(path)


def _least_us(detector: Detector, runs: int) -> float:
    manifest = detector.artifact.manifest
    profile = getattr(detector.runnable, "profile", None)
    if profile is None:
        raise TargetError(
            f"measuring blocks for {manifest.target.name}: nothing here times its kernels. Give --chip to predict them."
        )
    inputs = seeded_inputs(manifest.inputs)
    # what a backend runs as one has a name of its own, so the left out are named, not the counted
    out = {kernel.name for kernel in manifest.kernels if kernel.kind not in KINDS or kernel.kind in _CONVERSIONS}
    least: int = min(sum(spent for name, spent in profile(inputs) if name not in out) for _ in range(runs))
    return least / 1e3


def block_model(block: PlacedBlock) -> onnx.ModelProto:
    """`block` as an ONNX model: `source` float32 [1, C, H, W] to every tensor that leaves it, seeded weights."""
    writer = GraphWriter()
    for step in block.steps:
        write_step(writer, step, _weights(block))
    source = block.steps[0].source
    for node in writer.nodes:
        for index, name in enumerate(node.input):
            if name == source.name:
                node.input[index] = _INPUT
    entry = helper.make_tensor_value_info(_INPUT, int(TensorProto.FLOAT), source.shape)
    graph = writer.graph("block", [entry], _outputs(writer))
    opsets = [helper.make_opsetid("", OPSET)]
    return attach_functions(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION))


def _outputs(writer: GraphWriter) -> list[str]:
    read = {name for node in writer.nodes for name in node.input}
    return [name for node in writer.nodes for name in node.output if name not in read]


def _weights(block: PlacedBlock) -> Mapping[str, NDArray[Any]]:
    """Small random filters; BatchNorm parts that neither blow up nor vanish."""
    random = np.random.default_rng(_SEED)
    return {
        name: np.ones(shape, np.float32) if "/bn/" in name else random.normal(0, 0.1, shape).astype(np.float32)
        for step in block.steps
        for name, shape in step.weights()
    }
