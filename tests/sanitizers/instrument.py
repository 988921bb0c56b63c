"""Kernels whose loads and stores a sanitizer sees: LLVM's own pass over the very IR that ships.

TVM has no sanitizers, so its optimised IR is written as text, its functions are marked, and the clang of the ziglang
wheel (the same LLVM) makes the object. gcc's runtime libraries serve it: the interface is one (version 8).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mdcompiler.backends.clib import emit_library
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.kernels import object_file
from mdcompiler.backends.legalize import LegalKernel, legalize_all, plain_c

ATTRIBUTES = {"address": "sanitize_address", "thread": "sanitize_thread"}
"""Name as in -fsanitize= -> the attribute of LLVM's functions."""


@contextmanager
def instrumented_kernels(sanitizer: str) -> Iterator[None]:
    """What `write_library` compiles meanwhile is instrumented, in this process and past the cache."""
    with pytest.MonkeyPatch.context() as patch:
        to_object = partial(_object, sanitizer)
        patch.setattr(object_file, "object_bytes", to_object)
        patch.setattr(plain_c, "object_bytes", to_object)
        patch.setattr(emit_library, "build_objects", _build_objects)
        patch.setattr(emit_library, "legalize_all", _legalize_all)
        yield


def _object(sanitizer: str, library: Any) -> bytes:
    """The machine code of a module that TVM built."""
    with tempfile.TemporaryDirectory(prefix="mdc-sanitize-") as name:
        path = Path(name) / "kernels.ll"
        library.write_to_file(str(path), "ll")
        path.write_text(_marked(path.read_text(), ATTRIBUTES[sanitizer]))
        command = [sys.executable, "-m", "ziglang", "cc", "-w", "-O1", f"-fsanitize={sanitizer}", "-c", path.name]
        done = subprocess.run([*command, "-o", "kernels.o"], cwd=name, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return path.with_suffix(".o").read_bytes()


def _marked(text: str, attribute: str) -> str:
    """LLVM's text with an attribute on every function that is defined there."""
    groups = set(re.findall(r"^define .*\) .*?(#\d+)", text, re.MULTILINE))
    assert groups, "functions in LLVM's text have groups of attributes"
    for group in groups:
        text = text.replace(f"attributes {group} = {{", f"attributes {group} = {{ {attribute}", 1)
    return text


def _build_objects(functions: Mapping[str, FunctionSource], llvm: Mapping[str, Any], *_: object) -> list[bytes]:
    """As `build_objects`: all functions in one object."""
    written = {symbol: source.write() for symbol, source in functions.items()}
    return [object_file.compile_object(written, llvm)] if written else []


def _legalize_all(*arguments: Any, alignment_bytes: int, **options: Any) -> dict[str, LegalKernel]:
    """As `legalize_all`, the functions that TVM wrote compiled again."""
    import tvm

    legal = legalize_all(*arguments, alignment_bytes=alignment_bytes, **options)
    made = {}
    for name, kernel in legal.items():
        functions = {v.name_hint: f for v, f in tvm.ir.load_json(kernel.functions_json).functions.items()}
        code = plain_c.compile_plain_c(functions, arguments[1], alignment_bytes)
        made[name] = replace(kernel, object_code=code)
    return made
