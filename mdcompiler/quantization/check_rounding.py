"""Backends whose integer kernels round in one way refuse networks that were quantized for another."""

from __future__ import annotations

from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.quantization.scheme import Rounding, read_scheme


def check_rounding(module: Module, rounding: Rounding, kernels: str, scheme: str) -> None:
    """Raise UnsupportedError when `module` was quantized by a scheme that does not round by `rounding`.

    kernels: whose they are, e.g. `HVX`; scheme: the shipped one that fits them.
    """
    found = read_scheme(module.metadata)
    if found is not None and found.rounding != rounding:
        raise UnsupportedError(
            f"compiling for {module.target.name}: the network was quantized with the scheme {found.name}, which "
            f"rounds by {found.rounding}; {kernels} kernels round by {rounding}. Quantize with the scheme {scheme}."
        )
