"""Running Vela, a Python package with a command line, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mdcompiler.errors import MissingToolError, UnsupportedError

PACKAGE = "ethosu"
MODULE = "ethosu.vela"
COMPILED_FILE = "model_vela.tflite"
ACCELERATORS = (
    *("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512"),
    *("ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"),
)
_LIMIT_SECONDS = 600
_TOLD_CHARACTERS = 2000


@dataclass(frozen=True)
class VelaOutput:
    """file: for the device. layers, summary: Vela's two reports, as csv text."""

    file: bytes
    layers: str
    summary: str


def check_vela(accelerator: str) -> None:
    """Raise MissingToolError when Vela is not installed, UnsupportedError when it does not know `accelerator`."""
    if find_spec(PACKAGE) is None:
        raise MissingToolError("compiling for Ethos-U needs the package ethos-u-vela: pip install mdcompiler[vela]")
    if accelerator not in ACCELERATORS:
        raise UnsupportedError(
            f"compiling for {accelerator}: Vela has no such accelerator; there are {', '.join(ACCELERATORS)}. "
            "Give the target one of these names."
        )


def run_vela(file: bytes, accelerator: str) -> VelaOutput:
    """Compile a `.tflite` file. Raises UnsupportedError with Vela's last words when it does not."""
    with tempfile.TemporaryDirectory(prefix="mdcompiler-vela-") as name:
        folder = Path(name)
        source, out = folder / "model.tflite", folder / "out"
        source.write_bytes(file)
        options = ["--accelerator-config", accelerator, "--output-dir", str(out), "--verbose-performance"]
        words = _run([sys.executable, "-m", MODULE, str(source), *options])
        found = {key: sorted(out.glob(key)) for key in (COMPILED_FILE, "*_per-layer.csv", "*_summary_*.csv")}
        if not all(found.values()):
            raise _failure("it did not write all of its files", words)
        compiled, layers, summary = (paths[0] for paths in found.values())
        return VelaOutput(compiled.read_bytes(), layers.read_text(), summary.read_text())


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failure(str(error), "") from error
    words = done.stdout.decode(errors="replace")
    if done.returncode:
        raise _failure(f"it ended with {done.returncode}", words)
    return words


def _failure(what: str, words: str) -> UnsupportedError:
    told = f": {words[-_TOLD_CHARACTERS:].strip()}" if words.strip() else ""
    return UnsupportedError(f"compiling for Ethos-U with Vela: {what}{told}. Change the network as it says.")
