"""This processor: which instruction sets it has. The one place that looks, for targets, tests and measurements alike.

Linux tells in /proc/cpuinfo. That file is the host's also where an emulator runs this process, so on x86 the C library,
which asks the processor itself, must agree.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

_LEAF_1, _LEAF_7 = 0, 1
_ECX, _EBX = 2, 1
_BITS = {
    "ssse3": (_LEAF_1, _ECX, 9),
    "fma": (_LEAF_1, _ECX, 12),
    "sse4_1": (_LEAF_1, _ECX, 19),
    "sse4_2": (_LEAF_1, _ECX, 20),
    "popcnt": (_LEAF_1, _ECX, 23),
    "f16c": (_LEAF_1, _ECX, 29),
    "avx2": (_LEAF_7, _EBX, 5),
    "bmi2": (_LEAF_7, _EBX, 8),
    "avx512f": (_LEAF_7, _EBX, 16),
    "avx512dq": (_LEAF_7, _EBX, 17),
    "avx512cd": (_LEAF_7, _EBX, 28),
    "avx512bw": (_LEAF_7, _EBX, 30),
    "avx512vl": (_LEAF_7, _EBX, 31),
    "avx512vbmi": (_LEAF_7, _ECX, 1),
    "avx512_vnni": (_LEAF_7, _ECX, 11),
}
"""Flag -> leaf as glibc numbers them, register (eax, ebx, ecx, edx) and bit (Intel SDM volume 2A, CPUID)."""


class _Leaf(ctypes.Structure):
    """`struct cpuid_feature` of glibc's <sys/platform/x86.h>."""

    _fields_ = (("cpuid", ctypes.c_uint * 4), ("active", ctypes.c_uint * 4))


def host_flags() -> frozenset[str]:
    """The instruction-set flags of this processor as Linux names them; empty where it does not tell."""
    return _told_by_linux() - _denied_by_processor()


def _told_by_linux() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _denied_by_processor() -> frozenset[str]:
    """Those of `_BITS` that CPUID does not report; none where no glibc since 2.33 can be asked."""
    ask = getattr(ctypes.CDLL(None), "__x86_get_cpuid_feature_leaf", None) if platform.machine() == "x86_64" else None
    if ask is None:
        return frozenset()
    ask.restype, ask.argtypes = ctypes.POINTER(_Leaf), [ctypes.c_uint]
    leaves = {leaf: list(ask(leaf).contents.cpuid) for leaf in (_LEAF_1, _LEAF_7)}
    return frozenset(flag for flag, (leaf, register, bit) in _BITS.items() if not leaves[leaf][register] >> bit & 1)
