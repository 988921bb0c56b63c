"""Machine code for all kernel functions of a program, in child processes.

A template that LLVM refuses can abort the whole process, so TVM is never run in the caller's: a child
that dies takes one kernel with it, and the error says which. The children are started by module name,
not by multiprocessing, which would run the user's own script again.
"""

from __future__ import annotations

import pickle
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mdcompiler.backends.clib.compile_worker import read_message, write_message
from mdcompiler.backends.clib.object_cache import ObjectCache, object_key
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.errors import InternalError
from mdcompiler.progress import Progress

_WORKER = "mdcompiler.backends.clib.compile_worker"


def build_objects(
    functions: Mapping[str, FunctionSource],
    llvm: Mapping[str, Any],
    workers: int,
    progress: Progress,
    worker: str = "",
) -> list[bytes]:
    """One object file for each function, in the order of `functions`.

    workers: how many processes compile at once. What was compiled before comes from the cache. worker: the module of
    the child process, "" for LLVM's; another one's answers need be no object files, and its package holds templates.
    Raises InternalError naming the function that fails.
    """
    cache = ObjectCache.default()
    keys = {symbol: object_key(source, llvm, worker.rpartition(".")[0]) for symbol, source in functions.items()}
    found = {symbol: code for symbol, key in keys.items() if (code := cache.get(key)) is not None}
    build = _Build(dict(functions), dict(llvm), progress, worker or _WORKER, objects=dict(found))
    threads = [threading.Thread(target=build.work) for _ in range(max(1, min(workers, len(functions))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if build.failures:
        raise InternalError(build.failures[0])
    for symbol in functions.keys() - found.keys():
        cache.put(keys[symbol], build.objects[symbol])
    cache.prune()
    return [build.objects[symbol] for symbol in functions]


@dataclass
class _Build:
    """The work shared by the threads; each owns one child process."""

    functions: dict[str, FunctionSource]
    llvm: dict[str, Any]
    progress: Progress
    worker: str
    objects: dict[str, bytes] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        for symbol in (symbol for symbol in self.functions if symbol not in self.objects):
            self.waiting.put(symbol)

    def work(self) -> None:
        """Compile until nothing is left or something failed."""
        if self.waiting.empty():
            return
        command = [sys.executable, "-m", self.worker]
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as child,
        ):
            while not self.failures:
                try:
                    symbol = self.waiting.get_nowait()
                except queue.Empty:
                    break
                failure = self._compile(child, symbol)
                if failure is not None:
                    errors.seek(0)
                    self._fail(symbol, failure or errors.read()[-2000:].decode(errors="replace"))

    def _compile(self, child: subprocess.Popen[bytes], symbol: str) -> str | None:
        """None, or what went wrong: "" when the child died without a word."""
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            write_message(child.stdin, pickle.dumps((self.functions[symbol], self.llvm)))
            answer = read_message(child.stdout)
        except (EOFError, OSError):
            return ""
        if answer[:1] != b"+":
            return answer[1:].decode(errors="replace")
        with self.lock:
            self.objects[symbol] = answer[1:]
            self.progress("compile kernels", len(self.objects), len(self.functions))
        return None

    def _fail(self, symbol: str, reason: str) -> None:
        self.failures.append(
            f"compiling {self.functions[symbol]}: {reason.strip() or 'the process died'}. "
            "This is a fault of the template: send this message with the spec."
        )
