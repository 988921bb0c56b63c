"""A curve, an operation or a rounding that nobody knows is an error in every generator, never the identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from mdcompiler.backends.gpu import channelwise as gpu_channelwise
from mdcompiler.backends.gpu import window as gpu_window
from mdcompiler.backends.gpu.convolution import GpuConvolution, GpuTile
from mdcompiler.backends.gpu.write_convolution import write_convolution as write_gpu_convolution
from mdcompiler.backends.kernels import channelwise, depthwise
from mdcompiler.backends.kernels.activation import CURVES, Curve
from mdcompiler.backends.kernels.convolution import Tile, write_convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.requantize import rescale as rescale_vector
from mdcompiler.backends.kernels.tir import splat
from mdcompiler.backends.kernels.winograd import WinogradTile
from mdcompiler.backends.kernels.winograd_multiply import write_winograd_multiply
from mdcompiler.errors import InternalError
from mdcompiler.lowering.steps import write_activation
from mdcompiler.lowering.writer import GraphWriter
from mdcompiler.quantization import steps as integer_steps
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.no_wrap import check_no_wrap
from mdcompiler.quantization.rounding import rescale
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.registry import backend
from mdcompiler.target import find_target
from tests.backends.convolution_problem import convolution, same
from tests.backends.edgetpu.detectors import detector
from tests.quantization.networks import float_module, quantized

INVENTED = "softer"
CURVE = Curve(INVENTED)
GEOMETRY = same((5, 5), 3, 1)
WORK = convolution(8, 8, GEOMETRY, activation=CURVE)
GPU_WORK = replace(WORK, lanes=4)

CURVES_WRITTEN: dict[str, Callable[[], Any]] = {
    "convolution": lambda: write_convolution("f", WORK, Tile(1, 1)),
    "winograd": lambda: write_winograd_multiply("f", WORK, WinogradTile(2, 1, 1)),
    "depthwise": lambda: depthwise.write_window("f", Window(GEOMETRY, 8, 8, CURVE), 1),
    "dense": lambda: channelwise.write_dense("f", 8, 1, 8, CURVE),
    "add": lambda: channelwise.write_add("f", 64, 8, CURVE),
    "activation": lambda: channelwise.write_activation("f", 64, 8, CURVE),
    "gpu convolution": lambda: write_gpu_convolution("f", GpuConvolution(GPU_WORK), GpuTile(16, 8, 2, 4, 2)),
    "gpu dense": lambda: gpu_channelwise.write_dense("f", 2, 2, CURVE, "float32"),
    "gpu add": lambda: gpu_channelwise.write_add("f", 64, CURVE, "float32"),
    "gpu activation": lambda: gpu_channelwise.write_activation("f", 64, CURVE, "float32"),
}


@pytest.mark.parametrize("name", CURVES_WRITTEN)
def test_an_invented_curve_is_written_by_no_template(name: str) -> None:
    with pytest.raises(InternalError, match=f"'{INVENTED}'.*hard_swish"):
        CURVES_WRITTEN[name]()


@pytest.mark.parametrize("kind", CURVES)
def test_every_known_curve_is_written(kind: str) -> None:
    assert channelwise.write_activation("f", 64, 8, Curve(kind, 0.0, 6.0)) is not None


@pytest.mark.parametrize("write", [depthwise.write_window, gpu_window.write_window])
def test_a_window_is_a_sum_or_a_maximum(write: Callable[..., Any]) -> None:
    work = Window(GEOMETRY, 8, 4, operation=cast("Any", "average"))
    more = (1,) if write is depthwise.write_window else ("float32", gpu_window.WindowTile(1, 1, 1, 1))
    with pytest.raises(InternalError, match="'average'"):
        write("f", work, *more)


def test_lowering_knows_its_activations() -> None:
    with pytest.raises(InternalError, match=f"'{INVENTED}'.*relu6"):
        write_activation(GraphWriter(), cast("Any", INVENTED), "C1/b0", "x", (1, 8, 5, 5))


def test_roundings_are_known() -> None:
    with pytest.raises(InternalError, match=f"'{INVENTED}'"):
        rescale(np.arange(4), 0.5, cast("Any", INVENTED))
    one = splat(1, 4, "int32")
    with pytest.raises(InternalError, match=f"'{INVENTED}'"):
        rescale_vector(one, one, one, 4, cast("Any", INVENTED))


@pytest.mark.parametrize(
    ("scheme", "target"),
    [
        ("cpu", "x86-64-v3"),
        ("gpu", "webgpu"),
        ("gpu", "h100"),
        ("hexagon-hvx", "hexagon-v66"),
        ("edgetpu-ptq", "edgetpu"),
    ],
)
def test_no_backend_writes_an_invented_operation(scheme: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, _ = quantized(float_module(detector()), scheme)
    module.target = find_target(target)
    made = backend(module.target.backend)
    for item in made.passes(module.target):
        item.run(module)
    real = integer_steps._operation
    monkeypatch.setattr(integer_steps, "_operation", lambda *a: INVENTED if real(*a) == "add" else real(*a))
    with pytest.raises(InternalError, match=f"'{INVENTED}'"):
        made.emit(module, lambda *_: None, 1)


def test_the_reference_runs_no_invented_operation() -> None:
    module, _ = quantized(float_module(detector()), "cpu")
    reference = IntegerReference(module, find_scheme("cpu"))
    step = next(step for steps in reference.steps.values() for step in steps if step.operation == "add")
    odd = replace(step, operation=cast("Any", INVENTED))
    arrays = [np.zeros(port.shape, port.dtype) for port in step.inputs]
    with pytest.raises(InternalError, match=f"'{INVENTED}'"):
        reference.run_step(odd, arrays)
    with pytest.raises(InternalError, match=f"'{INVENTED}'"):
        check_no_wrap(odd)
