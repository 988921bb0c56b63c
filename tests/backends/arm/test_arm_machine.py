"""Which machine runs code for an Arm target, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

import mdcompiler
from mdcompiler.backend import why_not_run
from mdcompiler.backends.arm.backend import ArmBackend
from mdcompiler.backends.arm.machine import emulated_processor, is_native, launcher
from mdcompiler.backends.clib.program_runner import ProgramRunner
from mdcompiler.conformance import MODELS
from mdcompiler.errors import ArtifactError, InternalError, MissingToolError, TargetError
from mdcompiler.self_check import read_check
from mdcompiler.target import find_target, shipped_targets
from tests.backends.arm.emulated import saved

ARM = [name for name, target in shipped_targets().items() if target.backend == "arm"]


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An x86 machine without an emulator."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("mdcompiler.backends.arm.machine.shutil.which", lambda _: None)


@pytest.fixture
def raspberry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Cortex-A72: NEON without dot products."""
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("mdcompiler.target.host_flags", lambda: frozenset({"fp", "asimd", "crc32"}))


def test_shipped_targets() -> None:
    assert {"arm64", "arm64-musl", "arm64-android", "cortex-a55", "cortex-a76", "neoverse-v1"} <= set(ARM)
    for name in ARM:
        target = find_target(name)
        assert target.lanes == 4
        assert target.zig.startswith("aarch64-linux-")
        assert str(target.llvm["mtriple"]).startswith("aarch64-")
        assert "asimd" in target.cpu_flags


@pytest.mark.parametrize(
    ("target", "model"), [("arm64", "cortex-a53"), ("cortex-a55", "cortex-a76"), ("neoverse-v1", "max")]
)
def test_the_emulated_processor_has_no_more_than_the_target(target: str, model: str) -> None:
    assert emulated_processor(find_target(target)) == model


def test_a_processor_like_the_target_needs_no_emulator(raspberry: None) -> None:
    assert is_native(find_target("arm64"))
    assert launcher(find_target("arm64")) == []
    assert not is_native(find_target("cortex-a76"))


def test_one_message_with_the_install_command(bare_machine: None) -> None:
    reason = why_not_run(ArmBackend(), find_target("cortex-a76"))
    assert "cortex-a76" in reason
    assert "apt-get install qemu-user" in reason
    with pytest.raises(MissingToolError, match="apt-get install qemu-user"):
        launcher(find_target("cortex-a76"))


def test_compiling_without_an_emulator_says_so(bare_machine: None, tmp_path: Path) -> None:
    model = saved(MODELS["picture"](), tmp_path / "picture.onnx")
    artifact = mdcompiler.compile(model, "arm64", tmp_path / "out")
    assert artifact.manifest.check == ""
    assert read_check(artifact).expected, "for `mdc verify` on the device"
    with pytest.raises(TargetError, match="apt-get install qemu-user"):
        mdcompiler.load(tmp_path / "out")


def test_a_program_that_fails_is_reported_with_its_words(tmp_path: Path) -> None:
    program = tmp_path / "model_run"
    program.write_text("#!/bin/sh\necho no such thing >&2\nexit 3\n")
    runner = ProgramRunner((), program, (), ())
    with pytest.raises(InternalError, match="status 3: no such thing"):
        runner.run({})
    runner.close()


def test_a_missing_program_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="model_run"):
        ProgramRunner((), tmp_path / "model_run", (), ())
