"""The C files that every CUDA model is built with."""

from __future__ import annotations

from importlib.resources import files

_NAMES = ("mdc_cuda.c", "mdc_cuda.h", "mdc_cuda_driver.c", "mdc_cuda_driver.h")


def runtime_files() -> dict[str, bytes]:
    """Their content by name."""
    folder = files("mdcompiler.backends.cuda") / "runtime"
    return {name: (folder / name).read_bytes() for name in _NAMES}
