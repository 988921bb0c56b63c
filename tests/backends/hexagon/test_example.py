"""The FastRPC skeleton in examples/hexagon: it compiles, links with the archive as a shared object, and runs.

The vendor's SDK needs its licence, so what the example takes of it stands in here: headers that declare the same
functions, and a program that plays FastRPC.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mdcompiler
from mdcompiler.backends.hexagon import machine
from mdcompiler.quantization.options import METHODS, Quantize
from mdcompiler.spec import SearchSpace
from mdcompiler.target import Target

EXAMPLE = Path(__file__).parents[3] / "examples" / "hexagon"
SPEC = SearchSpace.small().sample(4)
_HEADERS = {
    "AEEStdErr.h": "enum { AEE_SUCCESS, AEE_EFAILED, AEE_ENOMEMORY, AEE_EBADPARM, AEE_ERESOURCENOTFOUND };",
    "detector.h": """
        typedef unsigned long long remote_handle64;
        int detector_open(const char *uri, remote_handle64 *handle);
        int detector_close(remote_handle64 handle);
        int detector_run(remote_handle64 handle, const unsigned char *image, int image_count, float *boxes,
                         int boxes_count, float *classes, int classes_count, float *scores, int scores_count,
                         float *count, int count_count);
    """,
    "qurt_hvx.h": "enum { QURT_HVX_MODE_128B = 1 }; int qurt_hvx_lock(int mode); int qurt_hvx_unlock(void);",
    "HAP_vtcm_mgr.h": "void *HAP_request_VTCM(unsigned size, unsigned one_page); int HAP_release_VTCM(void *memory);",
}
_MAIN = """
#include "AEEStdErr.h"
#include "detector.h"
#include "model.h"
#include "qurt_hvx.h"
#include <stdio.h>

static unsigned char memory[1 << 18] __attribute__((aligned(128)));
static int locked, given;
int qurt_hvx_lock(int mode) { return mode != QURT_HVX_MODE_128B || locked++; }
int qurt_hvx_unlock(void) { return --locked; }
void *HAP_request_VTCM(unsigned size, unsigned single_page) {
    given += single_page;
    return size <= sizeof memory ? memory : NULL;
}
int HAP_release_VTCM(void *address) { return given -= address == (void *)memory; }

int main(int argc, char **argv) {
    static unsigned char image[MODEL_IMAGE_COUNT];
    static float boxes[MODEL_BOXES_COUNT], classes[MODEL_CLASSES_COUNT], scores[MODEL_SCORES_COUNT];
    float count[MODEL_COUNT_COUNT];
    remote_handle64 handle;
    FILE *file = fopen(argv[argc - 1], "rb");
    int failed = fread(image, 1, sizeof image, file) != sizeof image || fclose(file);
    failed |= detector_open("", &handle);
    if (detector_run(handle, image, 1, boxes, 1, classes, 1, scores, 1, count, 1) != AEE_EBADPARM)
        return 3;
    failed |= detector_run(handle, image, sizeof image, boxes, MODEL_BOXES_COUNT, classes, MODEL_CLASSES_COUNT, scores,
                           MODEL_SCORES_COUNT, count, MODEL_COUNT_COUNT);
    failed |= detector_close(handle) || locked || given;
    fwrite(scores, 1, sizeof scores, stdout);
    return failed;
}
"""


@pytest.fixture(scope="module")
def artifact(hexagon: Target, tmp_path_factory: pytest.TempPathFactory) -> mdcompiler.Artifact:
    folder = tmp_path_factory.mktemp("detector")
    pictures = np.random.default_rng(0).integers(0, 256, (2, SPEC.input.height, SPEC.input.width, 3)).astype(np.uint8)
    np.savez(folder / "pictures.npz", image=pictures)
    options = Quantize(folder / "pictures.npz", without=METHODS, ranges="min-max", compared=1, allow_degraded=True)
    return mdcompiler.compile(SPEC, hexagon, folder / "out", precision="int8", calibration=options)


def compiled(folder: Path, artifact: mdcompiler.Artifact, *arguments: str | Path) -> None:
    """zig in the place of the SDK's clang, every warning an error."""
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "hexagon-linux-musl", "-mcpu=hexagonv66"]
    flags = ["-std=gnu11", "-O2", "-g0", "-G0", "-Wall", "-Wextra", "-Werror", f"-I{artifact.directory}", f"-I{folder}"]
    subprocess.run([*command, *flags, *map(str, arguments)], check=True, cwd=folder)


def test_the_skeleton_runs_and_gives_the_artifacts_scores(artifact: mdcompiler.Artifact, tmp_path: Path) -> None:
    for name, text in {**_HEADERS, "main.c": _MAIN}.items():
        (tmp_path / name).write_text(text)
    sources = [tmp_path / "main.c", EXAMPLE / "detector_imp.c", EXAMPLE / "vtcm.c"]
    parts = [artifact.directory / "mdc_runtime.c", artifact.directory / "libmodel.a"]
    compiled(tmp_path, artifact, "-static", "-o", "program", *sources, *parts, "-lm")
    image = artifact.manifest.inputs[0]
    pixels = np.random.default_rng(5).integers(0, 256, image.shape).astype(np.uint8)
    pixels.tofile(tmp_path / "image")
    command = [*machine.launcher(), str(tmp_path / "program"), str(tmp_path / "image")]
    got = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
    with artifact.load() as detector:
        assert np.array_equal(got, detector.run({image.name: pixels})["scores"].reshape(-1))


def test_it_links_as_a_shared_object(artifact: mdcompiler.Artifact, tmp_path: Path) -> None:
    """As FastRPC loads it: all code is position-independent, and the runtime needs no Linux."""
    for name, text in _HEADERS.items():
        (tmp_path / name).write_text(text)
    for source in (artifact.directory / "mdc_runtime.c", EXAMPLE / "detector_imp.c", EXAMPLE / "vtcm.c"):
        compiled(tmp_path, artifact, "-U__linux__", "-fPIC", "-c", source)
    archive: list[str | Path] = ["-Wl,--whole-archive", artifact.directory / "libmodel.a", "-Wl,--no-whole-archive"]
    objects = ["mdc_runtime.o", "detector_imp.o", "vtcm.o"]
    compiled(tmp_path, artifact, "-shared", "-nostdlib", "-o", "libdetector_skel.so", *objects, *archive)
    assert (tmp_path / "libdetector_skel.so").read_bytes()[:4] == b"\x7fELF"
