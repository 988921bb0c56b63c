"""Whether this machine has an NVIDIA GPU that runs what was compiled."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from typing import Any

from mdcompiler.errors import TargetError
from mdcompiler.target import Target

_DRIVER = "libcuda.so.1"
_ARCH = re.compile(r"sm_(\d{1,2})(\d)")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


def why_not_run(target: Target) -> str:
    """Why code for `target` cannot run here, as a sentence; "" when it can."""
    processor = target.zig.partition("-")[0]
    if processor and processor != platform.machine():
        return (
            f"{target.name} has a processor of the family {processor}; this one is {platform.machine()}. Copy the "
            "artifact to the device."
        )
    found = capability_here()
    if isinstance(found, str):
        return f"this machine has no NVIDIA GPU for {target.name}: {found}. Copy the artifact to a machine with one."
    wanted = wanted_capability(target)
    if found < wanted:
        return (
            f"{target.name} needs compute capability {wanted[0]}.{wanted[1]}; this GPU has {found[0]}.{found[1]}. "
            "Compile for a target of this GPU."
        )
    return ""


def wanted_capability(target: Target) -> tuple[int, int]:
    """Compute capability of a target, major and minor. Raises TargetError unless its `llvm` fields name a chip."""
    found = _ARCH.fullmatch(str(target.llvm.get("arch", "")))
    if target.llvm.get("kind") != "cuda" or found is None:
        raise TargetError(
            f"target {target.name}: its llvm fields are {target.llvm}; wanted are `kind: cuda` and an `arch` such as "
            "sm_87. Copy them from jetson-orin."
        )
    return int(found[1]), int(found[2])


def driver_name() -> str:
    """File name of the CUDA driver's library; `MDC_LIBCUDA` overrides it."""
    return os.environ.get("MDC_LIBCUDA", "") or _DRIVER


def capability_here() -> tuple[int, int] | str:
    """Compute capability of the first GPU, major and minor, or what is missing as a phrase."""
    try:
        driver = ctypes.CDLL(driver_name())
    except OSError:
        return f"{driver_name()} (NVIDIA's driver) cannot be opened"
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    calls: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("cuInit", (0,)),
        ("cuDeviceGet", (ctypes.byref(device), 0)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _MAJOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _MINOR, device)),
    )
    for name, arguments in calls:
        status = getattr(driver, name)(*arguments)
        if status:
            return f"{name} answers with error {status}"
    return major.value, minor.value
