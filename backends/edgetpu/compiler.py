"""Google's edgetpu_compiler, where it is installed: the file it makes, and what it says about it.

It is a closed program for x86-64 Linux that each user installs from coral.ai. Without it there is `model.tflite`
and a predicted mapping; with it also `model_edgetpu.tflite`, which the chip runs.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from mdcompiler.backends.edgetpu.compiler_log import CompilerLog, parse_log
from mdcompiler.backends.tflite.device_compiler import DeviceCompiler
from mdcompiler.scratch import scratch_folder

PROGRAM = "edgetpu_compiler"
COMPILED_FILE = "model_edgetpu.tflite"
_COMPILER = DeviceCompiler(
    f"compiling for the Edge TPU with {PROGRAM}",
    "Change the network as it says, or take the program off PATH: the file for LiteRT is then written without it.",
)


@dataclass(frozen=True)
class Compiled:
    """file: for the chip. log: what the compiler said."""

    file: bytes
    log: CompilerLog


def find_compiler() -> str | None:
    """The path of edgetpu_compiler, or None."""
    return shutil.which(PROGRAM)


def run_compiler(program: str, file: bytes) -> Compiled:
    """Compile a `.tflite` file. Raises UnsupportedError with the compiler's last words when it does not."""
    with scratch_folder("edgetpu") as folder:
        source = folder / "model.tflite"
        source.write_bytes(file)
        words = _COMPILER.run([program, "-s", "-o", str(folder), str(source)])
        made = folder / COMPILED_FILE
        if not made.is_file():
            raise _COMPILER.failure("it wrote no file", words)
        log = made.with_suffix(".log")
        text = words + "\n" + (log.read_text(errors="replace") if "\nOperator " not in words and log.is_file() else "")
        return Compiled(made.read_bytes(), parse_log(text))
