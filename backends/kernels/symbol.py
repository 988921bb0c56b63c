"""Names of kernel functions."""

from __future__ import annotations

import hashlib


def symbol(stem: str, source: object) -> str:
    """A name that says what a kernel is and differs with everything that decides its code: `stem` and a hash."""
    return f"{stem}_{hashlib.sha256(repr(source).encode()).hexdigest()[:12]}"
