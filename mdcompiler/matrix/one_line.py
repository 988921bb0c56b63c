"""A message of any length as one line of a table."""

from __future__ import annotations

_LONGEST = 600


def one_line(message: object) -> str:
    """`message` without line breaks, cut off where it is longer than anybody reads.

    >>> one_line("a\\n  b")
    'a b'
    """
    text = " ".join(str(message).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
