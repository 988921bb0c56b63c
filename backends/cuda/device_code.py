"""From a kernel as TIR with bound threads to a CUDA C function, without any host code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mdcompiler.backends.cuda.prelude import kernel_text


def cuda_code(function: Any, fields: Mapping[str, Any]) -> str:
    """The CUDA C function of a kernel, its pointers in the order of its parameters. fields: of a TVM target of kind
    cuda."""
    import tvm

    from mdcompiler.backends.gpu.compile import device_module

    target = tvm.target.Target(dict(fields))
    built = tvm.get_global_func("target.build.cuda")(device_module(function, fields), target)
    return kernel_text(str(built.inspect_source()))
