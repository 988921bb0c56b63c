"""Words of our own that choose what is computed: one that nobody knows is an error, never the identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from mdcompiler.errors import InternalError

T = TypeVar("T")


def known(table: Mapping[str, T], word: str, what: str) -> T:
    """The entry of `word`. Raises InternalError naming it. what: e.g. `an activation of a table`."""
    if word not in table:
        raise unknown(word, what, table)
    return table[word]


def unknown(word: str, what: str, words: Iterable[str]) -> InternalError:
    """The error for a `word` that is none of `words`."""
    return InternalError(f"{what} is {word!r}; there are {', '.join(words)}. Send the network and the command.")
