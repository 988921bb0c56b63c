"""An output that is an input: copied, under a name of its own in the artifact and under the model's in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import mdcompiler
from mdcompiler.cli import run
from mdcompiler.errors import ArtifactError
from mdcompiler.manifest import parse_manifest, sealed_text
from mdcompiler.quantization.options import METHODS, Quantize
from tests.test_onnx_walk import model

X = np.random.default_rng(3).standard_normal((1, 3, 5, 6)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """x goes to Conv and out; a tensor has the name that its output would get."""
    w = np.random.default_rng(4).standard_normal((4, 3, 1, 1)).astype(np.float32)
    made = model([("Conv", ["x", "w"], "x/out", {}), ("Relu", ["x/out"], "y", {})], {"w": w})
    made.graph.output.append(onnx.ValueInfoProto(name="x"))
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def assert_runs(directory: Path) -> None:
    with mdcompiler.load(directory) as detector:
        found = detector.run({"x": X})
    assert list(found) == ["y", "x"]
    np.testing.assert_array_equal(found["x"], X)


@pytest.mark.parametrize("target", ["null", "cpu"])
def test_it_is_a_copy(network: Path, tmp_path: Path, target: str) -> None:
    artifact = mdcompiler.compile(network, target, tmp_path / "out", threads=1)
    assert [item.name for item in artifact.manifest.outputs] == ["y", "x/out.2"]
    assert artifact.manifest.renamed == {"x/out.2": "x"}
    assert_runs(tmp_path / "out")
    assert run(["verify", str(tmp_path / "out")]) == 0


def test_a_graph_that_was_written_keeps_the_name(network: Path, tmp_path: Path) -> None:
    written = tmp_path / "fused.onnx"
    command = ["compile", str(network), "-o", str(written), "--target", "null", "--stop-after", "fuse"]
    assert run(command) == 0
    mdcompiler.compile(written, "null", tmp_path / "out")
    assert_runs(tmp_path / "out")


def test_in_integers(network: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.concatenate([X, -X]))
    options = Quantize(tmp_path / "x.npz", without=METHODS, compared=1, allow_degraded=True)
    mdcompiler.compile(network, "null", tmp_path / "out", precision="int8", calibration=options)
    with mdcompiler.load(tmp_path / "out") as detector:
        assert np.abs(detector.run({"x": X})["x"] - X).max() < 0.05


def test_the_matrix_compares_it(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["matrix", str(network), "--targets", "null", "--precision", "fp32", "-o", str(tmp_path / "m")]) == 0
    assert "differs" not in capsys.readouterr().out


@pytest.mark.parametrize("renamed", [{"z": "x"}, {"x/out.2": "z"}, {"y": "x", "x/out.2": "x"}])
def test_a_manifest_that_renames_something_else_is_refused(
    network: Path, tmp_path: Path, renamed: dict[str, str]
) -> None:
    manifest = mdcompiler.compile(network, "null", tmp_path / "out").manifest
    with pytest.raises(ArtifactError, match="renamed: "):
        parse_manifest(sealed_text({**manifest.model_dump(mode="json"), "renamed": renamed}), "m")
