"""GPU kernels as WGSL on whatever device is here: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.gpu.build import Shader
from mdcompiler.backends.gpu.compile import shader_text
from mdcompiler.backends.gpu.launch import launch_of
from mdcompiler.backends.webgpu.device import run_kernel, why_not_run

Array = NDArray[Any]
TARGET = {"kind": "webgpu"}
needs_device = pytest.mark.skipif(bool(why_not_run()), reason=why_not_run())


def shader(source: FunctionSource) -> Shader:
    """A kernel compiled in this process."""
    function = source.write()
    launch = launch_of(function)
    return Shader(source.symbol, shader_text(function, TARGET, launch), launch)


def run(source: FunctionSource, arrays: Sequence[Array], like: Array) -> Array:
    """The kernel's only output, which starts as NaN, or as ones where integers have none."""
    fill = np.nan if np.issubdtype(like.dtype, np.floating) else 1
    output = np.full_like(like, fill)
    run_kernel(shader(source), arrays, [output])
    return output
