"""The fallback of the CPU-like backends: kernels without a template, through TVM Relax's legalisation.

    Kernel (ONNX nodes) -> Relax -> PrimFuncs over plain buffers, to be called in order -> C functions

TVM can abort the whole process on a node it dislikes and is wrong on some operators, so everything that
reads a node runs in a child process, and what comes out is compared with the reference before it is used.
"""

from mdcompiler.backends.legalize.legal_kernel import LegalCall, LegalKernel, TensorType
from mdcompiler.backends.legalize.limits import limit_table, why_not
from mdcompiler.backends.legalize.plain_c import compile_plain_c
from mdcompiler.backends.legalize.run_child import Refusal, legalize, legalize_all, try_legalize

__all__ = [
    "LegalCall",
    "LegalKernel",
    "Refusal",
    "TensorType",
    "compile_plain_c",
    "legalize",
    "legalize_all",
    "limit_table",
    "try_legalize",
    "why_not",
]
