"""ONNX files: damaged bytes, changed graphs, weights beside the file, and some compiled to the end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import onnx
from onnx import TensorProto

from mdcompiler.compiler import Job
from mdcompiler.conformance import MODELS
from mdcompiler.conformance.quantize_model import quantize_model
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.read_network import Request
from mdcompiler.target import Target, find_target
from tests.fuzz.command_line import mdc
from tests.fuzz.kind import Kind
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.mutate_model import external, mutate_model
from tests.fuzz.outcome import Outcome
from tests.graphs import Sketch, detector_like


def _classifier() -> onnx.ModelProto:
    net = Sketch(seed=4)
    data = net.input("input", [1, 3, 8, 8])
    data = net.norm("/stem", net.conv("/stem", data, (3, 4), 3, strides=[2, 2]), 4)
    data = net.node("MaxPool", "/pool", net.node("Relu", "/relu", data), kernel_shape=[2, 2], strides=[2, 2])
    data = net.node("Flatten", "/flatten", data, axis=1)
    weight = net.weight("fc.weight", net.random.normal(0, 0.3, (5, 16)).astype(np.float32))
    return net.model(net.node("Softmax", "/softmax", net.node("Gemm", "/fc", data, weight, transB=1), axis=-1))


def _old_opset() -> onnx.ModelProto:
    net = Sketch(seed=5, opset=11)
    data = net.input("input", [1, 4, 6, 6])
    scales = net.weight("scales", np.array([1, 1, 2, 2], np.float32))
    roi = net.weight("roi", np.zeros(0, np.float32))
    data = net.node("Resize", "/up", data, roi, scales, mode="linear", coordinate_transformation_mode="half_pixel")
    data = net.node("ReduceMean", "/mean", data, axes=[2, 3], keepdims=1)
    return net.model(net.node("Squeeze", "/squeeze", data, axes=[2, 3]))


def _shuffles() -> onnx.ModelProto:
    net = Sketch(seed=6, opset=18)
    data = net.input("input", [1, 4, 6, 6])
    starts, ends = net.weight("starts", np.array([0, 1])), net.weight("ends", np.array([4, 5]))
    axes, steps = net.weight("axes", np.array([2, 3])), net.weight("steps", np.array([1, 2]))
    cut = net.node("Slice", "/slice", data, starts, ends, axes, steps)
    padded = net.node("Pad", "/pad", cut, net.weight("pads", np.array([0, 0, 1, 0, 0, 0, 0, 1])), mode="edge")
    picked = net.node("Gather", "/gather", padded, net.weight("indices", np.array([3, 0, -1])), axis=1)
    joined = net.node("Concat", "/concat", picked, padded, axis=1)
    shape = net.weight("shape", np.array([1, 7, -1]))
    rows = net.node("Reshape", "/reshape", joined, shape)
    return net.model(net.node("Transpose", "/transpose", rows, perm=[0, 2, 1]), joined)


def _integers() -> onnx.ModelProto:
    net = Sketch(seed=7, opset=13)
    data = net.input("input", [1, 5], TensorProto.INT64)
    data = net.node("Cast", "/cast", net.node("Add", "/add", data, net.weight("one", np.int64(1))), to=1)
    scale, zero = net.weight("scale", np.float32(0.1)), net.weight("zero", np.uint8(3))
    data = net.node("QuantizeLinear", "/q", data, scale, zero)
    return net.model(net.node("DequantizeLinear", "/dq", data, scale, zero))


def _fused(model: onnx.ModelProto, quantize: bool) -> onnx.ModelProto:
    """A file as the toolkit writes it between its stages: its marks, functions and metadata."""
    module = module_from_model(model, find_target("cpu"))
    Pipeline().run(module, [item for item in builtin_passes() if item.stage in ("simplify", "fuse")])
    if quantize:
        quantize_model(module)
    return module.to_onnx()


@functools.cache
def models() -> Sequence[bytes]:
    """Small networks as other exporters write them, and as the toolkit does."""
    plain: Sequence[Callable[[], onnx.ModelProto]] = (
        _classifier,
        _old_opset,
        _shuffles,
        _integers,
        MODELS["two-heads"],
    )
    own = (_fused(MODELS["inverted-bottleneck"](), False), _fused(detector_like(), True))
    return [model.SerializeToString() for model in (*(build() for build in plain), *own)]


@functools.cache
def _target() -> Target:
    return find_target("cpu")


def _through_passes(file: Path) -> object:
    return Job(Request(file), _target(), check=False, threads=1).graph_after("place")


def _compile(file: Path) -> Outcome:
    return mdc("compile", file, "-o", file.parent / "artifact", "--threads", "1", "--target", "cpu")


def _with_weights_beside(random: Random, data: bytes) -> bytes:
    """Some weights lie in `data.bin`; what says where is odd."""
    model = onnx.ModelProto.FromString(data)
    if not model.graph.initializer:
        return mutate_model(random, data)
    external(random, random.choice(model.graph.initializer))
    return bytes(model.SerializeToString())


def _read_beside(file: Path) -> object:
    (file.parent / "data.bin").write_bytes(bytes(range(256)) * 4)
    return _through_passes(file)


KINDS = (
    Kind("onnx-bytes", "m.onnx", models, mutate_bytes, _through_passes, 60),
    Kind("onnx-graph", "m.onnx", models, mutate_model, _through_passes, 160),
    Kind("onnx-external", "m.onnx", models, _with_weights_beside, _read_beside, 30),
    Kind("onnx-compile", "m.onnx", models, mutate_model, _compile, 1),
)
