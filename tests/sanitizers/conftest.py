"""The sanitizers are gcc's; without them, and off Linux, nothing here can be told."""

from __future__ import annotations

import pytest

from tests.sanitizers.sanitizer import why_missing


@pytest.fixture(scope="session", autouse=True)
def _address(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Most tests here watch addresses."""
    _skip_without("address", tmp_path_factory)


@pytest.fixture(scope="session")
def _thread(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Some watch threads."""
    _skip_without("thread", tmp_path_factory)


def _skip_without(sanitizer: str, factory: pytest.TempPathFactory) -> None:
    reason = why_missing(sanitizer, factory.mktemp(sanitizer))
    if reason:
        pytest.skip(reason)
