"""What this toolkit is built on sends nothing and marks no machine.

ONNX Runtime since 1.31 writes a device id into the user's cache and queues events for its maker, when its first session
is made. It asks the environment, which child processes inherit, so it is answered when the toolkit is imported; and
again by its own switch, for a user may have imported it before.
"""

from __future__ import annotations

import os
from types import ModuleType

_OFF = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def switch_off() -> None:
    """For this process and the children that it starts from now on."""
    os.environ.update(_OFF)


def onnx_runtime() -> ModuleType:
    """The package onnxruntime, silenced. Raises ImportError where it is not installed."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime  # type: ignore[no-any-return]
