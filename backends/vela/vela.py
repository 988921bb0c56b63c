"""Running Vela, a Python package with a command line, in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec

from mdcompiler.backends.tflite.device_compiler import DeviceCompiler
from mdcompiler.errors import MissingToolError, UnsupportedError
from mdcompiler.scratch import scratch_folder

PACKAGE = "ethosu"
MODULE = "ethosu.vela"
COMPILED_FILE = "model_vela.tflite"
ACCELERATORS = (
    *("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512"),
    *("ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"),
)
_COMPILER = DeviceCompiler("compiling for Ethos-U with Vela", "Change the network as it says.")


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
    with scratch_folder("vela") as folder:
        source, out = folder / "model.tflite", folder / "out"
        source.write_bytes(file)
        options = ["--accelerator-config", accelerator, "--output-dir", str(out), "--verbose-performance"]
        words = _COMPILER.run([sys.executable, "-m", MODULE, str(source), *options])
        found = {key: sorted(out.glob(key)) for key in (COMPILED_FILE, "*_per-layer.csv", "*_summary_*.csv")}
        if not all(found.values()):
            raise _COMPILER.failure("it did not write all of its files", words)
        compiled, layers, summary = (paths[0] for paths in found.values())
        return VelaOutput(compiled.read_bytes(), layers.read_text(), summary.read_text())
