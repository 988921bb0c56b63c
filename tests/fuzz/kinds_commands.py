"""Command lines: verbs with options and arguments that nobody means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.fuzz.command_line import mdc
from tests.fuzz.kind import Kind
from tests.fuzz.odd_values import NAMES
from tests.fuzz.outcome import Outcome

_VERBS = (
    "zoo", "show", "lower", "schema", "compile", "quantize", "run", "detect", "bench", "verify", "targets", "passes",
    "explain", "latency", "records", "", "tune", "lut", "matrix", "nothing",
)  # fmt: skip
_OPTIONS = (
    "--json", "--out", "-o", "--target", "-t", "--precision", "--weights", "--calibration", "--seed", "--raw",
    "--width", "--size", "--input", "-i", "--threads", "--stop-after", "--annotations", "--max-loss", "--keep-float",
    "--without", "--ranges",
    "--chip", "--column", "--min-score", "--draw", "--runs", "--version", "--help", "--no-check", "--check",
    "--slim", "--shipped", "--chips", "--trials", "--odd",
)  # fmt: skip
_VALUES = (
    "mobiledet-nothing", "missing.yaml", "missing.onnx", "folder", "empty.onnx", "text.yaml", "text.npz", "text.png",
    "/dev/null", "/proc/self/mem", "/", "..", "cpu", "null", "cpu@x", "@", "x86-64-v2", "int8", "fp32", "read", "mse",
    "0", "1", "-1", "nan", "inf", "1e400", "9" * 400, "320x", "x320", "0x0", "32x32", "٣", "a" * 300, "a" * 5000,
    "b/" * 200, "out", "out.npz", "out.onnx", "\udcff", "é\u0301",
)  # fmt: skip
_SEEDS = (
    ["show", "text.yaml"],
    ["lower", "missing.yaml", "-o", "out.onnx"],
    ["compile", "empty.onnx", "-o", "out"],
    ["compile", "mobiledet-nothing", "-o", "out", "--target", "null"],
    ["run", "folder", "-i", "text.npz", "-o", "out.npz"],
    ["detect", "folder", "text.png"],
    ["verify", "folder"],
    ["bench", "folder"],
    ["records", "list", "text.yaml"],
    ["records", "merge", "text.yaml", "-o", "out.jsonl"],
    ["latency", "text.yaml", "--chip", "x"],
    ["explain", "empty.onnx", "--target", "cpu"],
    ["targets", "--json"],
)


def _seeds() -> Sequence[bytes]:
    return [json.dumps(words).encode() for words in _SEEDS]


def _mutate(random: Random, data: bytes) -> bytes:
    words = list(json.loads(data))
    at = random.randrange(len(words) + 1)
    edit = random.choice(("verb", "value", "value", "option", "option", "drop", "twice"))
    if edit == "verb":
        words[:1] = [random.choice(_VERBS)]
    elif edit == "option":
        words[at:at] = [random.choice(_OPTIONS), *([random.choice(_VALUES)] if random.random() < 0.7 else [])]
    elif edit == "drop":
        del words[at : at + 1]
    elif edit == "twice":
        words[at:at] = words[at : at + 2]
    else:
        words[at : at + 1] = [random.choice((*_VALUES, *NAMES))]
    return json.dumps(words).encode()


def _call(file: Path) -> Outcome:
    """Call `mdc` in a folder that has a few files; values name these, odd places or nothing."""
    folder = file.parent
    (folder / "folder").mkdir()
    (folder / "empty.onnx").write_bytes(b"")
    for name in ("text.yaml", "text.npz", "text.png"):
        (folder / name).write_text("no such thing")
    words = [str(word).replace("\0", "") for word in json.loads(file.read_bytes())]
    import os

    before = Path.cwd()
    os.chdir(folder)
    try:
        return mdc(*words)
    finally:
        os.chdir(before)


KINDS = (Kind("command", "words.json", _seeds, _mutate, _call, 40),)
