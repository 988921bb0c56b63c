"""Small quantized detectors, and their `.tflite` files under LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.backend import Emission, input_specs, output_specs
from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.backends.tflite.runnable import TfliteRunnable
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.spec import Spec
from mdcompiler.spec.load import build_spec
from tests.quantization.networks import float_module, quantized

Array = NDArray[Any]
SCHEMES = ("edgetpu-ptq", "edgetpu-qat")

DETECTOR: dict[str, Any] = {
    "name": "small",
    "input": {"height": 47, "width": 40},
    "blocks": {
        "C1": [
            {"kind": "conv", "out": 8, "kernel": 3, "stride": 2},
            {"kind": "tucker", "out": 8, "input_ratio": 0.25, "output_ratio": 0.75},
        ],
        "C2": [{"kind": "fused", "out": 16, "expansion": 4, "kernel": 3, "stride": 2}],
        "C3": [{"kind": "ibn", "out": 24, "expansion": 4, "kernel": 5, "stride": 2, "se": 0.25}],
    },
    "head": {"levels": ["C2", "C3"], "extra": [16], "classes": 3, "labels": ["circle", "square", "star"]},
    "postprocess": {"max_detections": 5, "score_threshold": 0.3},
}


def detector(**changes: Any) -> Spec:
    """One block of each kind, every operator the file can hold. changes: of the spec's parts."""
    return build_spec({**DETECTOR, **changes}, "small")


def quantized_detector(spec: Spec, scheme: str = "edgetpu-ptq", raw: bool = False, move: bool = True) -> Module:
    """The detector quantized by the ranges of one seeded picture."""
    module, _ = quantized(float_module(spec, raw, move), scheme)
    return module


def manifest_of(module: Module, emission: Emission) -> dict[str, Any]:
    """The part of a manifest that a backend reads."""
    return {"inputs": input_specs(module), "outputs": output_specs(module), "facts": emission.facts}


def run_file(module: Module, folder: Path, inputs: dict[str, Array], kernels: str = "BUILTIN_REF") -> dict[str, Array]:
    """What LiteRT says to the file written for `module`."""
    emission = emit(module, silent)
    (folder / "model.tflite").write_bytes(emission.files["model.tflite"])
    runnable = TfliteRunnable(folder / "model.tflite", manifest_of(module, emission), 1, kernels)
    try:
        return runnable.run(inputs)
    finally:
        runnable.close()


def expected(module: Module, scheme: str, inputs: dict[str, Array]) -> dict[str, Array]:
    """What the integer reference says."""
    return IntegerReference(module, find_scheme(scheme)).run(inputs)


def picture(spec: Spec, seed: int = 0) -> dict[str, Array]:
    """A seeded picture of the size that `spec` takes."""
    shape = (1, spec.input.height, spec.input.width, 3)
    return {"image": np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)}


_CHANNELS = st.sampled_from((8, 16, 24))
_KERNELS = st.sampled_from((3, 5))
_STRIDES = st.sampled_from((1, 2))


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    """Any block that an Edge TPU computes."""
    kind = draw(st.sampled_from(("conv", "ibn", "fused", "tucker")))
    block = {"kind": kind, "out": draw(_CHANNELS), "kernel": draw(_KERNELS), "stride": draw(_STRIDES)}
    block["activation"] = draw(st.sampled_from(("relu6", "relu")))
    if kind in ("ibn", "fused"):
        block |= {"expansion": draw(st.sampled_from((2, 4))), "se": draw(st.sampled_from((0.0, 0.25)))}
    elif kind == "tucker":
        block |= {"input_ratio": 0.25, "output_ratio": draw(st.sampled_from((0.25, 0.75)))}
    return block


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Detectors of four random blocks for pictures of a random size."""
    size = {side: draw(st.integers(17, 40)) for side in ("height", "width")}
    stages = {
        "C1": [{"kind": "conv", "out": 8, "kernel": 3, "stride": 2}],
        "C2": draw(st.lists(blocks(), min_size=1, max_size=2)),
        "C3": draw(st.lists(blocks(), min_size=1, max_size=2)),
    }
    return detector(input=size, blocks=stages)
