"""A library for another processor says so in its own words: in C, under Python, and from `model_run`."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.clib.emit_library import CLibrary, write_library
from mdcompiler.backends.clib.emit_runner import runner
from mdcompiler.backends.clib.library import SharedLibrary
from mdcompiler.backends.clib.link import link_library, link_small_program
from mdcompiler.conformance.trial import prepare
from mdcompiler.errors import TargetError
from mdcompiler.host import host_flags
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.registry import backend
from mdcompiler.target import find_target, missing_flags, usable_flags
from tests.graphs import Sketch

MISSING = "this processor lacks NEON and the dot products of Armv8.2, for which the model was compiled. Compile it for"


@pytest.fixture(scope="module")
def foreign() -> tuple[Module, CLibrary]:
    """A sum for a processor that no machine is: x86 with Arm's instructions, or Arm with those of x86."""
    net = Sketch()
    net.node("Relu", "bend", net.input("x", [1, 8, 5, 5]))
    here = find_target("cpu")
    odd = here.model_copy(update={"cpu_flags": (*here.cpu_flags, "asimd", "asimddp")})
    module = prepare(backend("cpu"), here, net.model("bend"))
    module.target = odd
    return module, write_library(module, silent, 1, "model")


@pytest.fixture
def library(foreign: tuple[Module, CLibrary], tmp_path: Path) -> Path:
    path = tmp_path / "model.so"
    path.write_bytes(link_library(foreign[1].files, foreign[1].objects))
    return path


@pytest.mark.skipif("asimd" in host_flags(), reason="the library is for Arm, and this is one")
def test_the_c_functions_say_what_the_processor_lacks(library: Path) -> None:
    loaded = ctypes.CDLL(str(library))
    loaded.model_create.restype, loaded.model_error.restype = ctypes.c_void_p, ctypes.c_char_p
    assert loaded.model_create(1) is None
    assert loaded.model_error().decode().startswith(MISSING)


@pytest.mark.skipif("asimd" in host_flags(), reason="the library is for Arm, and this is one")
def test_python_repeats_it(library: Path, foreign: tuple[Module, CLibrary]) -> None:
    module, _ = foreign
    opened = SharedLibrary(library, input_specs(module), output_specs(module))
    with pytest.raises(TargetError, match=r"starting the compiled library: this processor lacks NEON.* target\.$"):
        opened.run({"x": np.ones((1, 8, 5, 5), np.float32)})


@pytest.mark.skipif("asimd" in host_flags(), reason="the library is for Arm, and this is one")
def test_the_program_prints_it(library: Path, foreign: tuple[Module, CLibrary], tmp_path: Path) -> None:
    source = foreign[1].source
    main = runner("model", source.inputs, source.outputs, []).encode()
    files = {"model_main.c": main, "model.h": foreign[1].files["model.h"]}
    program = tmp_path / "model_run"
    program.write_bytes(link_small_program(files, "model.so", library.read_bytes(), ""))
    program.chmod(0o755)
    (tmp_path / "x").write_bytes(bytes(4 * 200))
    done = subprocess.run([program, tmp_path / "x", tmp_path / "y"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(MISSING)


def test_no_memory_is_told_too(foreign: tuple[Module, CLibrary], tmp_path: Path) -> None:
    files = dict(foreign[1].files)
    code = files["model.c"].decode()
    assert code.count("mdc_allocate(") == 3
    code = re.sub(r"mdc_cpu_has\([^)]*\)", "1", code).replace(
        "arena = mdc_allocate(", "arena = mdc_allocate(SIZE_MAX / 2 + "
    )
    files["model.c"] = code.encode()
    path = tmp_path / "model.so"
    path.write_bytes(link_library(files, foreign[1].objects))
    loaded = ctypes.CDLL(str(path))
    loaded.model_create.restype, loaded.model_error.restype = ctypes.c_void_p, ctypes.c_char_p
    assert loaded.model_create(3) is None
    assert loaded.model_error().decode().endswith("bytes and 3 threads")


def test_a_lesser_processor_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if missing_flags(find_target("x86-64-v3")):
        pytest.skip("this processor is no x86-64-v3")
    monkeypatch.setenv("MDC_CPU", "x86-64-v2")
    assert find_target("cpu").description == "this machine (x86-64-v2)"
    assert missing_flags(find_target("x86-64-v3")) == ["avx2", "bmi2", "f16c", "fma"]
    assert not missing_flags(find_target("x86-64-v2"))


@pytest.mark.parametrize(("name", "says"), [("x86-64-v9", "x86-64-v2"), ("cortex-a76", "lacks asimd")])
def test_a_processor_that_this_is_not_is_refused(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdcompiler.target.host_flags", lambda: frozenset({"sse4_1", "sse4_2", "ssse3", "popcnt"}))
    monkeypatch.setenv("MDC_CPU", name)
    with pytest.raises(TargetError, match=f"MDC_CPU is '{name}'.*{says}"):
        usable_flags()


def test_an_emulated_processor_is_not_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc/cpuinfo is the host's under QEMU; what CPUID denies is not there."""
    monkeypatch.setattr("mdcompiler.host._told_by_linux", lambda: frozenset({"avx512f", "avx2", "sse4_2"}))
    monkeypatch.setattr("mdcompiler.host._denied_by_processor", lambda: frozenset({"avx512f", "avx512_vnni"}))
    assert host_flags() == {"avx2", "sse4_2"}
