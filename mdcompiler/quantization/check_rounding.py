"""Networks that were quantized for one machine are refused by those that compute in other integers."""

from __future__ import annotations

from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.quantization.scheme import Rounding, find_scheme, read_scheme

_ARITHMETIC = ("activation", "wide_activation", "symmetric_activations", "weight", "per_channel", "symmetric_weights")
"""What two schemes must share, beside the rounding, for one's networks to be the other's."""


def check_scheme(module: Module) -> None:
    """Raise UnsupportedError when `module` was quantized by a scheme whose integers are not those of its target.

    A target without a scheme takes any.
    """
    found = read_scheme(module.metadata)
    if found is None or not module.target.scheme:
        return
    wanted = find_scheme(module.target.scheme)
    differing = [name for name in (*_ARITHMETIC, "rounding") if getattr(found, name) != getattr(wanted, name)]
    if differing:
        told = ", ".join(f"{name} {getattr(found, name)!r} instead of {getattr(wanted, name)!r}" for name in differing)
        raise UnsupportedError(
            f"compiling for {module.target.name}: the network was quantized with the scheme {found.name}, and this "
            f"target computes by {wanted.name} ({told}). Quantize it with the scheme {wanted.name}."
        )


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
