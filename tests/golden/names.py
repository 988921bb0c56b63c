"""Names that do not depend on how the toolkit spells its own classes.

A kernel function is called `stem_<hash of repr(source)>`, so renaming a field renames every function. Here each gets
a number in the order in which it first appears.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_DIGITS = 12


class Canonical:
    """symbols: of the kernel functions of one program, in order."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.names = {symbol: f"{_stem(symbol)}.{index}" for index, symbol in enumerate(symbols)}

    def text(self, text: str) -> str:
        """`text` with every symbol replaced."""
        for symbol, name in self.names.items():
            text = text.replace(symbol, name)
        return text


def digest(data: str | bytes) -> str:
    """The beginning of a SHA-256: enough to tell a few thousand texts apart."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:_DIGITS]


def _stem(symbol: str) -> str:
    return symbol.rpartition("_")[0] or symbol
