"""`run.mjs`, the host in JavaScript, under Node.js on a GPU that is a stub: it returns the numbers it is given."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.webgpu.description import Description
from mdcompiler.detections import postprocess
from mdcompiler.postprocess_options import PostprocessOptions

Array = NDArray[Any]
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js: apt-get install nodejs")
ANCHORS, CLASSES = 60, 7
STUB = """
import { readFile } from "node:fs/promises";
const log = { uploads: [], copies: [], dispatches: [], limits: null };
const device = {
  createBuffer: ({ size, usage }) => ({
    size, usage, mapAsync: async () => {}, unmap: () => {}, getMappedRange: () => results,
  }),
  createShaderModule: () => ({ getCompilationInfo: async () => ({ messages: [] }) }),
  createComputePipelineAsync: async ({ compute }) => ({ entry: compute.entryPoint, getBindGroupLayout: () => null }),
  createBindGroup: ({ entries }) => entries,
  createCommandEncoder: () => ({
    beginComputePass: () => ({
      setPipeline: ({ entry }) => log.dispatches.push([entry]),
      setBindGroup: (_, entries) => log.dispatches.at(-1).push(entries.map(({ resource }) => resource.offset)),
      dispatchWorkgroups: (...grid) => log.dispatches.at(-1).push(grid),
      end: () => {},
    }),
    copyBufferToBuffer: (_, offset, __, at, size) => log.copies.push([offset, at, size]),
    finish: () => null,
  }),
  queue: { writeBuffer: (_, offset, data) => log.uploads.push([offset, data.byteLength]), submit: () => {} },
  destroy: () => {},
};
const results = new Uint8Array(await readFile("results.bin")).slice().buffer;
const requestDevice = async (asked) => { log.limits = asked; return device; };
const gpu = { requestAdapter: async () => ({ requestDevice }) };
Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
globalThis.log = log;
"""
DRIVER = """
import { readFile } from "node:fs/promises";
import { detections, openModel } from "./run.mjs";
const bytes = async (name) => new Uint8Array(await readFile(name)).slice().buffer;
const model = await openModel(bytes);
const given = new Uint8Array(await bytes("image.bin"));
let refused = "";
await model.run({ image: given.subarray(1) }).catch((error) => { refused = error.message; });
log.uploads.length = 0;
const outputs = await model.run({ image: given });
const plain = Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, Array.from(values)]));
console.log(JSON.stringify({ log, refused, outputs: plain, found: detections(outputs, model.description) }));
"""
EXAMPLE = Path(__file__).parents[3] / "examples" / "webgpu" / "detect.mjs"


def description(options: PostprocessOptions) -> Description:
    """A network of one launch."""
    limits = {
        "maxComputeInvocationsPerWorkgroup": 64,
        "maxComputeWorkgroupSizeX": 64,
        "maxComputeWorkgroupStorageSize": 0,
        "maxStorageBuffersPerShaderStage": 2,
        "maxStorageBufferBindingSize": 256,
        "maxBufferSize": 4096,
    }
    bindings = [{"buffer": "weights", "offset": 0, "size": 16}, {"buffer": "arena", "offset": 256, "size": 16}]
    return Description.model_validate(
        {
            "features": [],
            "limits": limits,
            "arena_bytes": 8192,
            "weights_bytes": ANCHORS * 16,
            "inputs": [{"name": "image", "dtype": "uint8", "shape": [1, 3, 5, 3], "offset": 512}],
            "outputs": [
                {"name": "boxes_in", "dtype": "float32", "shape": [1, ANCHORS, 4], "offset": 1024},
                {"name": "scores_in", "dtype": "float32", "shape": [1, ANCHORS, CLASSES], "offset": 2048},
            ],
            "launches": [
                {"kernel": "k", "entry": "main", "workgroups": [3, 2, 1], "bindings": bindings, "clocks": 1.0}
            ],
            "postprocess": {
                "encodings": "boxes_in",
                "scores": "scores_in",
                "anchors": {"offset": 0, "count": ANCHORS},
                "outputs": ["boxes", "classes", "scores", "count"],
                "regular": options.regular,
                **options.attributes(),
            },
            "labels": ["zero", "one"],
        }
    )


def anchors() -> Array:
    random = np.random.default_rng(0)
    return np.concatenate([random.uniform(0, 1, (ANCHORS, 2)), random.uniform(0.2, 0.6, (ANCHORS, 2))], 1).astype("f")


def write_model(options: PostprocessOptions, boxes: Array, scores: Array, folder: Path) -> None:
    """A model, its input, and a GPU that returns `boxes` and `scores`."""
    content = {
        "model.json": description(options).model_dump_json().encode(),
        "model.wgsl": b"",
        "weights.bin": anchors().tobytes(),
        "image.bin": bytes(range(45)),
        "results.bin": boxes.tobytes() + scores.tobytes(),
        "run.mjs": files("mdcompiler.backends.webgpu").joinpath("host", "run.mjs").read_bytes(),
        "driver.mjs": DRIVER.encode(),
        "stub.mjs": STUB.encode(),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)


def node(folder: Path, *arguments: str | Path, code: int = 0) -> str:
    """What Node.js prints; on stderr when it is to fail with `code`."""
    assert NODE is not None
    command = [NODE, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def hosted(options: PostprocessOptions, boxes: Array, scores: Array, folder: Path) -> dict[str, Any]:
    """What `run.mjs` did with device outputs `boxes` and `scores`."""
    write_model(options, boxes, scores, folder)
    result: dict[str, Any] = json.loads(node(folder, "--import", "./stub.mjs", "driver.mjs"))
    return result


def device_outputs() -> tuple[Array, Array]:
    """Box encodings, and scores of which many are equal."""
    random = np.random.default_rng(1)
    boxes = random.normal(0, 1, (1, ANCHORS, 4)).astype(np.float32)
    return boxes, np.round(random.uniform(0, 1, (1, ANCHORS, CLASSES)), 1).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        PostprocessOptions(max_detections=20),
        PostprocessOptions(max_detections=20, iou_threshold=0.3, score_threshold=0.5),
        PostprocessOptions(regular=True, max_detections=30, detections_per_class=5, iou_threshold=0.4),
    ],
    ids=["fast", "strict", "regular"],
)
def test_detections_are_those_of_the_arbiter(options: PostprocessOptions, tmp_path: Path) -> None:
    boxes, scores = device_outputs()
    want = postprocess(boxes, scores, anchors(), options)
    got = hosted(options, boxes, scores, tmp_path)
    assert want["count"][0] > 3
    for name, values in want.items():
        assert np.array_equal(np.array(got["outputs"][name], np.float32), values.reshape(-1)), name
    first = got["found"][0]
    index = int(want["classes"][0, 0])
    assert first["label"] == (["zero", "one"][index] if index < 2 else f"class {index}")
    assert len(got["found"]) == want["count"][0]


def test_the_device_is_driven_as_described(tmp_path: Path) -> None:
    boxes, scores = np.zeros((1, ANCHORS, 4), np.float32), np.ones((1, ANCHORS, CLASSES), np.float32)
    got = hosted(PostprocessOptions(), boxes, scores, tmp_path)
    log = got["log"]
    assert log["uploads"] == [[512, 48]], "45 bytes, padded to words, at their offset"
    assert log["dispatches"] == [["main", [0, 256], [3, 2, 1]]]
    assert log["copies"] == [[1024, 0, ANCHORS * 16], [2048, ANCHORS * 16, ANCHORS * CLASSES * 4]]
    assert log["limits"]["requiredLimits"]["maxStorageBuffersPerShaderStage"] == 2
    assert got["refused"] == "image has 44 bytes; uint8[1,3,5,3] has 45"


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="needs the checkout")
def test_the_example_prints_detections(tmp_path: Path) -> None:
    options = PostprocessOptions(max_detections=20)
    boxes, scores = device_outputs()
    write_model(options, boxes, scores, tmp_path)
    lines = node(tmp_path, "--import", "./stub.mjs", EXAMPLE, ".", "image.bin").splitlines()
    want = postprocess(boxes, scores, anchors(), options)
    assert len(lines) == want["count"][0]
    assert lines[0].split()[-5:] == [f"{value:.6f}" for value in (want["scores"][0, 0], *want["boxes"][0, 0])]


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="needs the checkout")
def test_the_example_says_what_is_missing(tmp_path: Path) -> None:
    write_model(PostprocessOptions(), *device_outputs(), tmp_path)
    assert "give the directory" in node(tmp_path, EXAMPLE, ".", code=2)
    assert "no WebGPU" in node(tmp_path, EXAMPLE, ".", "image.bin", code=1)
