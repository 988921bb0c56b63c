"""Names of tensors as C parameters: never a word of C or C++, never a macro, never twice, even in capitals."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mdcompiler.backends.clib.c_header import framed_header
from mdcompiler.backends.clib.c_identifiers import c_identifiers
from mdcompiler.backends.clib.c_source import interface
from tests.c_compiler import compilers

_NAMES = [
    *("x", "X", "a.b", "a/b", "a_b", "a_b_2", "A.B", "int", "double", "NULL", "uint8_t", "EXPORT", "class", "linux"),
    *(
        "serving_default_x:0",
        "日本",
        "中国",
        "",
        "1.x",
        "1_x",
        "__file__",
        "_Bool",
        "context",
        "model_run",
        "threads",
        "y",
    ),
    *("and", "errno", "UINT8_MAX", "INT8_C", "scratch", "memcpy", "f", "step_0", "mdc_copy", "a" * 5000, "a" * 5001),
]


def test_plain_names_stay_as_they_are() -> None:
    assert c_identifiers(["image", "box_encodings", "X", "model_output"]) == [
        "image",
        "box_encodings",
        "X",
        "model_output",
    ]


def test_every_name_is_its_own() -> None:
    found = c_identifiers(_NAMES)
    assert len({name.upper() for name in found}) == len(_NAMES)
    assert max(map(len, found)) < 130


@pytest.mark.parametrize("name", ["int", "class", "NULL", "uint8_t", "context", "_x", "linux", "model_run", "memcpy"])
def test_a_claimed_name_is_left_to_who_claims_it(name: str) -> None:
    assert c_identifiers([name]) != [name]


@pytest.mark.parametrize("language", ["c", "c++"])
def test_a_header_of_odd_names_compiles(language: str, tmp_path: Path) -> None:
    specs = [{"name": name, "shape": (2, 3), "dtype": "float32"} for name in _NAMES]
    inputs, outputs = interface(specs[:7], specs[7:])
    tensors = [*inputs, *outputs]
    body = f"int model_run(model_context *context, {', '.join(f'float *{t.identifier}' for t in tensors)});\n"
    uses = "\n".join(f"int use{i}[MODEL_{t.identifier.upper()}_COUNT == 6 ? 1 : -1];" for i, t in enumerate(tensors))
    (tmp_path / "model.h").write_text(framed_header("model", tensors, "", body))
    (tmp_path / "use.c").write_text(f'#include <errno.h>\n#include <stdio.h>\n#include "model.h"\n{uses}\n')
    command = [*compilers()[0], "-x", language, "-Wall", "-Werror", "-fsyntax-only", str(tmp_path / "use.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
