"""The contexts of a loaded library: made when a call needs one, kept for the next, released with the library."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from mdcompiler.backends.clib.library_functions import Functions
from mdcompiler.errors import InputError, TargetError

_everywhere: weakref.WeakSet[Contexts] = weakref.WeakSet()


class Contexts:
    """Every running call has one of its own. threads: of one call.

    The library is unloaded once this is closed and no call is running. In the child of a fork, contexts that were
    running belong to threads that are not there, so they are left alone, and the library with them.
    """

    def __init__(self, functions: Functions, threads: int) -> None:
        self._functions, self._threads = functions, threads
        self._lock = threading.Lock()
        self._idle: list[int] = []
        self._running = 0
        self._closed = False
        _everywhere.add(self)

    @contextmanager
    def taken(self) -> Iterator[int]:
        """A context for one call. Raises InputError when this is closed, TargetError without one."""
        self._begin()
        context: int | None = None
        try:
            context = self._take() or self._make()
            yield context
        finally:
            self._end(context)

    def close(self) -> None:
        """Release what no call is using; the rest goes when its call ends."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._running += 1  # nobody unloads the library while contexts of it are being destroyed
            idle, self._idle = self._idle, []
        for context in idle:
            self._functions.destroy(context)
        self._leave()

    def renew_lock(self) -> None:
        """In the child of a fork: a thread that is not there may have held it."""
        self._lock = threading.Lock()

    def _begin(self) -> None:
        with self._lock:
            if self._closed:
                raise InputError("running the network: it was closed before. Load the artifact again.")
            self._running += 1

    def _end(self, context: int | None) -> None:
        with self._lock:
            kept = context is not None and not self._closed
            if context is not None and kept:
                self._idle.append(context)
        if context is not None and not kept:
            self._functions.destroy(context)
        self._leave()

    def _leave(self) -> None:
        """The library is unloaded by whoever is the last to use it."""
        with self._lock:
            self._running -= 1
            last = self._closed and not self._running
        if last:
            self._functions.close()

    def _take(self) -> int | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _make(self) -> int:
        context: int | None = self._functions.create(self._threads)
        if context:
            return context
        reason = self._functions.reason() or "it gives no reason. Compile the network again"
        raise TargetError(f"starting the compiled library: {reason.rstrip('.')}.")


def _after_fork() -> None:
    for contexts in list(_everywhere):
        contexts.renew_lock()


os.register_at_fork(after_in_child=_after_fork)
