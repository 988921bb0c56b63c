"""Compiled kernels kept between compilations, by the content of everything that made them.

Linked libraries are kept too. The key of a kernel covers its source data, the LLVM target, the TVM version and
the text of the templates,
so that a changed template or an upgraded TVM never meets an old object. `MDC_CACHE` names the folder
(default: `$XDG_CACHE_HOME/mdcompiler`, then `~/.cache/mdcompiler`); `MDC_CACHE=off` turns the cache off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.scratch import new_file, sweep

_LIMIT_BYTES = 512 * 1024 * 1024
_DIGEST_BYTES = 32


class ObjectCache:
    """A folder of object files; every failure to read or write it is a miss, never an error."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def default(cls) -> ObjectCache:
        """The user's cache, or none."""
        chosen = os.environ.get("MDC_CACHE", "")
        if chosen == "off":
            return cls(None)
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(Path(chosen) if chosen else base / "mdcompiler")

    def get(self, key: str) -> bytes | None:
        """The object stored under `key`; None when there is none or it was damaged."""
        if self._folder is None:
            return None
        try:
            path = self._folder / f"{key}.o"
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return code if hashlib.sha256(code).digest() == digest else None

    def put(self, key: str, code: bytes) -> None:
        """Store `code`, written aside and renamed."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            aside = new_file(self._folder, "object")
            try:
                with os.fdopen(os.dup(aside.handle), "wb") as stream:
                    stream.write(hashlib.sha256(code).digest() + code)
                aside.path.replace(self._folder / f"{key}.o")
            finally:
                aside.release()

    def prune(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Delete what was unused for longest until at most `limit_bytes` are left, and what killed processes left."""
        if self._folder is None:
            return
        sweep(self._folder)
        with contextlib.suppress(OSError):
            known = [(path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("*.o")]
            excess = sum(size for _, size, _ in known) - limit_bytes
            for _, size, path in sorted(known):
                if excess <= 0:
                    break
                path.unlink()
                excess -= size


def object_key(source: FunctionSource, llvm: Mapping[str, Any], compiler: str = "") -> str:
    """A hash of all that decides the machine code of `source`. compiler: the package whose process compiles it, "" for
    the one that makes object files."""
    templates = _templates_digest(compiler, type(source).__module__.rpartition(".")[0])
    parts = [repr(source), json.dumps(dict(llvm), sort_keys=True), version("apache-tvm"), templates]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@lru_cache(maxsize=8)
def _templates_digest(compiler: str, templates: str) -> str:
    """Hash of the text of every template, those of the package `templates`, and of the package that compiles them
    where it has templates of its own."""
    digest = hashlib.sha256()
    for package in sorted({"mdcompiler.backends.kernels", compiler, templates} - {""}):
        for item in sorted(files(package).iterdir(), key=lambda entry: entry.name):
            if item.name.endswith(".py"):
                digest.update(item.read_bytes())
    return digest.hexdigest()
