"""NVIDIA's compilers as PyPI brings them: NVRTC (CUDA C to PTX) and ptxas (PTX to machine code).

Both come in wheels of a few dozen megabytes, so no CUDA installation is needed, and no GPU. Version 12 is wanted: it
still knows Volta (sm_72), which version 13 dropped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from mdcompiler.errors import MissingToolError

_PTXAS = ("nvidia-cuda-nvcc-cu12", "nvidia.cuda_nvcc", "bin/ptxas")
_NVRTC = ("nvidia-cuda-nvrtc-cu12", "nvidia.cuda_nvrtc", "lib/libnvrtc.so.12")
_INSTALL = "pip install mdcompiler[cuda]"


@dataclass(frozen=True)
class Toolchain:
    """Where the two tools are. versions: of their packages, for cache keys and reports."""

    ptxas: Path
    nvrtc: Path
    versions: str


def find_toolchain() -> Toolchain:
    """The installed tools. Raises MissingToolError with the command that installs them."""
    missing = why_missing()
    if missing:
        raise MissingToolError(missing)
    ptxas, nvrtc = _file(*_PTXAS[1:]), _file(*_NVRTC[1:])
    assert ptxas is not None
    assert nvrtc is not None
    return Toolchain(ptxas, nvrtc, f"{_version(_PTXAS[0])} {_version(_NVRTC[0])}")


def why_missing() -> str:
    """Which package is absent and how to get it; "" when both are here."""
    absent = [package for package, module, name in (_PTXAS, _NVRTC) if _file(module, name) is None]
    if not absent:
        return ""
    return f"compiling for NVIDIA GPUs needs {' and '.join(absent)} (NVIDIA's compilers). Run `{_INSTALL}`."


def _file(module: str, name: str) -> Path | None:
    """A file of an installed package of wheels that share the namespace `nvidia`."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    folders = spec.submodule_search_locations or () if spec else ()
    return next(
        (path for folder in folders if (path := Path(folder) / name).is_file() and os.access(path, os.R_OK)), None
    )


def _version(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return f"{package} (version unknown)"
