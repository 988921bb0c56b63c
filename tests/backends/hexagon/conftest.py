"""What runs kernels needs QEMU; what only compiles them does not."""

from __future__ import annotations

import pytest

from mdcompiler.backends.hexagon import machine
from mdcompiler.target import Target, find_target


@pytest.fixture(scope="session")
def hexagon() -> Target:
    """The oldest Hexagon target; skips without an emulator."""
    if machine.why_not_run():
        pytest.skip(machine.why_not_run())
    return find_target("hexagon-v66")
