"""Small quantized networks for the tests of quantization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import helper

from mdcompiler.kernel import Kernel
from mdcompiler.lower import lower
from mdcompiler.module import Module, export
from mdcompiler.operators import attach_functions
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.pipeline import Pipeline
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import Precision, find_scheme
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec import Spec
from mdcompiler.target import find_target
from mdcompiler.weights import weights_for

Array = NDArray[Any]
FUSED = [item for item in builtin_passes() if item.stage in ("simplify", "fuse")]


def float_module(spec: Spec, raw: bool = True, move: bool = True) -> Module:
    """The network of `spec` with seeded weights, as it is when quantization begins."""
    module = Module.from_onnx(lower(spec, weights_for(spec), raw), find_target("x86-64-v3"))
    Pipeline(verify=0).run(module, FUSED)
    if move:
        MoveSigmoid().run(module)
    return module


def observe(module: Module, names: Iterable[str]) -> dict[str, tuple[float, float]]:
    """The range of each tensor on one seeded picture."""
    values = run_with(module, {name: np.dtype(np.float32) for name in names}, sample_inputs(module))
    return {name: (float(array.min()), float(array.max())) for name, array in values.items()}


def run_with(module: Module, outputs: Mapping[str, np.dtype[Any]], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The named tensors of `module` under ONNX Runtime."""
    model = module.to_onnx()
    del model.graph.output[:]
    for name, dtype in outputs.items():
        model.graph.output.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), None))
    return run_reference(model, inputs)


def quantized(
    module: Module, scheme: str = "cpu", precision: Mapping[str, Precision] | None = None
) -> tuple[Module, InsertQdq]:
    """`module` after insert-qdq with the ranges of one picture; and the pass."""
    rules = find_scheme(scheme)
    ranges = observe(module, tensors_to_calibrate(module.graph, rules, precision=precision))
    item = InsertQdq(Parameters(ranges), precision or {}, scheme=rules)
    assert item.run(module) > 0
    return module, item


def kernel_model(graph: gs.Graph, kernel: Kernel) -> onnx.ModelProto:
    """One kernel as a model of its own."""
    part = gs.Graph(list(kernel.nodes), list(kernel.inputs), list(kernel.outputs), name="part", opset=graph.opset)
    model = attach_functions(export(part))
    model.ir_version = 10
    return model


def decibel(want: Array, got: Array) -> float:
    """Signal to noise."""
    noise = float(np.linalg.norm(want - got))
    return 20 * float(np.log10(float(np.linalg.norm(want)) / max(noise, 1e-12)))
