"""From a kernel to the text of a shader: what runs in the child process of `build_kernels`.

TVM's pipeline splits a function into host and device parts and sorts the parameters of the latter. The kernels here
are device functions from the start, so only what turns them into text is left, and their parameters keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mdcompiler.backends.gpu.launch import Launch

_DEVICE_KERNEL = 2
"""tvm::CallingConv::kDeviceKernelLaunch"""


def device_module(function: Any, fields: Mapping[str, Any]) -> Any:
    """An IRModule of one device kernel, lowered for the TVM target `fields` (kind webgpu or cuda).

    Its parameters are pointers in the order of the parameters of `function`.
    """
    import tvm
    from tvm import tirx
    from tvm.ir import transform

    target = tvm.target.Target(dict(fields))
    module = tvm.IRModule({str(function.attrs["global_symbol"]): _device_function(function, target)})
    passes = [tirx.transform.UnrollLoop(), tirx.transform.RemoveNoOp()]
    return transform.Sequential([*passes, tirx.transform.LowerIntrin()])(module)


def _device_function(function: Any, target: Any) -> Any:
    """`function` with a bare pointer for each buffer, marked as a device kernel."""
    from tvm import tirx

    pointers = [_pointer(parameter) for parameter in function.params]
    declared = [
        tirx.DeclBuffer(buffer, data=pointer) for buffer, pointer in zip(function.params, pointers, strict=True)
    ]
    body = tirx.SeqStmt([*declared, function.body])
    attributes = {
        **dict(function.attrs),
        "calling_conv": _DEVICE_KERNEL,
        "target": target,
        "tirx.is_global_func": True,
        "tirx.kernel_launch_params": ["blockIdx.x", "blockIdx.y", "threadIdx.x"],
    }
    made = tirx.PrimFunc(pointers, body)
    for key, value in attributes.items():
        made = made.with_attr(key, value)
    return made


def _pointer(parameter: Any) -> Any:
    """Its name ends in `_ptr`: `target` and others are reserved words of WGSL."""
    import tvm

    return tvm.ir.Var(f"{parameter.name}_ptr", tvm.ir.PointerType(parameter.ty.dtype, parameter.ty.storage_scope))


def shader_text(function: Any, fields: Mapping[str, Any], launch: Launch) -> str:
    """WGSL of one kernel. fields: a TVM target of kind webgpu.

    Bindings are numbered in the order of the parameters; the entry point is the function's name.
    """
    import tvm

    from mdcompiler.backends.gpu.shader import freeze_grid

    target = tvm.target.Target(dict(fields))
    library = tvm.get_global_func("target.build.webgpu")(device_module(function, fields), target)
    return freeze_grid(str(library.inspect_source()), launch.grid)
