"""CUDA C to PTX by NVRTC, NVIDIA's compiler as a library.

LLVM's own PTX writer was tried and dropped: TVM 0.27 with LLVM 22 emits `llvm.nvvm.barrier.cta.sync.aligned.all`
without the barrier's number, so every kernel with shared memory fails LLVM's verifier. CUDA C can also be read,
profiled by line, and run on a processor.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from mdcompiler.errors import InternalError

_OPTIONS = ("--std=c++17", "--dopt=on", "--restrict")


def compile_ptx(source: str, arch: str, library: Path) -> str:
    """`source` as PTX for a chip such as `sm_87`. Raises InternalError with the compiler's words."""
    nvrtc: Any = ctypes.CDLL(str(library))
    program = ctypes.c_void_p()
    _check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    try:
        options = [option.encode() for option in (f"--gpu-architecture={arch.replace('sm_', 'compute_')}", *_OPTIONS)]
        status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if status:
            log = _text(nvrtc, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            raise InternalError(f"NVRTC refused the generated CUDA code: {log.strip()[-2000:]}")
        return _text(nvrtc, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(nvrtc: Any, size_of: Any, read: Any, program: ctypes.c_void_p) -> str:
    """One of the program's texts."""
    size = ctypes.c_size_t()
    _check(nvrtc, size_of(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(nvrtc, read(program, buffer))
    return buffer.value.decode(errors="replace")


def _check(nvrtc: Any, status: int) -> None:
    if status:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise InternalError(f"NVRTC failed: {nvrtc.nvrtcGetErrorString(status).decode()}")
