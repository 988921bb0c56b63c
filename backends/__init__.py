"""The backends that come with the toolkit, by name."""

from __future__ import annotations

from mdcompiler.backend import Backend


def builtin_backends() -> dict[str, Backend]:
    """A fresh instance of every built-in backend."""
    from mdcompiler.backends.arm.backend import ArmBackend
    from mdcompiler.backends.cpu import CpuBackend
    from mdcompiler.backends.edgetpu.backend import EdgeTpuBackend
    from mdcompiler.backends.hexagon.backend import HexagonBackend
    from mdcompiler.backends.htp.backend import HtpBackend
    from mdcompiler.backends.null import NullBackend
    from mdcompiler.backends.vela.backend import VelaBackend

    backends: tuple[Backend, ...] = (
        NullBackend(),
        CpuBackend(),
        ArmBackend(),
        EdgeTpuBackend(),
        VelaBackend(),
        HexagonBackend(),
        HtpBackend(),
    )
    return {backend.name: backend for backend in backends}
