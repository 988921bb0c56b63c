"""Whole quantized networks for Hexagon: under QEMU equal to the integer reference in every bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mdcompiler
from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.hexagon import machine, report
from mdcompiler.backends.hexagon.backend import HexagonBackend
from mdcompiler.backends.hexagon.report import FORMULA, BlockCount, count_blocks, table
from mdcompiler.kernel import kernels
from mdcompiler.progress import silent
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.options import Quantize
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.spec import SearchSpace, Spec, load_spec
from mdcompiler.target import Target
from tests.backends.test_integer_networks import picture, quantized

SMALL = SearchSpace.small().sample(4)
"""Has every kind of block, squeeze-excite and hard-swish included."""


def check(spec: Spec, target: Target, folder: Path) -> None:
    backend, rule = HexagonBackend(), find_scheme(target.scheme)
    module, pipeline = quantized(spec, rule, target.name)
    inputs = picture(spec, 2)
    expected = run_integer(module, rule, inputs)
    pipeline.run(module, backend.passes(target))
    assert [backend.why_not(kernel, target) for kernel in kernels(module.graph)] == [None] * len(kernels(module.graph))
    for name, content in backend.emit(module, silent, 1).files.items():
        (folder / name).write_bytes(content)
    manifest = {"inputs": input_specs(module), "outputs": output_specs(module)}
    program = backend.load(folder, manifest, 1)
    got = program.run(inputs)
    program.close()
    assert got
    for name, values in got.items():
        assert len(np.unique(values)) > 5
        assert np.array_equal(values, expected[name]), f"{(values != expected[name]).mean():.2%} of {name} differ"


def test_every_kind_of_block_is_exact(hexagon: Target, tmp_path: Path) -> None:
    check(SMALL, hexagon, tmp_path)


@pytest.mark.slow
def test_mobiledet_dsp_is_exact(hexagon: Target, tmp_path: Path) -> None:
    check(load_spec("mobiledet-dsp").with_(width=0.5, height=97, width_px=80), hexagon, tmp_path)


@pytest.fixture(scope="module")
def artifact(hexagon: Target, tmp_path_factory: pytest.TempPathFactory) -> mdcompiler.Artifact:
    """Through the front door: compiled, checked against the reference, written, read back."""
    folder = tmp_path_factory.mktemp("hexagon")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, SMALL.input.height, SMALL.input.width, 3)).astype(np.uint8)
    np.savez(folder / "pictures.npz", image=pictures)
    return mdcompiler.compile(
        SMALL,
        hexagon,
        folder / "out",
        precision="int8",
        calibration=Quantize(folder / "pictures.npz", allow_degraded=True),
        raw=True,
    )


def test_an_artifact_has_what_an_sdk_links(artifact: mdcompiler.Artifact, tmp_path: Path) -> None:
    names = {entry.name for entry in artifact.manifest.files}
    assert {"model_run", "libmodel.a", "model.h", "mdc_runtime.c", "mdc_runtime.h"} <= names
    assert artifact.manifest.check == "", "the finished program was compared with the integer reference"
    assert all(kernel.fallback is None for kernel in artifact.manifest.kernels)


_VTCM = """
static unsigned char vtcm[{bytes} + 128] __attribute__((aligned(128)));
static int given;
void *model_near_acquire(size_t bytes) {{
    if (bytes != {bytes} || bytes != model_near_bytes())
        return NULL;
    memset(vtcm, 0x5a, sizeof vtcm);
    ++given;
    return vtcm;
}}
void model_near_release(void *memory) {{ given -= memory == (void *)vtcm; }}
static int vtcm_is_wrong(void) {{
    unsigned changed = 0, beyond = 0;
    for (size_t i = 0; i < sizeof vtcm; ++i)
        *(i < {bytes} ? &changed : &beyond) += vtcm[i] != 0x5a;
    return given != 0 || beyond != 0 || changed < {bytes} / 4;
}}
"""
"""Memory in the place of VTCM: asked for once and handed back, written to, and nothing beyond it."""
_SDK_MAIN = """#include "model.h"
#include <stdio.h>
#include <string.h>
static {parameters};
{vtcm}
int main(int argc, char **argv) {{
    FILE *file = fopen(argv[argc - 1], "rb");
    int failed = fread({image}, 1, sizeof {image}, file) != sizeof {image};
    fclose(file);
    model_context *context = model_create(1);
    failed |= !context || model_run(context, {names});
    fwrite({first}, 1, sizeof {first}, stdout);
    model_destroy(context);
    return failed || {check};
}}
"""


@pytest.mark.parametrize("has_vtcm", [False, True])
def test_the_archive_links_into_a_program_of_ones_own(
    has_vtcm: bool, artifact: mdcompiler.Artifact, tmp_path: Path
) -> None:
    """As README says for the vendor's SDK, with zig in the place of its compiler; VTCM changes no bit."""
    image, outputs = artifact.manifest.inputs[0], artifact.manifest.outputs
    arrays = [f"unsigned char {image.name}[{np.prod(image.shape)}]"]
    arrays += [f"float {item.name}[{np.prod(item.shape)}]" for item in outputs]
    names = ", ".join((image.name, *(item.name for item in outputs)))
    declarations = ";\nstatic ".join(arrays)
    plan = artifact.manifest.facts["vtcm"]
    assert isinstance(plan, dict)
    main = _SDK_MAIN.format(
        parameters=declarations,
        image=image.name,
        names=names,
        first=outputs[0].name,
        vtcm=_VTCM.format(bytes=plan["used_bytes"]) if has_vtcm else "",
        check="vtcm_is_wrong()" if has_vtcm else "0",
    )
    (tmp_path / "main.c").write_text(main)
    parts = [str(artifact.directory / name) for name in ("mdc_runtime.c", "libmodel.a")]
    compiler = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "hexagon-linux-musl",
        "-mcpu=hexagonv66",
        "-O2",
        "-g0",
        "-static",
    ]
    include = f"-I{artifact.directory}"
    subprocess.run([*compiler, include, "main.c", *parts, "-lm", "-o", "program"], cwd=tmp_path, check=True)
    pixels = np.random.default_rng(5).integers(0, 256, image.shape).astype(np.uint8)
    pixels.tofile(tmp_path / "image")
    command = [*machine.launcher(), str(tmp_path / "program"), str(tmp_path / "image")]
    got = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
    with artifact.load() as detector:
        expected = detector.run({image.name: pixels})[outputs[0].name]
    assert np.array_equal(got, expected.reshape(-1))


