"""The files of a WebGPU artifact: what a host relies on. Nothing here needs a device."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mdcompiler.backends.gpu.build import Shader
from mdcompiler.backends.gpu.launch import Launch
from mdcompiler.backends.webgpu.backend import WebGpuBackend
from mdcompiler.backends.webgpu.describe import folded
from mdcompiler.backends.webgpu.description import Description, read_description
from mdcompiler.backends.webgpu.join_shaders import join_shaders
from mdcompiler.errors import ArtifactError, InternalError
from mdcompiler.progress import silent
from tests.backends.webgpu.networks import network, placed

DEFAULTS = {
    "maxComputeInvocationsPerWorkgroup": 256,
    "maxComputeWorkgroupSizeX": 256,
    "maxComputeWorkgroupStorageSize": 16384,
    "maxStorageBuffersPerShaderStage": 8,
    "maxStorageBufferBindingSize": 128 * 1024 * 1024,
    "maxBufferSize": 256 * 1024 * 1024,
}
"""W3C WebGPU, section 3.6.2."""


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return WebGpuBackend().emit(placed(network(raw=False)), silent, 1).files


@pytest.fixture(scope="module")
def description(files: dict[str, bytes]) -> Description:
    return Description.model_validate_json(files["model.json"])


def test_every_device_grants_what_is_asked(description: Description) -> None:
    asked = description.limits.model_dump()
    assert asked.keys() == DEFAULTS.keys()
    assert all(asked[name] <= DEFAULTS[name] for name in DEFAULTS)
    assert description.features == ()


def test_bindings_lie_within_the_buffers(description: Description) -> None:
    sizes = {"arena": description.arena_bytes, "weights": description.weights_bytes}
    for launch in description.launches:
        assert all(count >= 1 for count in launch.workgroups)
        for binding in launch.bindings:
            assert binding.offset % 256 == 0
            assert binding.size % 16 == 0
            assert binding.offset + binding.size <= sizes[binding.buffer]


def test_no_launch_writes_what_it_reads(description: Description) -> None:
    """WebGPU refuses bindings that overlap where one of them may be written."""
    for launch in description.launches:
        spans = sorted((item.offset, item.offset + item.size) for item in launch.bindings if item.buffer == "arena")
        assert all(end <= start for (_, end), (start, _) in pairwise(spans)), launch.kernel


def test_the_arena_is_bound_to_be_written_everywhere(files: dict[str, bytes], description: Description) -> None:
    """A buffer bound for reading and for writing in one dispatch is refused, whatever its parts."""
    text = files["model.wgsl"].decode()
    for launch in description.launches:
        before = text[: text.index(f"fn {launch.entry}(")]
        modes = re.findall(r"@binding\((\d+)\) var<storage, (\w+)>", before)[-len(launch.bindings) :]
        assert [int(number) for number, _ in modes] == list(range(len(launch.bindings)))
        want = ["read_write" if item.buffer == "arena" else "read" for item in launch.bindings]
        assert [mode for _, mode in modes] == want


def test_each_entry_point_is_there_once(files: dict[str, bytes], description: Description) -> None:
    text = files["model.wgsl"].decode()
    entries = re.findall(r"^fn (\w+)\(", text, re.MULTILINE)
    assert sorted(entries) == sorted({launch.entry for launch in description.launches})
    names = re.findall(r"var<(?:storage|workgroup)[^>]*> (\w+)", text)
    assert len(names) == len(set(names)), "global names are different"
    assert "podArgs" not in text


def test_the_description_says_how_to_make_detections(description: Description) -> None:
    entry = description.postprocess
    assert entry is not None
    assert {port.name for port in description.outputs} == {entry.encodings, entry.scores}
    assert entry.anchors.offset + entry.anchors.count * 16 <= description.weights_bytes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "another"}, "format"),
        ({"arena_bytes": -1}, "arena_bytes"),
        ({"launches": [{"kernel": "k"}]}, "launches"),
        ({"more": 1}, "more"),
    ],
)
def test_a_malformed_description_is_refused(
    change: dict[str, Any], words: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "model.json").write_text(json.dumps({**json.loads(files["model.json"]), **change}))
    with pytest.raises(ArtifactError, match=rf"model\.json: .*{words}.*Compile the network again"):
        read_description(tmp_path)


def test_a_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("grid", "want"),
    [((7, 3, 1), (7, 3, 1)), ((65535, 1, 1), (65535, 1, 1)), ((65536, 2, 1), (32768, 2, 2))],
)
def test_long_launches_are_folded(grid: tuple[int, int, int], want: tuple[int, int, int]) -> None:
    assert folded(grid) == want
    assert want[0] * want[2] >= grid[0]


def test_a_launch_that_uses_z_cannot_be_folded() -> None:
    with pytest.raises(InternalError, match="cannot be folded"):
        folded((70000, 1, 2))


def test_shaders_are_joined_under_names_of_their_own() -> None:
    code = (
        "// a comment\nenable f16;\n\n@group(0) @binding(0) var<storage, read> source_ptr : array<f32>;\n"
        "var<workgroup> tile : array<f32, 4>;\nfn one(x : i32) {\n  tile[0] = source_ptr[0];\n}\n"
    )
    shaders = [Shader(name, code.replace("one", name), Launch((1, 1, 1), (1, 1, 1), 16)) for name in ("one", "two")]
    text = join_shaders(shaders, {"one": ["read"], "two": ["read_write"]})
    assert text.count("enable f16;") == 1
    assert text.index("enable f16;") < text.index("var<")
    assert "k0_tile[0] = k0_source_ptr[0];" in text
    assert "k1_tile[0] = k1_source_ptr[0];" in text
    assert "var<storage, read> k0_source_ptr" in text
    assert "var<storage, read_write> k1_source_ptr" in text
