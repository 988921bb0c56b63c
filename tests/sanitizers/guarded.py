"""A network as a program that a sanitizer watches: generated C, runtime, kernels and `model_run`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.clib import describe_library
from mdcompiler.backends.clib.alias import Aliases
from mdcompiler.backends.clib.c_source import Source, Tensor
from mdcompiler.backends.clib.emit_library import CLibrary, write_library
from mdcompiler.backends.clib.emit_runner import runner
from mdcompiler.backends.clib.fuse_strips import ChooseRows
from mdcompiler.backends.clib.link import runtime_files
from mdcompiler.backends.clib.plan import Plan, plan_arena
from mdcompiler.backends.clib.program import Call
from mdcompiler.module import Module
from mdcompiler.progress import silent
from tests.sanitizers.guard_table import RED_ZONE_BYTES, guard_table
from tests.sanitizers.instrument import instrumented_kernels
from tests.sanitizers.sanitizer import compile_sanitized, run_sanitized

Array = NDArray[Any]
HERE = Path(__file__).parent
PREFIX = "model"
_RUNS = 2
"""The second one meets what the first left in the arena."""


@dataclass(frozen=True)
class Program:
    """It takes an input file for each input, then an output file for each output."""

    path: Path
    source: Source

    def run(self, inputs: Mapping[str, Array], threads: int = 1, runs: int = _RUNS) -> dict[str, Array]:
        """Outputs by name. Fails with the sanitizer's words."""
        done = self.started(inputs, threads, runs)
        assert done.returncode == 0, done.stderr
        return self.outputs()

    def outputs(self) -> dict[str, Array]:
        """What the last run wrote."""
        return {tensor.name: np.fromfile(path, tensor.dtype).reshape(tensor.shape) for tensor, path in self._outputs()}

    def started(
        self, inputs: Mapping[str, Array], threads: int = 1, runs: int = _RUNS
    ) -> subprocess.CompletedProcess[str]:
        """How so many runs end."""
        given = [self.path.with_name(f"in{index}") for index in range(len(self.source.inputs))]
        for tensor, path in zip(self.source.inputs, given, strict=True):
            np.ascontiguousarray(inputs[tensor.name]).tofile(path)
        made = [path for _, path in self._outputs()]
        return run_sanitized([self.path, "-t", threads, "-n", runs, *given, *made])

    def _outputs(self) -> list[tuple[Tensor, Path]]:
        return [(tensor, self.path.with_name(f"out{index}")) for index, tensor in enumerate(self.source.outputs)]


def sanitized_library(module: Module, sanitizer: str, rows: ChooseRows | None = None) -> CLibrary:
    """The network's C and its instrumented kernels; under AddressSanitizer no two buffers touch.

    module: placed. rows: of the strips of each chain; by default as it is chosen.
    """
    apart = _red_zones() if sanitizer == "address" else nullcontext()
    with instrumented_kernels(sanitizer), apart:
        return write_library(module, silent, 1, PREFIX, rows)


def link(library: CLibrary, sanitizer: str, folder: Path, change: Callable[[str], str] = lambda text: text) -> Program:
    """The program in `folder`, a new one. change: what to do to the generated C first."""
    folder.mkdir()
    source = library.source
    generated = library.files[f"{PREFIX}.c"].decode()
    scratch = f"#define SCRATCH_BYTES {source.scratch_bytes}\n"
    assert scratch in generated
    apart = generated.replace(scratch, f"#define SCRATCH_BYTES {source.scratch_bytes + RED_ZONE_BYTES}\n")
    files = {
        **library.files,
        **runtime_files(),
        **{f"kernel_{index}.o": code for index, code in enumerate(library.objects)},
        f"{PREFIX}.c": change(apart).encode(),
        f"{PREFIX}_main.c": runner(PREFIX, source.inputs, source.outputs, []).encode(),
    }
    options: Sequence[str] = ()
    if sanitizer == "address":
        files |= {"guard.c": (HERE / "guard.c").read_bytes(), "guard_table.h": guard_table(source, PREFIX).encode()}
        options = ("-Dmdc_run_steps=mdc_run_steps_plain",)
    return Program(_compiled(files, sanitizer, folder, options), source)


def _compiled(files: Mapping[str, bytes], sanitizer: str, folder: Path, renaming: Sequence[str]) -> Path:
    """renaming: options for the runtime alone."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    runtime = compile_sanitized([folder / "mdc_runtime.c"], folder / "mdc_runtime.o", sanitizer, "-c", *renaming)
    names = [folder / name for name in files if name.endswith((".c", ".o")) and name != "mdc_runtime.c"]
    return compile_sanitized([*names, runtime], folder / f"{PREFIX}_run", sanitizer)


@contextmanager
def _red_zones() -> Iterator[None]:
    """Buffers and constants are laid out with unused bytes behind each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe_library, "plan_arena", _plan_apart)
        patch.setattr(describe_library, "pack_constants", _pack_apart)
        yield


def _plan_apart(calls: Sequence[Call], sizes: Mapping[str, int], aliases: Aliases, alignment_bytes: int) -> Plan:
    wider = {name: size + RED_ZONE_BYTES for name, size in sizes.items()}
    return plan_arena(calls, wider, aliases, alignment_bytes)


def _pack_apart(constants: Mapping[str, Any], alignment_bytes: int) -> tuple[bytes, dict[str, int]]:
    blob = bytearray()
    offsets = {}
    for name in sorted(constants):
        offsets[name] = len(blob)
        blob.extend(np.ascontiguousarray(constants[name]).tobytes())
        blob.extend(bytes(RED_ZONE_BYTES - len(blob) % alignment_bytes + alignment_bytes))
    return bytes(blob), offsets