def test_blocks_are_counted_alike_each_time(artifact: mdcompiler.Artifact) -> None:
    rows = count_blocks(artifact)
    assert rows == count_blocks(artifact)
    convolutions = [row for row in rows if row.macs]
    assert convolutions
    for row in convolutions:
        assert 0 < row.limit_share < 1, "nothing multiplies faster than two vrmpy in a packet"
        assert 0 < row.vectors < row.instructions
        assert row.packets < row.instructions
    assert sum(row.macs for row in rows) == sum(kernel.macs for kernel in artifact.manifest.kernels)


def test_the_report_is_text_and_json(artifact: mdcompiler.Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(artifact.directory)]) == 0
    text = capsys.readouterr().out
    assert report.main([str(artifact.directory), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limit"] == FORMULA
    assert FORMULA in text
    assert found["network"]["packets"] == sum(row["packets"] for row in found["blocks"])
    assert found["network"]["limit_packets"] == -(-found["network"]["macs"] // 256)
    assert f"{found['network']['packets']:,} packets" in text
    assert all(f"| {row['block']} |" in text for row in found["blocks"])
    assert report.main([]) == 2
    assert report.main(["/no/such/place"]) == 1
    assert "mdc: " in capsys.readouterr().err


def test_table_adds_up() -> None:
    rows = [BlockCount("a", 2560, 20, 40, 10), BlockCount("b", 0, 20, 40, 30)]
    assert table(rows).splitlines()[2:5] == [
        "| a | 20 | 25% | 2,560 | 128.0 | 50% |",
        "| b | 20 | 75% | 0 | 0.0 | 0% |",
        "| all | 40 | 50% | 2,560 | 64.0 | 25% |",
    ]


def test_the_program_counts_only_on_demand(artifact: mdcompiler.Artifact, tmp_path: Path) -> None:
    """Without the variable its clock is the system's, which real processors have."""
    image = tmp_path / "image"
    image.write_bytes(bytes(int(np.prod(artifact.manifest.inputs[0].shape))))
    command = [*machine.launcher(), str(artifact.directory / "model_run"), "-k", str(image)]
    times = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)]
    assert times[0] != times[1]
