"""Artifacts: whole or not there at all, noticed when altered, the same bytes for the same inputs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler import self_check
from mdcompiler.artifact import (
    MANIFEST,
    Artifact,
    file_entries,
    listed_bytes,
    open_artifact,
    verified_artifact,
    write_artifact,
)
from mdcompiler.errors import ArtifactError, InputError, InternalError, OutputError, TargetError, UnsupportedError
from mdcompiler.manifest import MAX_MANIFEST_BYTES, Manifest, Source, TensorSpec, parse_manifest, sealed_text
from mdcompiler.sampling import seeded_inputs
from mdcompiler.target import Target, find_target
from mdcompiler.write_aside import write_file

DIGEST = "0" * 64


def manifest_for(files: dict[str, bytes], target: Target | None = None) -> Manifest:
    tensor = TensorSpec(name="x", shape=(1, 2), dtype="float32")
    return Manifest(
        tools={},
        source=Source(name="n", weights=DIGEST, model=DIGEST),
        target=target or find_target("null"),
        precision="fp32",
        passes=(),
        inputs=(tensor,),
        outputs=(tensor,),
        check="none in this test",
        files=file_entries(files),
    )


def accept(artifact: Artifact) -> None:
    """No inspection."""


def write(directory: Path, files: dict[str, bytes], inspect: Callable[[Artifact], None] = accept) -> Artifact:
    return write_artifact(directory, manifest_for(files), files, inspect)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write(tmp_path / "out", {"model.onnx": b"abc", "other": b""})


def forge_manifest(artifact: Artifact, **changes: Any) -> None:
    """Another manifest with a hash that fits it: what a liar would write."""
    path = artifact.directory / MANIFEST
    data = {**json.loads(path.read_text()), **changes}
    del data["digest"]
    path.write_bytes(sealed_text(data))


def test_it_comes_back_equal(artifact: Artifact) -> None:
    assert open_artifact(artifact.directory) == artifact
    assert artifact.file_bytes == sum(path.stat().st_size for path in artifact.directory.iterdir())


@pytest.mark.parametrize("data", [b"abd", b"ab", b"abcd"])
def test_an_altered_file(artifact: Artifact, data: bytes) -> None:
    (artifact.directory / "model.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.onnx (was altered|has \d bytes instead of 3)"):
        open_artifact(artifact.directory)


def test_a_missing_file_and_a_link(artifact: Artifact) -> None:
    (artifact.directory / "other").unlink()
    with pytest.raises(ArtifactError, match="other is missing"):
        open_artifact(artifact.directory)
    (artifact.directory / "other").symlink_to("/dev/null")
    with pytest.raises(ArtifactError, match="other is a link"):
        open_artifact(artifact.directory)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", "a\\b", "a\0b"])
def test_a_name_that_leaves_the_directory(artifact: Artifact, name: str) -> None:
    forge_manifest(artifact, files=[{"name": name, "sha256": DIGEST, "bytes": 0}])
    with pytest.raises(ArtifactError, match=r"files\.0\.name: .*plain name"):
        open_artifact(artifact.directory)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"format": "other"}', b"[" * 100_000, b"1" * 10_000],
    ids=["empty", "cut", "list", "null", "no text", "no fields", "other format", "deep", "long number"],
)
def test_a_malformed_manifest(artifact: Artifact, text: bytes) -> None:
    (artifact.directory / MANIFEST).write_bytes(text)
    with pytest.raises(ArtifactError, match="Compile the network again"):
        open_artifact(artifact.directory)


def test_a_manifest_of_another_version_or_with_unknown_fields(artifact: Artifact) -> None:
    forge_manifest(artifact, version=3)
    with pytest.raises(ArtifactError, match="version is 3, and"):
        open_artifact(artifact.directory)
    forge_manifest(artifact, version=2, surprise=1)
    with pytest.raises(ArtifactError, match="surprise"):
        open_artifact(artifact.directory)


def test_a_huge_manifest(artifact: Artifact) -> None:
    (artifact.directory / MANIFEST).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ArtifactError, match="at most 4194304 are read"):
        open_artifact(artifact.directory)


def test_what_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="mdc compile"):
        open_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="mdc compile"):
        open_artifact(tmp_path / "none")


def test_a_processor_that_lacks_a_flag(tmp_path: Path) -> None:
    target = find_target("null").model_copy(update={"cpu_flags": ("hyperdrive",)})
    written = write_artifact(tmp_path / "out", manifest_for({}, target), {}, accept)
    with pytest.raises(TargetError, match="needs hyperdrive"):
        written.load()


def test_an_artifact_is_replaced_as_a_whole(artifact: Artifact) -> None:
    write(artifact.directory, {"new": b"1"})
    assert sorted(path.name for path in artifact.directory.iterdir()) == [MANIFEST, "new"]
    assert [path.name for path in artifact.directory.parent.iterdir()] == ["out"]


def test_a_foreign_directory_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"holds thesis\.txt, which the toolkit did not write"):
        write(tmp_path / "out", {})
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert write(tmp_path / "out", {"a": b"1"}).directory == tmp_path / "out"
    assert open_artifact(tmp_path / "out").manifest.files[0].name == "a"


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), InternalError("wrong numbers"), OSError(28, "disk full")])
@pytest.mark.parametrize("existing", [False, True])
def test_nothing_half_written_stays(tmp_path: Path, fault: BaseException, existing: bool) -> None:
    out = tmp_path / "deep" / "er" / "out"
    if existing:
        write(out, {"old": b"1"})

    def interrupt(artifact: Artifact) -> None:
        assert (artifact.directory / "new").exists()
        raise fault

    with pytest.raises((KeyboardInterrupt, InternalError, OutputError)):
        write(out, {"new": b"2"}, interrupt)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    kept = ["deep", "deep/er", "deep/er/out", "deep/er/out/manifest.json", "deep/er/out/old"]
    assert left == (kept if existing else [])


def test_a_file_where_a_directory_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match=r"file"):
            write(place, {})
    with pytest.raises(OutputError, match="writing"):
        write_file(tmp_path / "file" / "a.onnx", b"")
    with pytest.raises(OutputError, match="is a directory"):
        write_file(tmp_path, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_manifests_text_is_stable() -> None:
    manifest = manifest_for({"b": b"1", "a": b"2"})
    assert parse_manifest(manifest.to_json(), "x") == manifest
    assert [entry.name for entry in manifest.files] == ["a", "b"]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("compiled") / "out"
    return mdcompiler.compile("mobiledet-cpu", "null", out, size=64, width=0.25)


def test_the_same_inputs_give_the_same_bytes(compiled: Artifact, tmp_path: Path) -> None:
    again = mdcompiler.compile("mobiledet-cpu", "null", tmp_path / "again", size=64, width=0.25)
    for path in compiled.directory.iterdir():
        assert (again.directory / path.name).read_bytes() == path.read_bytes(), path.name
    other = mdcompiler.compile("mobiledet-cpu", "null", size=64, width=0.25, seed=1)
    assert other.manifest.source.weights != compiled.manifest.source.weights
    assert other.manifest.source.spec == compiled.manifest.source.spec


def test_the_manifest_says_what_was_compiled(compiled: Artifact) -> None:
    manifest = compiled.manifest
    assert manifest.source.name == "mobiledet-cpu"
    assert manifest.picture is not None
    assert (manifest.picture.height, manifest.picture.width) == (64, 64)
    assert [item.name for item in manifest.outputs] == ["boxes", "classes", "scores", "count"]
    assert "fold-batchnorm" in manifest.passes
    assert sum(kernel.macs for kernel in manifest.kernels) > 1_000_000
    assert {"C4/b2.ibn", "head/l0"} <= {kernel.block for kernel in manifest.kernels}
    assert manifest.facts["arena_bytes"] == 0


def test_detect_takes_a_path_an_array_and_an_image(compiled: Artifact, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    with mdcompiler.load(compiled.directory) as detector:
        found = detector.detect(pixels)
        assert found
        assert found == detector.detect(image) == detector.detect(tmp_path / "a.png")
        assert found == sorted(found, key=lambda item: -item.score)
        with pytest.raises(InputError, match="'image' is missing"):
            detector.run({})


def test_a_temporary_artifact_lives_as_long_as_its_owner() -> None:
    artifact = mdcompiler.compile("mobiledet-cpu", "null", size=64, width=0.25, raw=True)
    directory = artifact.directory
    outputs = artifact.load().run(seeded_inputs(artifact.manifest.inputs))
    assert set(outputs) == {"box_encodings", "class_scores"}
    del artifact
    assert not directory.exists()


def test_the_check_notices_other_numbers(compiled: Artifact) -> None:
    check = self_check.read_check(compiled)
    with compiled.load() as detector:
        assert check.faults(detector.run) == []

        def shifted(arrays: dict[str, Any]) -> dict[str, Any]:
            return {name: array + np.float32(0.01) for name, array in detector.run(arrays).items()}

        assert check.faults(shifted)


def test_what_the_toolkit_did_not_write_stays(artifact: Artifact) -> None:
    (artifact.directory / "notes.txt").write_text("mine")
    (artifact.directory / "deep").mkdir()
    with pytest.raises(OutputError, match=r"holds deep, notes\.txt, which the toolkit did not write there"):
        write(artifact.directory, {"new": b"1"})
    assert sorted(path.name for path in artifact.directory.iterdir()) == [
        "deep",
        MANIFEST,
        "model.onnx",
        "notes.txt",
        "other",
    ]


@pytest.mark.parametrize("text", ["{}", '{"format": "mdcompiler-artifact", "version": 2, "files": []}', ""])
def test_a_folder_with_any_manifest_is_no_artifact(tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MANIFEST).write_text(text)
    with pytest.raises(OutputError, match=r"holds manifest\.json"):
        write(tmp_path / "out", {})
    assert (tmp_path / "out" / MANIFEST).read_text() == text


def test_a_damaged_artifact_may_be_compiled_again(artifact: Artifact) -> None:
    (artifact.directory / "model.onnx").write_bytes(b"half")
    (artifact.directory / "other").unlink()
    write(artifact.directory, {"new": b"1"})
    assert open_artifact(artifact.directory).manifest.files[0].name == "new"


def test_verify_names_missing_and_extra_files(artifact: Artifact) -> None:
    assert verified_artifact(artifact.directory) == artifact
    (artifact.directory / "extra").write_text("")
    assert open_artifact(artifact.directory) == artifact
    with pytest.raises(ArtifactError, match="does not list extra"):
        verified_artifact(artifact.directory)
    (artifact.directory / "other").unlink()
    with pytest.raises(ArtifactError, match="other is missing"):
        verified_artifact(artifact.directory)


def test_pipes_in_an_artifact_are_not_waited_for(artifact: Artifact) -> None:
    for name, words in (("other", "other cannot be read: it is a pipe"), (MANIFEST, "it is a pipe")):
        (artifact.directory / name).unlink()
        os.mkfifo(artifact.directory / name)
        with pytest.raises(ArtifactError, match=words):
            open_artifact(artifact.directory)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace(b'"fp32"', b'"fp16"'), "it was edited"),
        (lambda text: text + b" ", "it was edited"),
        (lambda text: text.replace(b"\n", b"\r\n"), "it was edited"),
        (lambda text: text.replace(b'"check"', b'"check": "", "check"'), "it has a key twice"),
        (lambda text: text.replace(b'"digest"', b'"digset"'), "it was edited"),
        (lambda text: text.replace(b'"version": 2', b'"version": NaN'), "NaN is no number"),
        (lambda text: text.replace(b'"version": 2', b'"version": ' + b"[" * 10**6), "nested too deeply"),
    ],
)
def test_an_edited_manifest(artifact: Artifact, edit: Callable[[bytes], bytes], words: str) -> None:
    path = artifact.directory / MANIFEST
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(ArtifactError, match=words):
        open_artifact(artifact.directory)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": [{"name": "x", "shape": [2**31, 2**31], "dtype": "float32"}]}, "a tensor has at most"),
        ({"inputs": [{"name": "a\0b", "shape": [1], "dtype": "float32"}]}, "NUL"),
        ({"inputs": [{"name": "x", "shape": [1], "dtype": "float32"}] * 2}, "'?x'? is listed twice"),
        ({"inputs": [{"name": "x", "shape": [1], "dtype": "object"}]}, "dtype"),
        ({"files": [{"name": "other", "sha256": DIGEST, "bytes": 2**63}]}, "less than or equal"),
        ({"files": [{"name": MANIFEST, "sha256": DIGEST, "bytes": 0}]}, "lists itself"),
        ({"picture": {"input": "x", "height": 2**31, "width": 2**31}}, "picture"),
    ],
)
def test_lies_with_a_hash_that_fits(artifact: Artifact, changes: dict[str, Any], words: str) -> None:
    forge_manifest(artifact, **changes)
    with pytest.raises(ArtifactError, match=words):
        open_artifact(artifact.directory)


def test_what_is_used_is_what_was_hashed(artifact: Artifact) -> None:
    manifest = artifact.manifest.model_dump(mode="json")
    assert listed_bytes(artifact.directory, manifest, "model.onnx") == b"abc"
    (artifact.directory / "model.onnx").write_bytes(b"abd")
    with pytest.raises(ArtifactError, match="was altered while it was read"):
        listed_bytes(artifact.directory, manifest, "model.onnx")
    with pytest.raises(ArtifactError, match=r"lists no model\.so"):
        listed_bytes(artifact.directory, manifest, "model.so")


def test_an_artifact_that_nothing_could_open_is_not_written(tmp_path: Path) -> None:
    tensor = TensorSpec(name="x" * MAX_MANIFEST_BYTES, shape=(1,), dtype="uint8")
    manifest = manifest_for({}).model_copy(update={"inputs": (tensor,)})
    with pytest.raises(UnsupportedError, match="shorter names"):
        write_artifact(tmp_path / "out", manifest, {}, accept)
    assert list(tmp_path.iterdir()) == []
