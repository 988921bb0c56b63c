"""mdcompiler: from a searched detector's architecture spec to device binaries."""

from __future__ import annotations

__version__ = "0.1.0"
