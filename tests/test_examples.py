"""Every example runs: the scripts, the C program, and the plug-in as an installed package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import mdcompiler
from mdcompiler.images import read_picture
from mdcompiler.tolerance import within_float_tolerance
from tests.c_compiler import compilers

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = EXAMPLES / "specs" / "small.yaml"
MDC = Path(sys.executable).with_name("mdc")


def run(command: Sequence[str | Path], folder: Path, path: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run in `folder`, with `path` as PYTHONPATH; the exit code must be `code`."""
    environment = {**os.environ, "PYTHONPATH": path}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small detector compiled for this machine."""
    folder = tmp_path_factory.mktemp("compiled") / "small"
    mdcompiler.compile(SMALL, target="cpu", out=folder)
    return folder


def test_scene_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    script = EXAMPLES / "draw_scene.py"
    for name, seed in (("first.png", "3"), ("again.png", "3"), ("other.png", "4")):
        run([sys.executable, script, name, "--seed", seed, "--size", "48x64"], tmp_path)
    first, again, other = (read_picture(tmp_path / f"{name}.png") for name in ("first", "again", "other"))
    assert first.shape == (48, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_networks_are_drawn(tmp_path: Path) -> None:
    run([sys.executable, EXAMPLES / "draw_networks.py", "networks.png", "mobiledet-cpu", SMALL], tmp_path)
    pixels = read_picture(tmp_path / "networks.png").reshape(-1, 3)
    assert {(142, 68, 173), (46, 134, 193), (230, 126, 34)} <= set(map(tuple, pixels.tolist()))


def test_a_pass_is_written(tmp_path: Path) -> None:
    text = run([sys.executable, EXAMPLES / "write_a_pass.py"], tmp_path).stdout
    assert text.count("Relu (") == 1
    assert "passes that changed the graph: remove-repeated-relu" in text


def test_quickstart(tmp_path: Path) -> None:
    run([sys.executable, EXAMPLES / "draw_scene.py", "scene.png", "--size", "120x160"], tmp_path)
    options: list[str | Path] = ["--spec", SMALL, "--out", "out/small"]
    lines = run([sys.executable, EXAMPLES / "quickstart.py", "scene.png", *options], tmp_path).stdout.splitlines()
    assert lines[0].split()[0] in ("circle", "square", "triangle")
    assert read_picture(tmp_path / "out" / "small.png").shape == (120, 160, 3)


@pytest.mark.parametrize("compiler", compilers(), ids=lambda command: Path(command[0]).name)
def test_c_program_detects_what_python_detects(compiled: Path, compiler: list[str], tmp_path: Path) -> None:
    for name in ("scene.rgb", "scene.png"):
        run([sys.executable, EXAMPLES / "draw_scene.py", name, "--size", "96x96"], tmp_path)
    shutil.copytree(compiled, tmp_path / "out")
    source = EXAMPLES / "c_program" / "main.c"
    run([*compiler, "-Wall", "-Wextra", "-Werror", "-I", "out", source, "out/model.so", "-o", "detect"], tmp_path)
    rows = [[float(x) for x in line.split()] for line in run(["./detect", "scene.rgb"], tmp_path).stdout.splitlines()]
    with mdcompiler.load(compiled) as detector:
        found = detector.detect(tmp_path / "scene.png")
    assert found
    np.testing.assert_allclose(rows, [[d.class_index, d.score, *d.box] for d in found], atol=1e-6)


def test_c_program_says_what_it_wants(compiled: Path, tmp_path: Path) -> None:
    source = EXAMPLES / "c_program" / "main.c"
    shutil.copytree(compiled, tmp_path / "out")
    run([*compilers()[0], "-I", "out", source, "out/model.so", "-o", "detect"], tmp_path)
    assert f"{96 * 96 * 3} bytes" in run(["./detect", "absent.rgb"], tmp_path, code=2).stderr


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example plug-in, installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    ignore = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(EXAMPLES / "plugin", folder / "source", ignore=ignore)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    run([*command, "--target", "installed", "./source"], folder)
    return str(folder / "installed")


def test_plugin_pass_is_listed(plugin: str, tmp_path: Path) -> None:
    listed = json.loads(run([MDC, "passes", "--json"], tmp_path, plugin).stdout)
    without = json.loads(run([MDC, "passes", "--json"], tmp_path).stdout)
    assert {row["name"] for row in listed} - {row["name"] for row in without} == {"lower-hard-swish"}


def test_plugin_backend_computes_the_network(plugin: str, tmp_path: Path) -> None:
    target = EXAMPLES / "plugin" / "mdc_plugin_example" / "numpy.yaml"
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    for name, chosen in (("numpy", str(target)), ("null", "null")):
        run([MDC, "compile", SMALL, "--raw", "--target", chosen, "-o", name], tmp_path, plugin)
        run([MDC, "run", name, "--input", "image.npy", "-o", f"{name}.npz"], tmp_path, plugin)
    assert (tmp_path / "numpy" / "steps.json").is_file()
    got, want = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("numpy", "null"))
    assert set(got) == {"box_encodings", "class_scores"}
    assert all(within_float_tolerance(got[name], want[name]) for name in want)


def test_plugin_pass_splits_hard_swish(plugin: str, tmp_path: Path) -> None:
    target = EXAMPLES / "plugin" / "mdc_plugin_example" / "numpy.yaml"
    run([MDC, "compile", SMALL, "--raw", "--target", target, "-o", "out"], tmp_path, plugin)
    steps = json.loads((tmp_path / "out" / "steps.json").read_text())["steps"]
    assert "HardSigmoid" in {step["op"] for step in steps}
    assert "lower-hard-swish" in json.loads((tmp_path / "out" / "manifest.json").read_text())["passes"]


def test_plugin_backend_refuses_with_its_reason(plugin: str, tmp_path: Path) -> None:
    target = EXAMPLES / "plugin" / "mdc_plugin_example" / "numpy.yaml"
    error = run([MDC, "compile", SMALL, "--target", target, "-o", "out"], tmp_path, plugin, code=1).stderr
    assert "head/postprocess" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_plugin_backend_conforms(plugin: str, tmp_path: Path) -> None:
    text = run([sys.executable, "-m", "mdcompiler.conformance", "numpy"], tmp_path, plugin).stdout
    assert "inverted-bottleneck  numbers          ok" in text


def test_artifact_of_an_absent_plugin_is_one_message(plugin: str, tmp_path: Path) -> None:
    target = EXAMPLES / "plugin" / "mdc_plugin_example" / "numpy.yaml"
    run([MDC, "compile", SMALL, "--raw", "--target", target, "-o", "out"], tmp_path, plugin)
    error = run([MDC, "verify", "out"], tmp_path, code=1).stderr
    assert "'numpy' is not installed" in " ".join(error.split())


@pytest.mark.parametrize(
    ("group", "entry", "name"),
    [
        ("mdcompiler.backends", "mdc_plugin_example.backend:NumpyBackend", "numpy"),
        ("mdcompiler.passes", "mdc_plugin_example.lower_hard_swish:LowerHardSwish", "lower-hard-swish"),
    ],
)
def test_two_packages_on_one_name_are_both_named(
    plugin: str, tmp_path: Path, group: str, entry: str, name: str
) -> None:
    rival = tmp_path / "rival_chip-1.0.dist-info"
    rival.mkdir()
    (rival / "METADATA").write_text("Metadata-Version: 2.1\nName: rival-chip\nVersion: 1.0\n")
    (rival / "entry_points.txt").write_text(f"[{group}]\nrival = {entry}\n")
    path = os.pathsep.join((plugin, str(tmp_path)))
    error = run([MDC, "compile", SMALL, "--target", "null", "-o", "out"], tmp_path, path, code=1).stderr
    message = " ".join(error.split())
    assert f"{name!r}" in message
    assert "rival-chip" in message
    assert "mdc-plugin-example" in message
