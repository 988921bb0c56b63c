"""The integer reference against ONNX Runtime's own integer kernels (QLinearConv, QLinearAdd, …).

Of uint8 schemes: for int8 depthwise convolutions its optimiser makes nodes that have no kernel on x86.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.quantization.steps import is_integer, read_steps
from mdcompiler.sampling import sample_inputs
from tests.quantization.networks import float_module, kernel_model, quantized
from tests.weights.small_spec import small_spec

runtime = pytest.importorskip("onnxruntime")
Array = NDArray[Any]


@pytest.mark.parametrize(("scheme", "share"), [("cpu", 0.001), ("hexagon-hvx", 0.01), ("edgetpu-qat", 0.01)])
def test_every_kernel_is_within_one(scheme: str, share: float, tmp_path: Path) -> None:
    module, _ = quantized(float_module(small_spec()), scheme)
    reference = IntegerReference(module, find_scheme(scheme))
    inputs = sample_inputs(module)
    values = {**inputs, **reference.run(inputs)}
    used: Counter[str] = Counter()
    differing = compared = 0
    for kernel in filter(is_integer, reference.kernels):
        if sum(step.operation != "move" for step in read_steps(kernel)) > 1:
            continue
        fed = {tensor.name: values[tensor.name] for tensor in kernel.inputs}
        got, ops = _run_optimised(kernel_model(module.graph, kernel), fed, tmp_path / "model.onnx")
        used += ops
        (name,) = (tensor.name for tensor in kernel.outputs)
        gap = np.abs(got[0].astype(np.int64) - values[name].astype(np.int64))
        assert gap.max() <= 1, kernel.name
        differing, compared = differing + int((gap > 0).sum()), compared + gap.size
    assert used["QLinearConv"] >= 20
    assert compared > 10_000
    assert differing <= share * compared, f"{differing} of {compared}"


def _run_optimised(model: onnx.ModelProto, inputs: dict[str, Array], path: Path) -> tuple[list[Array], Counter[str]]:
    """The outputs, and the operators ONNX Runtime really ran."""
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    # without it 16-bit sums of byte products may saturate on processors without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs), Counter(node.op_type for node in onnx.load(str(path)).graph.node)
