"""Libraries for three C libraries, linked here, as their loaders will see them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdcompiler.backends.arm.backend import ArmBackend
from mdcompiler.backends.clib.emit_library import CLibrary, write_library
from mdcompiler.backends.clib.link import link_library
from mdcompiler.conformance import MODELS
from mdcompiler.conformance.trial import prepare
from mdcompiler.progress import silent
from mdcompiler.target import find_target
from tests.backends.arm.elf_file import AARCH64, ElfFile

# bionic's libc.map.txt and libm.map.txt list these without an `introduced` above API level 21.
_BIONIC = {
    *("sched_getaffinity", "sched_setaffinity", "sched_getcpu", "__sched_cpucount", "syscall", "getpid"),
    *("calloc", "free", "posix_memalign", "memcpy", "memmove", "memset", "memcmp", "qsort", "getauxval", "snprintf"),
    *("clock_gettime", "sched_yield", "exp", "expf", "__cxa_finalize", "__cxa_atexit", "__stack_chk_fail"),
    *("pthread_create", "pthread_join", "pthread_mutex_init", "pthread_mutex_destroy", "pthread_mutex_lock"),
    *(
        "pthread_mutex_unlock",
        "pthread_cond_init",
        "pthread_cond_destroy",
        "pthread_cond_wait",
        "pthread_cond_broadcast",
    ),
}


@pytest.fixture(scope="module")
def library() -> CLibrary:
    module = prepare(ArmBackend(), find_target("arm64"), MODELS["picture"]())
    return write_library(module, silent, 1, "model")


def test_glibc_is_an_old_one(library: CLibrary) -> None:
    data = link_library(library.files, library.objects, "aarch64-linux-gnu.2.17")
    assert ElfFile(data).machine == AARCH64
    versions = {tuple(map(int, found)) for found in re.findall(rb"GLIBC_(\d+)\.(\d+)", data)}
    assert versions
    assert max(versions) <= (2, 17)


def test_musl(library: CLibrary) -> None:
    file = ElfFile(link_library(library.files, library.objects, "aarch64-linux-musl"))
    assert file.machine == AARCH64
    assert file.needed in (["libc.so"], [])


def test_android_finds_every_function_and_its_pages_are_large(library: CLibrary) -> None:
    file = ElfFile(link_library(library.files, library.objects, "aarch64-linux-android"))
    assert file.machine == AARCH64
    assert file.needed == ["libc.so", "libm.so"]
    assert file.undefined <= _BIONIC
    assert "pthread_create" in file.undefined
    assert file.load_alignments == {16384}


def test_the_same_input_gives_the_same_bytes(library: CLibrary, tmp_path: Path) -> None:
    first, second = (link_library(library.files, library.objects, "aarch64-linux-android") for _ in range(2))
    assert first == second
