"""What calls QNN needs the package; what prepares a network for it does not."""

from __future__ import annotations

import pytest

from mdcompiler.backends.htp.qnn import why_missing


@pytest.fixture(scope="session")
def qnn() -> None:
    """Skips without onnxruntime-qnn."""
    if why_missing():
        pytest.skip(why_missing())
