"""What a library says of its own tensors: whoever loads it need not believe a file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # who loads a library needs nothing of what writes one
    from mdcompiler.backends.clib.c_source import Tensor


def declarations(prefix: str) -> str:
    """Their part of `model.h`."""
    return f"""\
/* What run takes and gives, in the order of its parameters, inputs first: the name of a tensor, its elements as in
 * "float32 [1, 4]", its size. For an index that there is not: NULL and 0. */
int {prefix}_input_count(void);
int {prefix}_tensor_count(void);
const char *{prefix}_tensor_name(int index);
const char *{prefix}_tensor_type(int index);
size_t {prefix}_tensor_bytes(int index);
"""


def definitions(prefix: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """Their part of `model.c`, behind EXPORT."""
    tensors = (*inputs, *outputs)
    count = len(tensors)
    rows = "\n".join(map(row, tensors))
    known = f"index >= 0 && index < {count}"
    return f"""\
static const struct {{
    const char *name, *type;
    size_t bytes;
}} tensor_table[] = {{
{rows}
}};

EXPORT int {prefix}_input_count(void) {{ return {len(inputs)}; }}
EXPORT int {prefix}_tensor_count(void) {{ return {count}; }}
EXPORT const char *{prefix}_tensor_name(int index) {{ return {known} ? tensor_table[index].name : NULL; }}
EXPORT const char *{prefix}_tensor_type(int index) {{ return {known} ? tensor_table[index].type : NULL; }}
EXPORT size_t {prefix}_tensor_bytes(int index) {{ return {known} ? tensor_table[index].bytes : 0; }}
"""


def row(tensor: Tensor) -> str:
    """A row of a C table: name, elements, size."""
    size = tensor.count * np.dtype(tensor.dtype).itemsize
    return f"    {{{literal(tensor.name)}, {literal(type_text(tensor.dtype, tensor.shape))}, {size}}},"


def any_missing(tensors: Sequence[Tensor]) -> str:
    """A C condition: the context or the memory of a tensor is NULL."""
    return " || ".join(["!context", *(f"!{t.identifier}" for t in tensors)])


def type_text(dtype: str, shape: Sequence[int]) -> str:
    """How a library writes the elements of a tensor."""
    return f"{dtype} {list(shape)}"


def literal(text: str) -> str:
    """`text` as a C string; bytes that mean something in one are written as numbers."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'
