"""Temporary files: private names, swept when their owner is gone, never before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mdcompiler import scratch

OWNER = """
import sys
from pathlib import Path
from mdcompiler.scratch import new_file, new_folder
held = [new_folder(Path(sys.argv[1]), "test"), new_file(Path(sys.argv[1]), "test")]
(held[0].path / "deep").mkdir()
print("ready", flush=True)
sys.stdin.read()
"""


def owner_in(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OWNER, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_a_killed_process_left_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    process = owner_in(tmp_path)
    scratch.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "its owner lives"
    process.kill()
    process.communicate()
    assert len(list(tmp_path.iterdir())) == 2
    scratch.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_is_swept(tmp_path: Path) -> None:
    names = ["mdcompiler-notes", "mdcompiler-link-0123456789abcdef", "mdc-link-abc.tmp", "mdcompiler-link-0123.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "mdcompiler-link-0123456789abcdef.tmp").symlink_to(tmp_path / names[0])
    scratch.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5
    scratch.sweep(tmp_path / "missing")


def test_a_scratch_folder_goes_with_its_block_and_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch.scratch_folder("test") as folder:
        (folder / "a").write_text("x")
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []
    kept = scratch.scratch_folder_of("test")
    assert len(list(tmp_path.iterdir())) == 1
    del kept
    assert list(tmp_path.iterdir()) == []


def test_the_child_of_a_fork_leaves_it_to_its_parent(tmp_path: Path) -> None:
    kept = scratch.new_folder(tmp_path, "test")
    pid = os.fork()
    if not pid:
        kept.release()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert kept.path.is_dir()
    kept.release()
    assert not kept.path.exists()


def test_the_next_scratch_folder_sweeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    process = owner_in(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with scratch.scratch_folder("test") as folder:
        assert list(tmp_path.iterdir()) == [folder]
