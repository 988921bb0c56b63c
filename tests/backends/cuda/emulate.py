"""The fake driver, and a network's CUDA C as a library that it can run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.artifact import Artifact
from mdcompiler.backends.cuda.machine import wanted_capability
from tests.c_compiler import shared_library

Array = NDArray[Any]

HERE = Path(__file__).parent
_KERNEL = re.compile(r'^extern "C" __global__ void __launch_bounds__\((\d+)\) (\w+)\(([^)]*)\) \{', re.MULTILINE)
_CXX = ("-x", "c++", "-std=c++17", "-fno-threadsafe-statics")
"""C++ without its library, which zig would build first."""
_FLAGS = (*_CXX, "-O2", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-w")


@lru_cache(maxsize=1)
def fake_driver() -> Path:
    """`libcuda.so.1`, compiled once in a process."""
    return shared_library([HERE / "fake_libcuda.c"], Path(mkdtemp(prefix="mdc-fake-cuda-")) / "libcuda.so.1")


def emulated_kernels(cuda_file: Path, out: Path) -> Path:
    """The kernels of a `model.cu` as the library `out` that the fake driver's launches run."""
    text = re.sub(r"__shared__ (alignas\(\d+\))", r"\1 __shared__", cuda_file.read_text())  # the order of C++
    rows, calls = [], []
    for threads, name, parameters in _KERNEL.findall(text):
        pointers = [parameter.split("__restrict__")[0].strip() for parameter in parameters.split(",")]
        arguments = ", ".join(f"({pointer})a[{index}]" for index, pointer in enumerate(pointers))
        calls.append(f"static void call_{name}(const uint64_t *a) {{ {name}({arguments}); }}")
        rows.append(f'    {{"{name}", call_{name}, {len(pointers)}, {threads}}},')
    table = "\n".join([*calls, "const emulated_kernel emulated_kernels[] = {", *rows, "    {0, 0, 0, 0}};"])
    source = out.with_suffix(".cpp")
    source.write_text(f'#include "emulation.h"\n{text}\n{table}\n')
    command = [sys.executable, "-m", "ziglang", "cc", *_FLAGS, f"-I{HERE}", str(source), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def environment(artifact: Artifact, folder: Path) -> dict[str, str]:
    """Variables under which `artifact` runs on the fake driver with emulated kernels, which are built in `folder`."""
    major, minor = wanted_capability(artifact.manifest.target)
    return {
        "MDC_LIBCUDA": str(fake_driver()),
        "FAKE_CUDA_CAPABILITY": f"{major}.{minor}",
        "FAKE_CUDA_KERNELS": str(emulated_kernels(artifact.directory / "model.cu", folder / "kernels.so")),
    }


def mdc(words: Sequence[str], variables: Mapping[str, str]) -> str:
    """What a command of the toolkit prints, in a process of its own: an emulated kernel may crash it."""
    command = [str(Path(sys.executable).with_name("mdc")), *words]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_emulated(artifact: Artifact, inputs: Mapping[str, Array], folder: Path) -> dict[str, Array]:
    """Outputs of a network whose CUDA code runs on this processor."""
    np.savez(folder / "in.npz", allow_pickle=False, **inputs)
    words = ["run", str(artifact.directory), "-i", str(folder / "in.npz"), "-o", str(folder / "out.npz")]
    mdc(words, environment(artifact, folder))
    with np.load(folder / "out.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}
