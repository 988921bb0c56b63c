"""The command line: what it prints, its exit codes, and one clear message for every kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from mdcompiler import __version__
from mdcompiler.backends.null import NullBackend
from mdcompiler.cli import run
from mdcompiler.cli.console import PlainProgress
from mdcompiler.errors import InternalError
from tests.conftest import ROOT, Mdc

PROGRESS = ("mdc: read ", "mdc: reference ", "mdc: pass ")
SMALL = ("--target", "null", "--size", "64", "--width", "0.25")
VERBS = (
    "zoo",
    "show",
    "lower",
    "compile",
    "run",
    "detect",
    "bench",
    "verify",
    "targets",
    "passes",
    "explain",
    "schema",
)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "out"
    assert run(["compile", "mobiledet-cpu", *SMALL, "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    pixels = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_version_and_help(mdc: Mdc) -> None:
    assert mdc("--version") == (0, f"mdc {__version__}\n", "")
    code, out, _ = mdc("--help")
    assert code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in out


@pytest.mark.parametrize("arguments", [("fly",), ("compile",), ("bench", "x", "--runs", "none"), ("show", "a", "b")])
def test_wrong_usage_exits_with_2(mdc: Mdc, arguments: tuple[str, ...]) -> None:
    code, out, err = mdc(*arguments)
    assert (code, out) == (2, "")
    assert "Usage:" in err


def test_zoo(mdc: Mdc) -> None:
    code, out, err = mdc("zoo", "--json")
    names = {row["name"] for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert {"mobiledet-cpu", "mobiledet-dsp", "mobiledet-edgetpu", "mobiledet-gpu"} <= names
    assert "444,227,776" in mdc("zoo")[1]


def test_show(mdc: Mdc) -> None:
    code, out, _ = mdc("show", "mobiledet-cpu", "--json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["macs"], shown["params"]) == (444_227_776, 4_205_423)
    assert shown["input"]["shape"] == [1, 320, 320, 3]
    assert [item["shape"] for item in shown["outputs"]] == [[1, 2034, 4], [1, 2034, 91]]
    assert sum(block["macs"] for block in shown["blocks"]) == shown["macs"]
    code, out, _ = mdc("show", "mobiledet-cpu", "--size", "160x320")
    assert "160x320" in out
    assert "C4/b2.ibn" in out


def test_schema_describes_the_zoo(mdc: Mdc) -> None:
    schema = json.loads(mdc("schema")[1])
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_targets_and_passes(mdc: Mdc) -> None:
    targets = json.loads(mdc("targets", "--json")[1])
    assert {"null", "x86-64-v3"} <= {row["name"] for row in targets}
    rows = json.loads(mdc("passes", "--json")[1])
    names = [row["name"] for row in rows]
    assert names.index("fold-batchnorm") < names.index("fuse-activation")
    assert all(row["description"] for row in rows)
    assert "fold-batchnorm" in mdc("passes")[1]


def test_lower_writes_a_model_that_checks(mdc: Mdc, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    assert mdc("lower", "mobiledet-cpu", "--size", 64, "--width", 0.25, "--raw", "-o", out)[0] == 0
    model = onnx.load(str(out))
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["box_encodings", "class_scores"]


def test_compile_says_what_it_made(mdc: Mdc, tmp_path: Path) -> None:
    code, out, err = mdc("compile", "mobiledet-cpu", *SMALL, "-o", tmp_path / "out")
    assert (code, out) == (0, "")
    assert "mobiledet-cpu for null" in err
    assert (tmp_path / "out" / "manifest.json").exists()


def test_stop_after_writes_the_graph_at_that_border(mdc: Mdc, tmp_path: Path) -> None:
    assert mdc("compile", "mobiledet-cpu", *SMALL, "-o", tmp_path / "read.onnx", "--stop-after", "read")[0] == 0
    assert mdc("compile", "mobiledet-cpu", *SMALL, "-o", tmp_path, "--stop-after", "simplify")[0] == 0
    ops = [
        {node.op_type for node in onnx.load(str(tmp_path / f"{name}.onnx")).graph.node} for name in ("read", "simplify")
    ]
    assert "BatchNormalization" in ops[0]
    assert "BatchNormalization" not in ops[1]


def test_an_onnx_file_compiles(mdc: Mdc, tmp_path: Path) -> None:
    mdc("lower", "mobiledet-cpu", "--size", 64, "--width", 0.25, "-o", tmp_path / "m.onnx")
    assert mdc("compile", tmp_path / "m.onnx", "--target", "null", "-o", tmp_path / "out")[0] == 0
    assert mdc("verify", tmp_path / "out")[0] == 0


def test_run_reads_and_writes_arrays(mdc: Mdc, artifact: Path, tmp_path: Path) -> None:
    image = np.zeros((1, 64, 64, 3), np.uint8)
    np.save(tmp_path / "in.npy", image)
    np.savez(tmp_path / "in.npz", image=image)
    for name in ("in.npy", "in.npz"):
        assert mdc("run", artifact, "--input", tmp_path / name, "-o", tmp_path / f"{name}.npz")[0] == 0
    first, second = (np.load(tmp_path / f"{name}.npz") for name in ("in.npy", "in.npz"))
    assert set(first) == {"boxes", "classes", "scores", "count"}
    np.testing.assert_array_equal(first["boxes"], second["boxes"])


def test_detect_lists_prints_json_and_draws(mdc: Mdc, artifact: Path, photo: Path, tmp_path: Path) -> None:
    code, out, _ = mdc("detect", artifact, photo, photo, "--json", "--draw", tmp_path / "drawn")
    rows = json.loads(out)
    assert code == 0
    assert [row["image"] for row in rows] == [str(photo)] * 2
    first = rows[0]["detections"][0]
    assert set(first) == {"box", "class_index", "class_name", "score"}
    assert len(first["box"]) == 4
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == ["photo.2.png", "photo.png"]
    with Image.open(tmp_path / "drawn" / "photo.png") as image, Image.open(photo) as before:
        assert image.size == before.size
        assert image.tobytes() != before.tobytes()
    assert first["class_name"] in mdc("detect", artifact, photo, "--min-score", 0)[1]


def test_detect_shows_the_best_when_nothing_scores_enough(mdc: Mdc, artifact: Path, photo: Path) -> None:
    code, out, err = mdc("detect", artifact, photo, "--min-score", 1)
    assert code == 0
    assert "nothing scores 1 or more" in err
    assert "class" in out


def test_bench_reports_times_and_sizes(mdc: Mdc, artifact: Path) -> None:
    code, out, _ = mdc("bench", artifact, "--runs", 3, "--json")
    result = json.loads(out)
    assert code == 0
    assert 0 < result["min_ms"] <= result["median_ms"] <= result["p90_ms"]
    assert result["arena_bytes"] == 0
    assert result["file_bytes"] == sum(path.stat().st_size for path in artifact.iterdir())
    assert "median_ms" in mdc("bench", artifact, "--runs", 1)[1]


def test_verify(mdc: Mdc, artifact: Path) -> None:
    code, out, _ = mdc("verify", artifact)
    assert code == 0
    assert "the outputs are the reference's" in out


def test_what_this_machine_cannot_run_is_checked_on_the_device(
    mdc: Mdc, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(NullBackend, "why_not_run", lambda self, target: "no such device.", raising=False)
        _, _, told = mdc("compile", "mobiledet-cpu", "-o", tmp_path / "out", *SMALL)
        assert "only compiled, not run here: no such device." in told
        code, out, _ = mdc("verify", tmp_path / "out")
        assert code == 0
        assert "their check cannot be run here: no such device." in out
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest, "nothing of the host is in it"
    code, out, _ = mdc("verify", tmp_path / "out")
    assert code == 0
    assert "the outputs are the reference's" in out


def test_explain(mdc: Mdc) -> None:
    code, out, _ = mdc("explain", "mobiledet-cpu", *SMALL, "--json")
    assert code == 0
    assert json.loads(out)["kinds"]["depthwise"] > 10
    assert "kernels:" in mdc("explain", "mobiledet-cpu", *SMALL)[1]


def test_explain_what_was_compiled(mdc: Mdc, artifact: Path) -> None:
    code, out, _ = mdc("explain", artifact, "--json")
    assert code == 0
    assert json.loads(out)["kinds"]["depthwise"] > 10
    assert "manifest.json cannot be read" in mdc("explain", artifact.parent)[2]


def bad_files(folder: Path) -> dict[str, list[object]]:
    """Command lines that a user can get wrong, by what is wrong."""
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, [1, "n"])],
            [onnx.helper.make_tensor_value_info("y", 1, [1, "n"])],
        )
    )
    texts: dict[str, bytes] = {
        "broken.yaml": b"name: [unclosed",
        "list.yaml": b"- a\n- b\n",
        "types.yaml": b"name: x\nblocks: 7\n",
        "binary.yaml": b"\xff\xfe\x00\x00",
        "empty.yaml": b"",
        "target.yaml": b"name: t\nbackend: nowhere\n",
        "fields.yaml": b"name: t\nbackend: cpu\nwings: 2\n",
        "cut.onnx": model.SerializeToString()[:40],
        "text.onnx": b"this is no model",
        "dynamic.onnx": model.SerializeToString(),
        "bad.safetensors": b"\x00" * 20,
        "bad.npz": b"PK\x03\x04 no zip",
        "bad.tflite": b"TFL3",
        "in.npy": b"\x93NUMPY\x01\x00",
        "photo.png": b"no picture",
        "file": b"",
    }
    for name, data in texts.items():
        (folder / name).write_bytes(data)
    np.save(folder / "pickle.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "wide.npy", np.zeros((1, 64, 64, 30), np.uint8))
    np.save(folder / "float.npy", np.zeros((1, 64, 64), np.float32))
    out = folder / "out"
    return {
        "unknown spec": ["show", "nothing"],
        "missing spec file": ["show", folder / "none.yaml"],
        "malformed YAML": ["show", folder / "broken.yaml"],
        "a list": ["show", folder / "list.yaml"],
        "wrong types": ["show", folder / "types.yaml"],
        "no text": ["show", folder / "binary.yaml"],
        "an empty spec": ["lower", folder / "empty.yaml", "-o", folder / "out"],
        "wrong size": ["show", "mobiledet-cpu", "--size", "big"],
        "size out of range": ["show", "mobiledet-cpu", "--size", "0x64"],
        "width out of range": ["show", "mobiledet-cpu", "--width", "-1"],
        "unknown target": ["compile", "mobiledet-cpu", "-t", "moon", "-o", out],
        "missing target file": ["compile", "mobiledet-cpu", "-t", folder / "none.yaml", "-o", out],
        "target of an unknown backend": ["compile", "mobiledet-cpu", "-t", folder / "target.yaml", "-o", out],
        "target with an unknown field": ["compile", "mobiledet-cpu", "-t", folder / "fields.yaml", "-o", out],
        "unknown precision": ["compile", "mobiledet-cpu", *SMALL, "--precision", "fp7", "-o", out],
        "unknown stage": ["compile", "mobiledet-cpu", *SMALL, "--stop-after", "lunch", "-o", out],
        "calibration of fp32": ["compile", "mobiledet-cpu", *SMALL, "--calibration", folder, "-o", out],
        "tuning": ["compile", "mobiledet-cpu", *SMALL, "--tune", 3, "-o", out],
        "truncated ONNX": ["compile", folder / "cut.onnx", "-t", "null", "-o", out],
        "no ONNX": ["compile", folder / "text.onnx", "-t", "null", "-o", out],
        "missing ONNX": ["compile", folder / "none.onnx", "-t", "null", "-o", out],
        "dynamic ONNX": ["compile", folder / "dynamic.onnx", "-t", "null", "-o", out],
        "ONNX with a width": ["compile", folder / "text.onnx", "--width", 1, "-t", "null", "-o", out],
        "missing weights": ["compile", "mobiledet-cpu", *SMALL, "--weights", folder / "none.npz", "-o", out],
        "broken safetensors": ["compile", "mobiledet-cpu", *SMALL, "--weights", folder / "bad.safetensors", "-o", out],
        "broken npz": ["compile", "mobiledet-cpu", *SMALL, "--weights", folder / "bad.npz", "-o", out],
        "broken tflite": ["compile", "mobiledet-cpu", *SMALL, "--weights", folder / "bad.tflite", "-o", out],
        "weights of no known kind": ["compile", "mobiledet-cpu", *SMALL, "--weights", folder / "file", "-o", out],
        "a file in the way": ["compile", "mobiledet-cpu", *SMALL, "-o", folder / "file"],
        "a file as parent": ["compile", "mobiledet-cpu", *SMALL, "-o", folder / "file" / "out"],
        "a foreign directory": ["compile", "mobiledet-cpu", *SMALL, "-o", folder],
        "lower into nowhere": ["lower", "mobiledet-cpu", "--size", 64, "-o", folder / "file" / "m.onnx"],
        "no artifact to run": ["run", folder, "-i", folder / "in.npy", "-o", folder / "o.npz"],
        "no artifact to detect": ["detect", folder / "none", folder / "photo.png"],
        "no artifact to bench": ["bench", folder],
        "no artifact to verify": ["verify", folder / "file"],
        "no picture": ["detect", "ARTIFACT", folder / "photo.png"],
        "missing picture": ["detect", "ARTIFACT", folder / "none.png"],
        "broken array": ["run", "ARTIFACT", "-i", folder / "in.npy", "-o", folder / "o.npz"],
        "pickled array": ["run", "ARTIFACT", "-i", folder / "pickle.npy", "-o", folder / "o.npz"],
        "too large an array": ["run", "ARTIFACT", "-i", folder / "wide.npy", "-o", folder / "o.npz"],
        "wrong array": ["run", "ARTIFACT", "-i", folder / "float.npy", "-o", folder / "o.npz"],
        "broken archive": ["run", "ARTIFACT", "-i", folder / "bad.npz", "-o", folder / "o.npz"],
        "arrays of no known kind": ["run", "ARTIFACT", "-i", folder / "file", "-o", folder / "o.npz"],
    }


def test_bad_input_gives_one_message_and_leaves_nothing(mdc: Mdc, artifact: Path, tmp_path: Path) -> None:
    wrong: dict[str, Any] = {}
    commands = bad_files(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for name, command in commands.items():
        code, out, err = mdc(*(artifact if item == "ARTIFACT" else item for item in command))
        lines = [line for line in err.splitlines() if not line.startswith(PROGRESS)]
        clear = len(lines) == 1 and lines[0].startswith("mdc: ") and "Traceback" not in err
        if code != 1 or out or not clear or sorted(tmp_path.rglob("*")) != before:
            wrong[name] = (code, out, err)
    assert wrong == {}, "\n".join(f"{k}: {v}" for k, v in wrong.items())
    assert len(commands) > 40


def test_a_tampered_artifact(mdc: Mdc, photo: Path, tmp_path: Path) -> None:
    mdc("compile", "mobiledet-cpu", *SMALL, "-o", tmp_path / "out")
    model = tmp_path / "out" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    for command in (("detect", tmp_path / "out", photo), ("verify", tmp_path / "out"), ("bench", tmp_path / "out")):
        code, _, err = mdc(*command)
        assert code == 1
        assert "model.onnx was altered" in err


@pytest.mark.parametrize("fault", [InternalError("pass x failed"), ValueError("surprise")])
def test_an_internal_error_says_what_to_send(mdc: Mdc, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def broken(*_: object) -> None:
        raise fault

    monkeypatch.setattr("mdcompiler.spec.zoo_names", broken)
    code, out, err = mdc("zoo")
    assert (code, out) == (3, "")
    assert str(fault) in err
    assert "MDC_DUMP" in err
    report = Path(err.split("Please send ")[1].split(";")[0])
    assert "Traceback" in report.read_text()
    assert "command: mdc zoo" in report.read_text()
    report.unlink()


def test_plain_progress_tells_kinds_and_time_left() -> None:
    lines: list[str] = []
    now = iter([0.0, 1.0, 12.0, 13.0, 30.0])
    progress = PlainProgress(lines.append, lambda: next(now))
    for activity, done in (("compile a", 0), ("compile b", 1), ("compile c", 2), ("compile d", 3), ("link", 0)):
        progress(activity, done, 10)
    assert lines == ["mdc: compile a (10 steps)", "mdc: compile c: 2 of 10, about 48 s left", "mdc: link (10 steps)"]


def test_starting_and_loading_import_no_compiler() -> None:
    code = (
        "import sys, mdcompiler.cli, mdcompiler.detector, mdcompiler.backends.clib.library; "
        "print([name for name in ('tvm', 'onnx', 'onnx_graphsurgeon', 'networkx', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_result_replaces_what_it_is_made_from(mdc: Mdc, tmp_path: Path) -> None:
    spec = tmp_path / "net.yaml"
    text = (ROOT / "mdcompiler" / "spec" / "zoo" / "mobiledet-cpu.yaml").read_text()
    spec.write_text(text)
    code, _, said = mdc("lower", spec, "-o", spec, "--size", 64)
    assert code == 1
    assert "which it is made from" in said
    assert spec.read_text() == text


def _odd_files(folder: Path, suffix: str) -> list[str]:
    """Paths of that suffix which are no file of any kind, and files that hold nothing of it."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "dir").mkdir()
    for name in ("pipe", "loop", "zero", "dir"):
        (folder / (name + suffix)).symlink_to(folder / name)
    for name, data in (("empty", b""), ("bytes", bytes(range(256)) * 4), ("mapping", b"a: [1, {b: c}]")):
        (folder / (name + suffix)).write_bytes(data)
    names = ("pipe", "loop", "zero", "dir", "empty", "bytes", "mapping", "x" * 300, "a\0b", os.fsdecode(b"\xff"))
    return [f"{folder}/{name}{suffix}" for name in names]


