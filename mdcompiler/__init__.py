"""mdcompiler: from a searched detector's architecture spec to device binaries.

import mdcompiler
mdcompiler.compile("mobiledet-cpu", target="cpu", out="out")
print(mdcompiler.load("out").detect("street.jpg"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mdcompiler.telemetry import switch_off

if TYPE_CHECKING:
    from mdcompiler.artifact import Artifact
    from mdcompiler.compiler import compile  # noqa: A004 - named as re.compile is
    from mdcompiler.detections import Detection
    from mdcompiler.detector import Detector, load
    from mdcompiler.quantization.options import Quantize

switch_off()

__version__ = "0.1.0"
__all__ = ["Artifact", "Detection", "Detector", "Quantize", "compile", "load"]

_HOMES = {
    "Artifact": "mdcompiler.artifact",
    "Detection": "mdcompiler.detections",
    "Detector": "mdcompiler.detector",
    "Quantize": "mdcompiler.quantization.options",
    "compile": "mdcompiler.compiler",
    "load": "mdcompiler.detector",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a compiler is heavy, and running an artifact needs none of it."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
