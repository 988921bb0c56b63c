"""How long a C program takes to open a compiled library, and how much memory it needs: no Python, no compiler.

python -m tests.benchmarks.c_start ARTIFACT
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mdcompiler.artifact import Artifact, open_artifact
from tests.c_compiler import compilers

_PROGRAM = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long peak_kib(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib;
}

int main(int count, char **words) {
    double start = now();
    void *library = count == 2 ? dlopen(words[1], RTLD_NOW) : NULL;
    void *(*create)(int) = NULL;
    int (*run)(@TYPES@) = NULL;
    if (!library)
        return 1;
    *(void **)&create = dlsym(library, "model_create");
    *(void **)&run = dlsym(library, "model_run");
    void *context = create(1);
    double loaded = now();
    @BUFFERS@
    if (!context || run(context, @ARGUMENTS@))
        return 2;
    double first = now(), least = 1e9;
    for (int i = 0; i < 10; ++i) {
        double begin = now();
        run(context, @ARGUMENTS@);
        double spent = now() - begin;
        least = spent < least ? spent : least;
    }
    printf("{\"load_ms\": %.3f, \"first_run_ms\": %.3f, \"run_ms\": %.3f, \"peak_kib\": %ld}\n", loaded - start,
           first - loaded, least, peak_kib());
    return 0;
}
"""


@dataclass(frozen=True)
class Start:
    """Milliseconds to open the library and make a context, of the first run and of the fastest; peak memory."""

    load_ms: float
    first_run_ms: float
    run_ms: float
    peak_kib: int


def measure(artifact: Artifact, times: int = 5) -> Start:
    """The fastest start of `times`, the file being in the page cache. Raises CalledProcessError when one fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "start.c").write_text(program(artifact))
        command = [*compilers()[0], "-std=gnu11", "-O2", "start.c", "-o", "start", "-ldl"]
        subprocess.run(command, cwd=folder, check=True)
        library = str((artifact.directory / "model.so").absolute())
        starts = [_once([str(folder / "start"), library]) for _ in range(times)]
    return min(starts, key=lambda start: start.load_ms + start.first_run_ms)


def program(artifact: Artifact) -> str:
    """The C text: static buffers for all tensors, in the order of `model_run`."""
    tensors = [*artifact.manifest.inputs, *artifact.manifest.outputs]
    names = [f"tensor{index}" for index in range(len(tensors))]
    sizes = [_count(item.shape) * _BYTES[item.dtype] for item in tensors]
    buffers = [f"static _Alignas(64) char {name}[{size}];" for name, size in zip(names, sizes, strict=True)]
    pieces = {"@BUFFERS@": "\n    ".join(buffers), "@ARGUMENTS@": ", ".join(names)}
    pieces["@TYPES@"] = ", ".join(["void *"] * (1 + len(names)))
    text = _PROGRAM
    for mark, piece in pieces.items():
        text = text.replace(mark, piece)
    return text


_BYTES = {"float32": 4, "uint8": 1, "int8": 1, "int32": 4, "int64": 8, "uint16": 2, "int16": 2, "float16": 2, "bool": 1}


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def _once(command: list[str]) -> Start:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Start(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path)
    start = measure(open_artifact(parser.parse_args().artifact))
    print(
        f"load {start.load_ms:.2f} ms, first run {start.first_run_ms:.2f} ms, fastest run {start.run_ms:.2f} ms, "
        f"peak memory {start.peak_kib / 1024:.1f} MiB"
    )


if __name__ == "__main__":
    main()
