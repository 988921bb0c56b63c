"""The backends that come with the toolkit, by name."""

from __future__ import annotations

from mdcompiler.backend import Backend


def builtin_backends() -> dict[str, Backend]:
    """A fresh instance of every built-in backend."""
    from mdcompiler.backends.cpu import CpuBackend
    from mdcompiler.backends.null import NullBackend

    backends: tuple[Backend, ...] = (NullBackend(), CpuBackend())
    return {backend.name: backend for backend in backends}
