"""Files and directories that appear whole or not at all, under kill -9 too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdcompiler import write_aside
from mdcompiler.errors import OutputError
from mdcompiler.exchange import exchange
from mdcompiler.write_aside import write_directory, write_file

Files = dict[str, bytes]
OLD: Files = {"a": b"old" * 1000, "b": b"1"}
NEW: Files = {"a": b"new" * 2000, "c": b"2"}


def anything(folder: Path) -> None:
    """Every directory passes."""


def write(path: Path, files: Files) -> None:
    write_directory(path, files, anything, anything)


def content(path: Path) -> Files:
    return {item.name: item.read_bytes() for item in path.iterdir()}


def killed_after(seconds: float, work: Callable[[], None]) -> None:
    """Run `work` again and again in a child, and kill it."""
    pid = os.fork()
    if not pid:
        while True:
            work()
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def cannot(one: Path, other: Path) -> bool:
    return False


@pytest.mark.parametrize("exchanging", [True, False])
def test_a_kill_leaves_the_old_or_the_new(tmp_path: Path, exchanging: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanging:
        monkeypatch.setattr(write_aside, "exchange", cannot)
    out, clock = tmp_path / "out", np.random.default_rng(0)

    def both() -> None:
        write(out, OLD)
        write(out, NEW)

    write(out, OLD)
    for _ in range(25):
        killed_after(clock.uniform(0, 0.02), both)
        if exchanging:
            assert content(out) in (OLD, NEW)
        write(tmp_path / "other", OLD)
        write(out, OLD)
        assert content(out) == OLD
        assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_a_directory_that_a_kill_renamed_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_aside, "exchange", cannot)
    write(tmp_path / "out", OLD)
    (tmp_path / "out").rename(write_aside._old_name(tmp_path / "out"))

    def refuse(folder: Path) -> None:
        raise OutputError("no")

    with pytest.raises(OutputError, match="no"):
        write_directory(tmp_path / "out", NEW, refuse, anything)
    assert content(tmp_path / "out") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_under_kills_is_the_old_or_the_new(tmp_path: Path) -> None:
    out, clock = tmp_path / "out.bin", np.random.default_rng(1)
    old, new = b"a" * 100_000, b"b" * 200_000

    def both() -> None:
        write_file(out, old)
        write_file(out, new)

    write_file(out, old)
    for _ in range(25):
        killed_after(clock.uniform(0, 0.02), both)
        assert out.read_bytes() in (old, new)
    write_file(out, new)
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file.link").symlink_to(tmp_path / "far" / "file")
    write(tmp_path / "link", NEW)
    write_file(tmp_path / "file.link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == NEW
    assert (tmp_path / "file.link").is_symlink()
    assert (tmp_path / "far" / "file").read_bytes() == b"1"


def test_what_came_in_meanwhile_is_not_lost(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    calls: list[Path] = []

    def disturbed(folder: Path) -> None:
        calls.append(folder)
        if len(calls) == 2:
            raise OutputError("it holds thesis.txt")

    with pytest.raises(OutputError, match="thesis"):
        write_directory(tmp_path / "out", NEW, anything, disturbed)
    assert content(tmp_path / "out") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_permissions_stay(tmp_path: Path) -> None:
    write(tmp_path / "out", OLD)
    (tmp_path / "out").chmod(0o750)
    write(tmp_path / "out", NEW)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    write_file(tmp_path / "file", b"")
    (tmp_path / "file").chmod(0o600)
    write_file(tmp_path / "file", b"1")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir()], ids=["pipe", "directory"])
def test_what_is_no_plain_file_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out")
    kind = (tmp_path / "out").stat().st_mode
    with pytest.raises(OutputError, match="give the path of a file"):
        write_file(tmp_path / "out", b"1")
    assert (tmp_path / "out").stat().st_mode == kind


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="writing"):
        write_file(tmp_path / name, b"")
    with pytest.raises(OutputError, match="writing"):
        write(tmp_path / name, {})
    assert list(tmp_path.iterdir()) == []


def test_what_a_result_is_made_from_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"mine")
    (tmp_path / "link.png").symlink_to("picture.png")
    for name in ("picture.png", "link.png"):
        with pytest.raises(OutputError, match=r"would replace .*picture\.png"):
            write_file(tmp_path / name, b"drawn", [tmp_path / "absent.png", tmp_path / "picture.png"])
    assert (tmp_path / "picture.png").read_bytes() == b"mine"


def test_exchange(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("b")
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange names")
    assert (tmp_path / "b").is_dir()
    with pytest.raises(OSError, match=r"missing"):
        exchange(tmp_path / "a", tmp_path / "missing")
