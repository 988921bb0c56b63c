"""The tuner's bench on a device: candidates are sent to it over TVM's RPC and timed there.

A tracker hands out the device under its key. Every function is built a second time in TVM's own calling
convention, as a library that the device's TVM runtime loads; loops and machine code are the same. After a candidate
that fails the device is asked for anew; whoever runs it starts a server that was killed again.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from mdcompiler.backends.clib.candidates import Buffer, Builder, Candidate, shared_buffers
from mdcompiler.backends.clib.local_bench import Outcome, measurement
from mdcompiler.errors import TuningError
from mdcompiler.target import Target
from mdcompiler.tuning.record import Measurement, Schedule
from mdcompiler.tuning.tunable import Device, Job

_WAIT_SECONDS = 20.0
_ASK_SECONDS = 0.2
_KNOCK_SECONDS = 5.0
_SESSION_SECONDS = 600
_ROUNDS, _REPEATS = 3, 4
_BATCH_MS = 1


class RemoteBench:
    """Measures on one device, which is held from the first measurement on."""

    def __init__(self, target: Target, device: Device) -> None:
        self._builder = Builder(target, packed=True)
        self._device = device
        self._session: Any = None
        self._modules: dict[str, Any] = {}
        """What this session has loaded: a file that is in use must not be sent again."""

    def __enter__(self) -> RemoteBench:
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()
        self._builder.__exit__(kind, error, trace)

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        """See `Bench.measure`."""
        return [self._job(job, schedules) for job, schedules in jobs]

    def _job(self, job: Job, schedules: Sequence[Schedule]) -> list[Measurement]:
        built = [self._builder.build(job.subject(schedule)) for schedule in schedules]
        outcomes: list[Outcome] = [item if isinstance(item, str) else [] for item in built]
        for _ in range(_ROUNDS):
            for index, item in enumerate(built):
                outcome = outcomes[index]
                if isinstance(item, Candidate) and isinstance(outcome, list):
                    outcomes[index] = self._times(item, outcome)
        return [measurement(*pair) for pair in zip(schedules, outcomes, strict=True)]

    def _times(self, candidate: Candidate, before: list[float]) -> Outcome:
        """The times of earlier rounds and of another one."""
        if self._session is None:
            self._connect()
        try:
            return [*before, *self._round(candidate)]
        except Exception as error:  # TVM raises what it likes for a device that went away
            self._release()
            return f"running: {type(error).__name__}: {error}"

    def _round(self, candidate: Candidate) -> list[float]:
        device = self._session.cpu(0)
        arrays = {slot: _array(buffer, device) for slot, buffer in shared_buffers([candidate]).items()}
        total = np.zeros(_REPEATS)
        for function, tasks in candidate.steps:
            module = self._load(function.symbol, function.code)
            timer = module.time_evaluator(function.symbol, device, number=1, repeat=_REPEATS, min_repeat_ms=_BATCH_MS)
            pointers = [arrays[buffer.slot] for buffer in function.buffers]
            total += np.array(timer(*pointers, 0, tasks).results) * 1e9
        return [float(value) for value in total]

    def _load(self, symbol: str, code: bytes) -> Any:
        """The function's library on the device."""
        if symbol not in self._modules:
            name = f"{symbol}.so"
            self._session.upload(bytearray(code), name)
            self._modules[symbol] = self._session.load_module(name)
        return self._modules[symbol]

    def _release(self) -> None:
        self._modules.clear()
        self._session = None

    def _connect(self) -> None:
        """Ask the tracker for the device. Raises TuningError when there is none."""
        host, port, key = self._device
        try:
            self._session = _request(self._device)
        except Exception as error:  # as above
            raise TuningError(
                f"tuning on a device: the tracker at {host}:{port} has none under the key {key!r} "
                f"({type(error).__name__}: {error}). Start `python -m tvm.exec.rpc_tracker` there and, on the device, "
                f"`python -m tvm.exec.rpc_server --tracker {host}:{port} --key {key}`; a server that a candidate "
                "killed has to be started again. What was measured is recorded."
            ) from error


def _request(device: Device) -> Any:
    """A session with the device. Raises when none is free in time: a request itself would wait for ever."""
    from tvm import rpc

    socket.create_connection((device.host, device.port), _KNOCK_SECONDS).close()  # TVM would try for a minute
    tracker = rpc.connect_tracker(device.host, device.port)
    deadline = time.monotonic() + _WAIT_SECONDS
    while not tracker.summary()["queue_info"].get(device.key, {}).get("free"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"none was free in {_WAIT_SECONDS} s")
        time.sleep(_ASK_SECONDS)
    return tracker.request(device.key, session_timeout=_SESSION_SECONDS, max_retry=1)


def _array(buffer: Buffer, device: Any) -> Any:
    """Small numbers on the device."""
    import tvm

    chance = np.random.default_rng(0)
    kind = np.dtype(buffer.dtype)
    if kind.kind == "f":
        values = chance.uniform(-1.0, 1.0, buffer.elements).astype(kind)
    else:
        values = chance.integers(0, 8 if kind.itemsize > 1 else 100, buffer.elements).astype(kind)
    return tvm.runtime.tensor(values, device)
