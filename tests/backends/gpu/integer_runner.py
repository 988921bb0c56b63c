"""Runs one integer kernel as WGSL on this machine's Vulkan device, and the operands that tests give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.gpu.build import Shader
from mdcompiler.backends.gpu.compile import shader_text
from mdcompiler.backends.gpu.integer_pack import pad_to, words
from mdcompiler.backends.gpu.launch import launch_of
from mdcompiler.backends.webgpu import device
from mdcompiler.quantization.steps import Port, Step
from mdcompiler.weights.quantization import Quantization

Array = NDArray[Any]
FIELDS = {"kind": "webgpu"}
needs_device = pytest.mark.skipif(bool(device.why_not_run()), reason=device.why_not_run())


def run(function: Any, arrays: Sequence[Array], output: Array) -> Array:
    """`output` after the kernel `function` has run on `arrays`."""
    launch = launch_of(function)
    symbol = str(function.attrs["global_symbol"])
    shader = Shader(symbol, shader_text(function, FIELDS, launch), launch)
    device.run_kernel(shader, arrays, [output])
    return output


def bytes_of(rng: np.random.Generator, channels: int, pixels: int) -> Array:
    """Random activations [C, P] uint8."""
    return rng.integers(0, 256, (channels, pixels)).astype(np.uint8)


def as_words(activations: Array) -> Array:
    """[C, P] uint8 -> words [C/4, P]; channels beyond the last are 77, to be told from zeros."""
    missing = -len(activations) % 4
    padded = np.pad(activations, [(0, missing), (0, 0)], constant_values=77)
    return words(padded.reshape(-1, 4, padded.shape[1]).transpose(0, 2, 1))


def from_words(memory: Array, channels: int) -> Array:
    """Words [C/4, P] -> [C, P] uint8."""
    four = np.ascontiguousarray(memory).view(np.uint8).reshape(*memory.shape, 4)
    return four.transpose(0, 2, 1).reshape(-1, memory.shape[1])[:channels]


def port(scale: float, zero: int, name: str = "t") -> Port:
    """A tensor of bytes."""
    return Port(name, (1, 1, 1, 1), Quantization((scale,), (zero,), "uint8", None))


def step(output: Port, *inputs: Port, low: int = 0, high: int = 255) -> Step:
    """An operation without its node, which packing never asks for."""
    return Step("conv", "step", inputs, output, low, high)


__all__ = ["Array", "as_words", "bytes_of", "from_words", "needs_device", "pad_to", "port", "run", "step"]
