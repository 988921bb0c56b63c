"""What people write by hand (specs, targets, schemes, search spaces, chips, annotations), and lines tools append."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

from mdcompiler.accuracy.mean_average_precision import mean_average_precision, read_annotations
from mdcompiler.latency import chip
from mdcompiler.latency.table import Head, Row, Table, read_table
from mdcompiler.lower import lower
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.spec import count, load_spec
from mdcompiler.spec.search_file import load_space
from mdcompiler.target import find_target
from mdcompiler.tuning.record_file import good_records
from mdcompiler.weights import weights_for
from tests.fuzz.command_line import mdc
from tests.fuzz.kind import Kind
from tests.fuzz.mutate_text import mutate_json, mutate_lines, mutate_text, mutate_yaml
from tests.fuzz.outcome import Outcome

_ROOT = Path(__file__).resolve().parents[2]
_MOST_MACS = 5_000_000


def _shipped(package: str, folder: str, most: int = 4) -> Callable[[], Sequence[bytes]]:
    """The first data files of a folder of a package."""

    @functools.cache
    def read() -> Sequence[bytes]:
        found = sorted((files(package) / folder).iterdir(), key=lambda item: item.name)
        return [item.read_bytes() for item in found if item.name.endswith((".yaml", ".jsonl"))][:most]

    return read


def _spec_seeds() -> Sequence[bytes]:
    small = (_ROOT / "examples" / "specs" / "small.yaml").read_bytes()
    return (small, *_shipped("mdcompiler.spec", "zoo", 2)())


def _space_seeds() -> Sequence[bytes]:
    text = (_ROOT / "examples" / "spaces" / "phone.yaml").read_bytes()
    return (text,)


def _json_spec() -> Sequence[bytes]:
    return (load_spec(str(_ROOT / "examples" / "specs" / "small.yaml")).model_dump_json(exclude_none=True).encode(),)


def _read_spec(file: Path) -> object:
    spec = load_spec(file)
    counts = count(spec)
    return lower(spec, weights_for(spec)) if counts.macs < _MOST_MACS else counts


def _read_target(file: Path) -> object:
    """A target, and what the passes ask of it."""
    target = find_target(str(file))
    return target.lanes, find_scheme(target.scheme) if target.scheme else None


_COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
    "categories": [{"id": 7, "name": "ball"}, {"id": 9, "name": "box"}],
}


def _read_annotations(file: Path) -> object:
    from mdcompiler.detections import Detection

    found = [Detection((0.1, 0.2, 0.3, 0.4), 0, "ball", 0.9)]
    return mean_average_precision(read_annotations(file, file.parent, ("ball", "box")), lambda path: found)


@functools.cache
def _records() -> Sequence[bytes]:
    (text, *_) = _shipped("mdcompiler.backends.kernels", "records", 1)()
    lines = text.splitlines(keepends=True)
    return [b"".join(lines[at : at + 3]) for at in (0, len(lines) // 2)]


@functools.cache
def _tables() -> Sequence[bytes]:
    row = {
        "key": "k", "kind": "ibn", "text": "ibn", "kernel": 3, "stride": 1, "source": 8, "inner": (32,), "out": 8,
        "height": 10, "width": 10, "macs": 100, "weight_bytes": 10, "latency_us": 1.5, "how": "measured",
    }  # fmt: skip
    head = Head(target="cpu", precision="fp32", host="x, 1 thread")
    rows = [Row.model_validate({**row, "key": f"k{at}"}) for at in range(3)]
    lines = [head.model_dump_json(), *(item.model_dump_json() for item in Table(head, rows).rows.values())]
    return ["\n".join(lines).encode() + b"\n"]


def _list_and_prune(file: Path) -> Outcome:
    listed = mdc("records", "list", file)
    return listed if listed.failed else mdc("records", "prune", file)


def _search(file: Path) -> object:
    space = load_space(str(file))
    return list(itertools.islice(space.groups, 4))


KINDS = (
    Kind("spec", "s.yaml", _spec_seeds, mutate_yaml, _read_spec, 50),
    Kind("spec-text", "s.yaml", _spec_seeds, mutate_text, _read_spec, 30),
    Kind("spec-json", "s.json", _json_spec, mutate_json, _read_spec, 40),
    Kind("target", "t.yaml", _shipped("mdcompiler", "targets"), mutate_yaml, _read_target, 50),
    Kind(
        "scheme",
        "s.yaml",
        _shipped("mdcompiler.quantization", "schemes"),
        mutate_yaml,
        lambda file: find_scheme(str(file)),
        60,
    ),
    Kind(
        "chip",
        "c.yaml",
        _shipped("mdcompiler.latency", "chips"),
        mutate_yaml,
        lambda file: chip.find_chip(str(file)),
        30,
    ),
    Kind("space", "p.yaml", _space_seeds, mutate_yaml, _search, 30),
    Kind("annotations", "a.json", lambda: [json.dumps(_COCO).encode()], mutate_json, _read_annotations, 80),
    Kind("records", "r.jsonl", _records, mutate_lines, good_records, 60),
    Kind("records-prune", "r.jsonl", _records, mutate_lines, _list_and_prune, 2),
    Kind("table", "t.jsonl", _tables, mutate_lines, read_table, 60),
)
