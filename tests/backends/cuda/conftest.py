"""What compiles needs NVIDIA's compilers; what runs needs no GPU: the driver is a fake one."""

from __future__ import annotations

import pytest

from mdcompiler.backends.cuda.toolchain import why_missing
from mdcompiler.target import Target, find_target

HERE = "x86_64-linux-gnu.2.17"


def target_here(name: str) -> Target:
    """A shipped target, its host code linked for this machine, so that it runs beside Python."""
    return find_target(name).model_copy(update={"zig": HERE})


@pytest.fixture(scope="session")
def _compilers() -> None:
    if why_missing():
        pytest.skip(why_missing())


@pytest.fixture(scope="session")
def orin(_compilers: None) -> Target:
    """A target whose artifacts run here; skips without NVIDIA's compilers."""
    return target_here("jetson-orin")
