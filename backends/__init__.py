"""The backends that come with the toolkit, by name."""

from __future__ import annotations

from importlib import import_module

from mdcompiler.backend import Backend

_PLACES = {
    "null": "null:NullBackend",
    "cpu": "cpu:CpuBackend",
    "arm": "arm.backend:ArmBackend",
    "edgetpu": "edgetpu.backend:EdgeTpuBackend",
    "vela": "vela.backend:VelaBackend",
    "hexagon": "hexagon.backend:HexagonBackend",
    "htp": "htp.backend:HtpBackend",
    "webgpu": "webgpu.backend:WebGpuBackend",
    "cuda": "cuda.backend:CudaBackend",
}
"""Name of a backend -> its module in this package and its class."""


def builtin_backend(name: str) -> Backend | None:
    """The built-in backend called `name`; imports that one only. None when there is none."""
    if name not in _PLACES:
        return None
    module, _, kind = _PLACES[name].partition(":")
    made: Backend = getattr(import_module(f"{__name__}.{module}"), kind)()
    return made


def builtin_backends() -> dict[str, Backend]:
    """A fresh instance of every built-in backend."""
    return {name: made for name in _PLACES if (made := builtin_backend(name)) is not None}
