"""PTX as text: one module of many kernels, in a version of the language that older drivers read.

A driver compiles PTX for chips that came after it, but refuses PTX newer than itself. The kernels here use nothing
that is new, so the version that NVRTC writes (its own) is replaced by that of CUDA 11.4, the oldest driver the host
code works with: JetPack 5 has it, the last that Jetson Xavier got.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mdcompiler.errors import InternalError

_OLDEST = "7.4"
"""PTX ISA manual, "Release Notes": what CUDA 11.4 brought, sm_87 with it."""
_NEWER = {"sm_89": "7.8", "sm_90": "7.8"}
"""The version that brought a chip, where that is later. For chips after these NVRTC's own version stays."""
_LAST_OF_OLDEST = 87
_VERSION = re.compile(r"^\.version (\S+)$", re.MULTILINE)
_HEADER = re.compile(r"^\.(version|target|address_size)\b.*$", re.MULTILINE)
_HINT = re.compile(r'^\s*\.pragma\s+"used_bytes_mask[^"]*";\n', re.MULTILINE)
"""PTX 8.3: which bytes of a vector load are used, for NVIDIA's checking tools."""
_COMMENT = re.compile(r"^//.*\n", re.MULTILINE)


def join_ptx(modules: Iterable[str], arch: str) -> str:
    """One module with the kernels of all `modules` (each NVRTC's for `arch`)."""
    written = list(modules)
    bodies = [_body(module, arch) for module in written]
    head = f".version {_version(written, arch)}\n.target {arch}\n.address_size 64\n"
    return head + "".join(f"\n{body}\n" for body in bodies)


def _version(modules: Iterable[str], arch: str) -> str:
    """Of the whole module."""
    if int(arch.removeprefix("sm_")) <= _LAST_OF_OLDEST:
        return _OLDEST
    own = [found[1] for module in modules if (found := _VERSION.search(module))]
    return _NEWER.get(arch, next(iter(own), _OLDEST))


def _body(module: str, arch: str) -> str:
    """A module without its head."""
    if f".target {arch}" not in module:
        raise InternalError(f"a kernel's PTX is not for {arch}: {module[:200]}")
    for pattern in (_HEADER, _HINT, _COMMENT):
        module = pattern.sub("", module)
    return module.strip()
