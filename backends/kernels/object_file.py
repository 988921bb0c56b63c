"""From TIR functions to an object file of plain C functions.

TVM's own calling convention wraps every function in a packed call that needs TVM's runtime on the
device. Here the step that makes the wrapper is replaced: buffer parameters become bare pointers, so the
object has no undefined symbol but those of libm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import transform
from tvm.target import Target as TvmTarget


def compile_object(functions: Mapping[str, Any], llvm: Mapping[str, Any]) -> bytes:
    """Machine code for template functions, as a relocatable object file.

    functions: name -> PrimFunc over flat buffers. llvm: the target's TVM fields.
    """
    target = TvmTarget(dict(llvm))
    lowered = _pipeline(target)(tvm.IRModule(dict(functions)))
    library = tvm.get_global_func("target.build.llvm")(lowered, target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.o"
        library.write_to_file(str(path), "o")
        return path.read_bytes()


def _pipeline(target: Any) -> Any:
    x = tirx.transform
    return transform.Sequential(
        [
            x.BindTarget(target),
            x.FlattenBuffer(),
            x.NarrowDataType(32),
            x.StmtSimplify(),
            x.VectorizeLoop(True),
            x.StorageRewrite(),
            x.RemoveNoOp(),
            plain_c_functions(),
            x.LowerTVMBuiltin(),
            x.LowerIntrin(),
        ]
    )


def plain_c_functions() -> Any:
    """The pass that makes every function of a module `int32 name(T *a, T *b, …, int32 scalar, …)`."""
    return transform.module_pass(_bare_pointers, opt_level=0, name="mdc.PlainC")


def _bare_pointers(module: Any, _context: Any) -> Any:
    functions = {name: _bare_function(function) for name, function in module.functions.items()}
    return tvm.IRModule(functions, attrs=module.attrs)


def _bare_function(function: Any) -> Any:
    parameters: list[Any] = []
    prologue: list[Any] = []
    for parameter in function.params:
        if not tirx.is_buffer_var(parameter):
            parameters.append(parameter)
            continue
        pointer = tvm.ir.Var(parameter.name, tvm.ir.PointerType(parameter.ty.dtype, parameter.ty.storage_scope))
        parameters.append(pointer)
        prologue.append(tirx.DeclBuffer(parameter, data=pointer))
        prologue.append(_alignment(parameter))
    body = tirx.SeqStmt([*prologue, function.body, tirx.Return(tirx.const(0, "int32"))])
    for key, value in (("device_id", 0), ("device_type", 1)):
        body = tirx.AttrStmt("default", key, tirx.const(value, "int32"), body)
    return tirx.PrimFunc(parameters, body, tvm.ir.PrimType("int32"), attrs=function.attrs)


def _alignment(buffer: Any) -> Any:
    bytes_ = tirx.const(int(buffer.ty.data_alignment), "int32")
    return tirx.AttrStmt(buffer, "storage_alignment", bytes_, tirx.Evaluate(tirx.const(0, "int32")))
