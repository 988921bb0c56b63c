"""What every test shares: the data folder, a clean environment, quiet property tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mdcompiler.cli import run

ROOT = Path(__file__).resolve().parents[1]
_KEPT = ("MDC_SHARED_DATA", "MDC_CC", "MDC_CACHE", "MDC_PROCESSES")
Mdc = Callable[..., tuple[int, str, str]]

# Tests run side by side already, and each process that compiles begins with a second of imports.
os.environ.setdefault("MDC_PROCESSES", "1")
# A compile takes as long as the machine is busy, so no example has a deadline.
settings.register_profile("mdcompiler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mdcompiler")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with trained weights and pictures that are no part of the project; skips where it is absent."""
    folder = Path(os.environ.get("MDC_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no trained weights or pictures at {folder}: set MDC_SHARED_DATA")
    return folder


@pytest.fixture
def mdc(capfd: pytest.CaptureFixture[str]) -> Mdc:
    """The command line in this process: exit status, stdout and stderr of `mdc ARGUMENTS`."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(item) for item in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's MDC_ variables change no test."""
    for name in os.environ:
        if name.startswith("MDC_") and name not in _KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled kernels are shared by all processes of one run and by nothing else, unless MDC_CACHE says where."""
    if "MDC_CACHE" in os.environ:
        yield
        return
    own = tmp_path_factory.getbasetemp()
    run_folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    os.environ["MDC_CACHE"] = str(run_folder / "compiled-kernels")
    yield
    del os.environ["MDC_CACHE"]
