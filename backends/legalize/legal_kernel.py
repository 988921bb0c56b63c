"""`LegalKernel`: what a kernel becomes, a sequence of calls of simple functions over plain buffers.

Everything a caller needs to place the buffers in an arena and to write the calls into a C function:

    /* LegalCall("pool__max_pool2d", inputs=("x",), outputs=("y",), workspace=("pool/t0",)) */
    pool__max_pool2d(x, y, pool_t0);
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

TensorType = tuple[tuple[int, ...], str]
"""Shape and numpy dtype name; row-major and dense."""


@dataclass(frozen=True)
class LegalCall:
    """One call. All names are tensors; the C function takes bare pointers in the order of `arguments`.

    function: its name in `LegalKernel.functions` and its symbol in the object file.
    inputs: read only (a kernel's inputs, constants, temporaries written by an earlier call).
    outputs: written in full. workspace: temporaries that this call alone uses, of undefined content.
    """

    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    workspace: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.inputs + self.outputs + self.workspace


@dataclass(frozen=True)
class LegalKernel:
    """One kernel as a sequence of calls.

    name: of the kernel it was. calls: in the order to run; every output of the kernel is written by one.
    temporaries: memory the caller provides, by name. constants: row-major arrays, by name.
    object_code: an object file with every function as `int32_t name(T* a, T* b, ...)` that returns 0 and
    needs nothing but libc and libm; pointers must be aligned to the alignment asked for.
    functions_json: the same functions as TVM wrote them. checked: the numbers were compared with the
    reference (left out for kernels that are large or whose inputs cannot be made up, such as indices).
    """

    name: str
    calls: tuple[LegalCall, ...]
    temporaries: dict[str, TensorType]
    constants: dict[str, NDArray[Any]] = field(repr=False)
    object_code: bytes = field(repr=False)
    functions_json: str = field(repr=False)
    checked: bool = False

    @property
    def functions(self) -> dict[str, PrimFunc]:
        """The functions as TIR, static shapes, buffers only. Read anew at every use (imports TVM)."""
        import tvm

        module = tvm.ir.load_json(self.functions_json)
        return {variable.name_hint: function for variable, function in module.functions.items()}
