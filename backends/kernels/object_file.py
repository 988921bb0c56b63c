"""From template functions to an object file of plain C functions.

Templates are written at the lowest level of TIR already, so of TVM's pipeline only what turns flat
buffers and vectors into LLVM is left, and the step that makes parameters bare pointers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import transform
from tvm.target import Target as TvmTarget

from mdcompiler.backends.legalize.plain_c import bare_pointers, object_bytes


def compile_object(functions: Mapping[str, Any], llvm: Mapping[str, Any]) -> bytes:
    """Machine code for template functions, as a relocatable object file.

    functions: name -> PrimFunc over flat buffers, each with the alignment its caller promises.
    llvm: the target's TVM fields.
    """
    target = TvmTarget(dict(llvm))
    lowered = _pipeline(target)(tvm.IRModule(dict(functions)))
    return object_bytes(tvm.get_global_func("target.build.llvm")(lowered, target))


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
            bare_pointers(None),
            x.LowerTVMBuiltin(),
            x.LowerIntrin(),
        ]
    )
