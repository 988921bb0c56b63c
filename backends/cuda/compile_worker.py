"""The child process of `compile_kernels`: reads kernel sources from stdin, answers with compiled kernels.

TVM aborts the whole process on some faults, so it runs here only. Messages as in `clib.compile_worker`; the sources
come pickled from the parent that started this process, and from nobody else.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from mdcompiler.backends.clib.compile_worker import serve
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.cuda.compiled import CompiledKernel


def compile_kernel(source: FunctionSource, fields: Mapping[str, Any]) -> CompiledKernel:
    """CUDA C, PTX and ptxas's report of one kernel. fields: of the TVM target, `arch` among them."""
    from mdcompiler.backends.cuda.device_code import cuda_code
    from mdcompiler.backends.cuda.nvrtc import compile_ptx
    from mdcompiler.backends.cuda.prelude import whole_text
    from mdcompiler.backends.cuda.ptxas import assemble
    from mdcompiler.backends.cuda.toolchain import find_toolchain
    from mdcompiler.backends.gpu.launch import launch_of

    tools, arch, function = find_toolchain(), str(fields["arch"]), source.write()
    launch = launch_of(function)
    code = cuda_code(function, fields)
    ptx = compile_ptx(whole_text(code), arch, tools.nvrtc)
    resources = assemble(ptx, arch, tools.ptxas).resources[source.symbol]
    return CompiledKernel(source.symbol, code, ptx, launch.grid, launch.block, resources)


def _answer(message: bytes) -> bytes:
    source, fields = pickle.loads(message)  # noqa: S301 - written by our own parent, see above
    try:
        return b"+" + compile_kernel(source, fields["target"]).to_bytes()
    except Exception as error:
        return b"-" + repr(error).encode()


if __name__ == "__main__":
    serve(_answer)