@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [
        (".yaml", "show FILE"),
        (".onnx", "lower FILE -o out.onnx"),
        (".npz", "lower mobiledet-cpu --weights FILE -o out.onnx"),
        (".safetensors", "lower mobiledet-cpu --weights FILE -o out.onnx"),
        (".tflite", "lower mobiledet-cpu --weights FILE -o out.onnx"),
        (".index", "lower mobiledet-cpu --weights FILE -o out.onnx"),
        (".yaml", "explain none.yaml --target FILE"),
        (".yaml", "latency mobiledet-cpu --chip FILE"),
        (".yaml", "lut FILE --chip pixel4-dsp -o out.jsonl"),
        (".jsonl", "lut mobiledet-cpu --chip pixel4-dsp -o FILE"),
        (".jsonl", "records list FILE"),
        (".jsonl", "records prune FILE"),
        (".out", "verify FILE"),
        (".png", "detect ARTIFACT FILE"),
        (".npz", "run ARTIFACT -o out.npz -i FILE"),
        (".npy", "run ARTIFACT -o out.npz -i FILE"),
        (".md", "matrix none.yaml --targets null -o out --into FILE"),
    ],
)
def test_odd_files_end_in_one_sentence(
    artifact: Path,
    suffix: str,
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in _odd_files(tmp_path, suffix):
        before = Path(path).read_bytes() if Path(path).name.startswith(("bytes", "mapping")) else b""
        code = run([{"FILE": path, "ARTIFACT": str(artifact)}.get(word, word) for word in arguments.split()])
        said = capsys.readouterr().err
        assert code in (0, 1, 2), f"{path}: {said}"
        assert code != 1 or said.startswith("mdc: "), f"{path}: {said}"
        assert len(said) < 5000
        assert not before or Path(path).read_bytes() == before


def test_a_message_never_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "\x1b[31m" + "x" * 100_000]) == 1
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert len(said) < 5000
