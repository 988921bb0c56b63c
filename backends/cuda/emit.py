"""From a placed module to the files of a CUDA artifact.

* `model.so`, `model.h`: the network as a C library, its machine code, PTX and weights inside;
* `model_run`: a program around it that stands beside it;
* `model.cu`, `model.ptx`, `model.cubin`: the kernels as CUDA C, as PTX and as machine code, for profilers and readers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcompiler.backend import Emission, input_specs, output_specs
from mdcompiler.backends.clib.c_source import interface, pack_constants
from mdcompiler.backends.clib.emit_runner import runner
from mdcompiler.backends.clib.link import link_library, link_small_program
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.cuda.cuda_source import CudaSource
from mdcompiler.backends.cuda.emit_c import CONSTANTS_FILE, CUBIN_FILE, PTX_FILE, implementation
from mdcompiler.backends.cuda.emit_header import header
from mdcompiler.backends.cuda.facts import device_facts
from mdcompiler.backends.cuda.fit import fitting_kernels
from mdcompiler.backends.cuda.machine import wanted_capability
from mdcompiler.backends.cuda.prelude import whole_text
from mdcompiler.backends.cuda.ptx import join_ptx
from mdcompiler.backends.cuda.ptxas import assemble
from mdcompiler.backends.cuda.runtime_files import runtime_files
from mdcompiler.backends.cuda.toolchain import find_toolchain
from mdcompiler.backends.gpu.device_program import divide
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.read_network import labels_of


def emit_model(module: Module, progress: Progress, workers: int, prefix: str) -> Emission:
    """The files of a placed module. The graph is not edited.

    workers: processes that compile at once. Raises MissingToolError without NVIDIA's compilers, UnsupportedError for
    a kernel without a template.
    """
    return write_files(module, *fitting_kernels(module, workers, progress), progress, prefix)


def write_files(
    module: Module, program: Program, kernels: Mapping[str, CompiledKernel], progress: Progress, prefix: str
) -> Emission:
    """The files of a program whose kernels are compiled."""
    target = module.target
    source, constants = describe(module, program, kernels)
    code = _device_files(kernels, str(target.llvm["arch"]))
    progress("link", 0, 2)
    files = {
        f"{prefix}.h": header(source, prefix).encode(),
        f"{prefix}.c": implementation(source, prefix).encode(),
        CONSTANTS_FILE: constants,
        CUBIN_FILE: code["cubin"],
        PTX_FILE: code["ptx"],
        **runtime_files(),
    }
    library = link_library(files, [], target.zig, ["-ldl"])
    progress("link", 1, 2)
    main = runner(prefix, source.inputs, source.outputs, labels_of(module)).encode()
    sources = {f"{prefix}.h": files[f"{prefix}.h"], f"{prefix}_main.c": main}
    program_file = link_small_program(sources, f"{prefix}.so", library, target.zig)
    progress("link", 2, 2)
    made = {f"{prefix}.so": library, f"{prefix}_run": program_file, f"{prefix}.h": files[f"{prefix}.h"]}
    return Emission({**made, **{f"{prefix}.{kind}": data for kind, data in code.items()}}, device_facts(source, target))


def describe(module: Module, program: Program, kernels: Mapping[str, CompiledKernel]) -> tuple[CudaSource, bytes]:
    """Everything that the generated C needs, and the content of the constants file."""
    inputs, outputs = interface(input_specs(module), output_specs(module))
    alignment = module.target.alignment_bytes
    constants, offsets = pack_constants(program.constants, alignment)
    ends = {spec["name"]: _bytes(spec) for spec in (*input_specs(module), *output_specs(module))}
    source = CudaSource(
        device=divide(program, ends, alignment),
        kernels=dict(kernels),
        inputs=inputs,
        outputs=outputs,
        constants=offsets,
        constants_bytes=len(constants),
        alignment_bytes=alignment,
        capability=wanted_capability(module.target),
    )
    return source, constants


def _device_files(kernels: Mapping[str, CompiledKernel], arch: str) -> dict[str, bytes]:
    """The kernels by kind of file."""
    text = whole_text("\n".join(kernel.code for kernel in kernels.values()))
    ptx = join_ptx((kernel.ptx for kernel in kernels.values()), arch)
    cubin = assemble(ptx, arch, find_toolchain().ptxas).cubin
    return {"cu": text.encode(), "ptx": ptx.encode(), "cubin": cubin}


def _bytes(spec: Mapping[str, Any]) -> int:
    return int(math.prod(spec["shape"]) * np.dtype(spec["dtype"]).itemsize)
