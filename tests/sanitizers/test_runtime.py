"""The C runtime under the sanitizers: pool, post-processing, strips; and that a fault put into each is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.c_compiler import RUNTIME
from tests.sanitizers.sanitizer import FOUND, compile_sanitized, run_sanitized

HERE = Path(__file__).parent
FAULTS = {
    "pool": ("atomic_fetch_add(&pool->next, pool->chunk)", "pool->next; pool->next = begin + pool->chunk"),
    "postprocess": ("if (child + 1 < size &&", "if (child + 1 <= size &&"),
    "slide": ("(size_t)(old.high - low) * row_bytes", "(size_t)(old.high - low + 9) * row_bytes"),
}
"""Program -> a piece of the runtime, and what is wrong instead."""


def run(program: str, sanitizer: str, folder: Path, faulty: bool = False) -> subprocess.CompletedProcess[str]:
    """A program with the runtime, which may have its fault."""
    old, new = FAULTS[program]
    for path in (HERE / f"stress_{program}.c", *RUNTIME.iterdir()):
        text = path.read_text()
        (folder / path.name).write_text(text.replace(old, new) if faulty else text)
    runtime = "postprocess.c" if program == "postprocess" else "mdc_runtime.c"
    assert not faulty or new in (folder / runtime).read_text()
    sources = [folder / f"stress_{program}.c", folder / runtime]
    return run_sanitized([compile_sanitized(sources, folder / program, sanitizer)])


@pytest.mark.parametrize("program", FAULTS)
def test_no_byte_beyond_and_nothing_undefined(program: str, tmp_path: Path) -> None:
    done = run(program, "address", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("_thread")
def test_threads_of_the_pool_never_meet(tmp_path: Path) -> None:
    done = run("pool", "thread", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("program", "said"), [("postprocess", "heap-buffer-overflow"), ("slide", "heap-buffer-overflow")]
)
def test_a_byte_beyond_is_found(program: str, said: str, tmp_path: Path) -> None:
    done = run(program, "address", tmp_path, faulty=True)
    assert done.returncode == FOUND
    assert said in done.stderr


@pytest.mark.usefixtures("_thread")
def test_two_threads_that_take_the_same_rows_are_found(tmp_path: Path) -> None:
    done = run("pool", "thread", tmp_path, faulty=True)
    assert done.returncode == FOUND
    assert "data race" in done.stderr
