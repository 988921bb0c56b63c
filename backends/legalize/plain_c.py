"""TIR functions as plain C functions in an object file: bare pointers in, no TVM at run time.

TVM's own pipeline gives every function its packed calling convention, which needs a runtime. Here
`MakePackedAPI` is left out and each buffer parameter becomes a bare pointer:

    @T.prim_func                                    int32_t relu(float *x, float *y);
    def relu(x: Buffer, y: Buffer)         ->       /* returns 0 */

What may be undefined in the object file:

* libc and libm (`memset`, `expf`, `tanhf`, `erff` …);
* for a `T.parallel` loop, `__TVMBackendParallelLaunch`, a weak pointer variable that the library defines;
* for an allocation of 1024 bytes or more that is not a parameter, the weak pointer variables
  `__TVMBackendAllocWorkspace` and `__TVMBackendFreeWorkspace`. `legalize` hoists those into parameters.

Anything that calls TVM's runtime for real (packed functions) raises UnsupportedError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mdcompiler.errors import UnsupportedError
from mdcompiler.scratch import scratch_folder

if TYPE_CHECKING:
    from tvm.ir import IRModule, Var
    from tvm.tirx import PrimFunc, Stmt

STACK_BYTES = 1024
"""TVM keeps a constant-size allocation on the stack below this size, else it asks the runtime."""

_RUNTIME_SYMBOLS = (b"TVMFFI", b"TVMBackendGetFuncFromEnv")
_CPU = 1  # DLPack's kDLCPU


def compile_plain_c(functions: Mapping[str, PrimFunc], llvm_target: Mapping[str, Any], alignment_bytes: int) -> bytes:
    """`functions` as an object file in which each is `int32_t name(T0 *a, T1 *b, …)`.

    functions: static shapes, destination-passing, by C identifier. llvm_target: TVM target fields.
    alignment_bytes: what the caller promises of every pointer; the code may crash on less.
    Raises UnsupportedError when a function calls TVM's runtime. LLVM itself can abort the process on a
    malformed intrinsic: compile what is untried in a child process.
    """
    import tvm

    target = tvm.target.Target(dict(llvm_target))
    module = tvm.IRModule({name: function.with_attr("global_symbol", name) for name, function in functions.items()})
    lowered = _pipeline(alignment_bytes)(tvm.tirx.transform.BindTarget(target)(module))
    library = tvm.get_global_func("target.build.llvm")(lowered, target)
    object_code = object_bytes(library)
    if any(symbol in object_code for symbol in _RUNTIME_SYMBOLS):
        raise UnsupportedError(
            f"compiling {', '.join(functions)}: the code calls functions of TVM's runtime, which is not on the "
            "device. Express the operator by others that need no runtime."
        )
    return object_code


def object_bytes(library: Any) -> bytes:
    """The machine code of a built module as a relocatable object file."""
    with scratch_folder("object") as folder:
        path = folder / "kernels.o"
        library.write_to_file(str(path), "o")
        return path.read_bytes()


def _pipeline(alignment_bytes: int) -> Any:
    """TVM's default pipeline for scheduled TIR without its GPU passes, `_bare` in `MakePackedAPI`'s place."""
    from tvm import s_tir, tirx, transform

    return transform.Sequential(
        [
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.LowerMatchBuffer(),
            s_tir.transform.StmtSimplify(),
            s_tir.transform.AnnotateIrregularLoop(),
            s_tir.transform.InjectSoftwarePipeline(),
            s_tir.transform.LowerOpaqueBlock(),
            tirx.transform.FlattenBuffer(),
            tirx.transform.BF16ComputeLegalize(),
            tirx.transform.NarrowDataType(32),
            s_tir.transform.LoopPartition(),
            tirx.transform.VectorizeLoop(True),
            s_tir.transform.InjectDoubleBuffer(),
            tirx.transform.StorageRewrite(),
            s_tir.transform.HoistIfThenElse(),
            tirx.transform.UnrollLoop(),
            s_tir.transform.RenormalizeSplitPattern(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            tirx.transform.CommonSubexprElim(),
            tirx.transform.FP8ComputeLegalize(),
            tirx.transform.VerifyMemory(),
            bare_pointers(alignment_bytes),
            # These two rewrite buffers, so they must see the pointers that `bare` introduces.
            tirx.transform.FP8StorageLegalize(),
            tirx.transform.BF16StorageLegalize(),
            tirx.transform.LowerTVMBuiltin(),
            tirx.transform.LowerIntrin(),
        ]
    )


def bare_pointers(alignment_bytes: int | None) -> Any:
    """The pass that gives every function a bare pointer for each buffer parameter and lets it return 0.

    alignment_bytes: what the caller promises of every pointer; None: what each buffer itself states.
    """
    from tvm import transform

    def bare(module: IRModule, _: Any) -> IRModule:
        import tvm

        functions = {variable: _bare(function, alignment_bytes) for variable, function in module.functions.items()}
        return tvm.IRModule(functions, attrs=module.attrs)

    return transform.module_pass(bare, opt_level=0, name="BarePointers")


def _bare(function: PrimFunc, alignment_bytes: int | None) -> PrimFunc:
    """`function` with a pointer for each buffer parameter, returning 0."""
    import tvm
    from tvm import tirx
    from tvm.tirx.buffer import is_buffer_var

    parameters = list(function.params)
    pointers = [_pointer(parameter) for parameter in parameters]
    declared = [
        statement
        for parameter, pointer in zip(parameters, pointers, strict=True)
        if is_buffer_var(parameter)
        for statement in _declare(parameter, pointer, alignment_bytes)
    ]
    body = tirx.SeqStmt([*declared, function.body, tirx.Return(tirx.const(0, "int32"))])
    # LowerTVMBuiltin looks for the device around allocations too large for the stack.
    for key, value in (("device_id", 0), ("device_type", _CPU)):
        body = tirx.AttrStmt("default", key, tirx.const(value, "int32"), body)
    return tirx.PrimFunc(pointers, body, tvm.ir.PrimType("int32"), attrs=function.attrs)


def _pointer(parameter: Var) -> Var:
    import tvm
    from tvm.tirx.buffer import is_buffer_var

    if not is_buffer_var(parameter):
        return parameter
    kind = tvm.ir.PointerType(parameter.ty.dtype, parameter.ty.storage_scope)
    return tvm.ir.Var(parameter.name, kind)


def _declare(buffer: Var, pointer: Var, alignment_bytes: int | None) -> list[Stmt]:
    """Let `buffer` live at `pointer`, aligned as promised."""
    from tvm import tirx

    alignment = tirx.const(alignment_bytes or int(buffer.ty.data_alignment), "int32")
    nothing = tirx.Evaluate(tirx.const(0, "int32"))
    return [tirx.DeclBuffer(buffer, data=pointer), tirx.AttrStmt(buffer, "storage_alignment", alignment, nothing)]
