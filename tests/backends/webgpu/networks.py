"""Networks brought to the last stage before emission, for the tests of the webgpu backend."""

from __future__ import annotations

import onnx

from mdcompiler.backends.webgpu.backend import WebGpuBackend
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.spec import SearchSpace, Spec, weight_shapes
from mdcompiler.target import Target, find_target
from mdcompiler.weights import seeded_weights

TARGET = find_target("webgpu")
SMALL = SearchSpace.small().sample(4)


def placed(model: onnx.ModelProto, target: Target = TARGET) -> Module:
    """`model` fused and with its layouts chosen."""
    module, pipeline = Module.from_onnx(model, target), Pipeline()
    pipeline.run(module, [item for item in builtin_passes() if item.stage in ("read", "simplify", "fuse")])
    pipeline.run(module, WebGpuBackend().passes(target))
    return module


def network(spec: Spec = SMALL, raw: bool = True) -> onnx.ModelProto:
    """The network of a spec with seeded weights."""
    return lower(spec, seeded_weights(weight_shapes(spec), 0), raw=raw)
