"""From a placed module to the files of a WebGPU artifact.

* `model.wgsl`: all kernels, one entry point each; `weights.bin`: all constants;
* `model.json`: which kernel is dispatched on which parts of the two buffers, see `description`;
* `run.mjs`, `index.html`: a host in plain JavaScript, for browsers and everything else with `navigator.gpu`.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from mdcompiler.backend import Emission, input_specs, output_specs
from mdcompiler.backends.gpu.build import build_shaders
from mdcompiler.backends.gpu.device_program import divide
from mdcompiler.backends.gpu.limits import check_launch
from mdcompiler.backends.gpu.lower import lower_gpu
from mdcompiler.backends.gpu.traits import traits_of
from mdcompiler.backends.webgpu.describe import Content
from mdcompiler.backends.webgpu.description import DESCRIPTION_FILE, SHADER_FILE, WEIGHTS_FILE
from mdcompiler.backends.webgpu.join_shaders import join_shaders
from mdcompiler.module import Module
from mdcompiler.progress import Progress

_HOST_FILES = ("run.mjs", "index.html")
_WORD_BYTES = 4


def emit_model(module: Module, progress: Progress, workers: int) -> Emission:
    """The shaders, the weights, the description and the host. The graph is not edited.

    workers: processes that compile at once. Raises UnsupportedError for a kernel without a template, and for weights
    or activations larger than a buffer of WebGPU.
    """
    traits = traits_of(module.target)
    program = lower_gpu(module, traits)
    shaders = build_shaders(program.functions, module.target.llvm, workers, progress)
    for shader in shaders.values():
        check_launch(shader.symbol, shader.launch, traits)
    plan = divide(program, _ends(module), traits.alignment_bytes)
    content = Content(module, program, plan, shaders, traits)
    description = content.describe()
    host = {name: files(__package__).joinpath("host", name).read_bytes() for name in _HOST_FILES}
    made = {
        SHADER_FILE: join_shaders(content.used_shaders(), content.access()).encode(),
        WEIGHTS_FILE: content.weights,
        DESCRIPTION_FILE: description.model_dump_json(indent=1).encode(),
    }
    return Emission({**made, **host}, content.facts(description))


def _ends(module: Module) -> dict[str, int]:
    """Bytes of the network's inputs and outputs, whole words."""
    sizes = {}
    for spec in (*input_specs(module), *output_specs(module)):
        size = int(np.prod(spec["shape"])) * np.dtype(spec["dtype"]).itemsize
        sizes[spec["name"]] = -(-size // _WORD_BYTES) * _WORD_BYTES
    return sizes
