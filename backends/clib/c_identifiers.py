"""Names of tensors as C parameters: legal in C and C++, no macro, and different even in capitals.

    "x", "X", "a.b", "a_b", "int", "NULL"   ->   x, X_2, a_b, a_b_2, int_, NULL_

The header has a macro for each tensor, `MODEL_X_COUNT`, so that two names must differ in capitals as well. What a
program's headers and compiler define (`NULL`, `UINT8_MAX`, `linux`, `uint8_t`) is not listed name by name: whatever
is spelled like a macro, a type or a compiler's own name gets an ending that none of those has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mdcompiler.names import identifier

_MOST_CHARACTERS = 120
"""Of one identifier, a number at its end left out: C promises 63 significant ones inside a file, compilers all."""

_KEYWORDS = frozenset(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class co_await
    co_return co_yield compl concept const const_cast consteval constexpr constinit continue contract_assert decltype
    default delete do double dynamic_cast else enum explicit export extern false final float for fortran friend goto if
    import inline int long module mutable namespace new noexcept not not_eq nullptr operator or or_eq override private
    protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert
    static_cast struct switch template this thread_local throw true try typedef typeid typename typeof typeof_unqual
    union unsigned using virtual void volatile wchar_t while xor xor_eq
    """.split()  # noqa: SIM905 - a list of eighty strings is no easier to read
)
"""Of C23 and C++26, alternative spellings of operators and words with a meaning in some places included."""

_COMPILERS_OWN = frozenset(
    """
    arm errno far huge i386 interface linux m68k main mips near pascal pixel r3000 sparc stderr stdin stdout sun unix
    vector
    """.split()  # noqa: SIM905 - as above
)
"""Lower-case names that compilers or usual headers define as macros."""

_LIKE_MACRO_OR_TYPE = re.compile(r"[A-Z0-9_]{2,}|\w*_t|mdc_\w*|step_\d+")
_LIKE_FUNCTION = re.compile(
    r"(create|destroy|run|profile|error|device|context|arena_bytes|constants|cubin|ptx)|(kernel|near)_\w+"
)
_INTERNAL = frozenset(
    """
    arena begin context downloads end f frame functions host is_near kernel_names launches memcpy nanoseconds near
    network pinned places scratch shared steps threads uploads worker
    """.split()  # noqa: SIM905 - as above
)
"""Variables, fields and tables of the generated functions."""


def c_identifiers(names: Iterable[str], prefix: str = "model") -> list[str]:
    """An identifier for each of `names`, in their order. prefix: of the C functions they are parameters of."""
    taken: set[str] = set()
    found = []
    for name in names:
        spelled = _legal(name, prefix)
        free, count = spelled, 1
        while free.upper() in taken:
            count += 1
            free = f"{spelled}_{count}"
        taken.add(free.upper())
        found.append(free)
    return found


def _legal(name: str, prefix: str) -> str:
    spelled = identifier(name)[:_MOST_CHARACTERS]
    if spelled.startswith("_"):  # names of the compiler's own begin so
        spelled = f"t{spelled}"
    head, _, rest = spelled.partition(f"{prefix}_")
    claimed = spelled in _KEYWORDS | _COMPILERS_OWN | _INTERNAL
    like_another = _LIKE_MACRO_OR_TYPE.fullmatch(spelled) or (not head and _LIKE_FUNCTION.fullmatch(rest))
    return f"{spelled}_" if claimed or like_another else spelled
