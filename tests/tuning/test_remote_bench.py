"""Tuning over RPC: a tracker and a server on this machine stand for a device."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdcompiler.backends.clib import remote_bench
from mdcompiler.backends.clib.remote_bench import RemoteBench
from mdcompiler.cli.tune_command import parse_device
from mdcompiler.errors import TuningError
from mdcompiler.target import find_target
from mdcompiler.tuning.tunable import Device
from tests.tuning.test_bench import job

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 90
_SERVE = """
import sys
from pathlib import Path
from tvm.rpc.server import Server
from tvm.rpc.tracker import Tracker
first = int(sys.argv[1])
tracker = Tracker(host="127.0.0.1", port=first, port_end=first + 50, silent=True)
place = ("127.0.0.1", tracker.port)
server = Server("127.0.0.1", tracker.port + 1, first + 100, tracker_addr=place, key="board", silent=True)
Path("started").write_text(str(tracker.port))
Path("started").rename("port")
sys.stdin.read()
server.terminate()
tracker.terminate()
"""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """Ports are searched upwards from a free one; the tracker's is written to a file, for servers keep pipes open."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = min(probe.getsockname()[1], 65000)
    command = [sys.executable, "-W", "ignore", "-c", _SERVE, str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as child:
        deadline = time.monotonic() + _START_SECONDS
        while not (tmp_path / "port").exists() and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.1)
        yield Device("127.0.0.1", int((tmp_path / "port").read_text()), "board")
        assert child.stdin is not None
        child.stdin.close()
        child.wait(_START_SECONDS)


def test_candidates_are_timed_on_the_device(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_ROOT)
    work = job(["none", "abort", "good"])
    with RemoteBench(find_target("cpu"), device) as bench:
        (measured,) = bench.measure([(work, work.candidates)])
    assert [item.min_ns is not None for item in measured] == [True, False, True]
    assert measured[1].failure.startswith("building: the process ended with status -6")


def test_a_device_that_a_candidate_killed_is_asked_for_and_waited_for(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TVM's server does not survive a crash; the tuner stops and says so instead of waiting for ever."""
    monkeypatch.chdir(_ROOT)
    monkeypatch.setattr(remote_bench, "_WAIT_SECONDS", 1.0)
    work = job(["good", "crash"])
    with RemoteBench(find_target("cpu"), device) as bench:
        (first,) = bench.measure([(work, work.candidates[:1])])
        assert first[0].min_ns is not None
        with pytest.raises(TuningError, match="a server that a candidate killed has to be started again"):
            bench.measure([(work, work.candidates[1:])] * 2)


def test_without_a_device_it_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_bench, "_WAIT_SECONDS", 0.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = Device("127.0.0.1", probe.getsockname()[1], "board")
        with pytest.raises(TuningError, match=r"has none under the key 'board'(.|\n)*tvm\.exec\.rpc_server"):
            RemoteBench(find_target("cpu"), nobody).__enter__()


@pytest.mark.parametrize(
    ("rpc", "key"),
    [("127.0.0.1", "board"), ("127.0.0.1:x", "board"), (":9190", "board"), ("a:99999", "b"), ("a:1", "")],
)
def test_half_an_address_is_refused(rpc: str, key: str) -> None:
    with pytest.raises(TuningError, match="give both"):
        parse_device(rpc, key)


def test_an_address_is_read() -> None:
    assert parse_device("127.0.0.1:9190", "board") == Device("127.0.0.1", 9190, "board")
    assert parse_device("", "") is None
