"""What `manifest.json` of an artifact says; a file from anywhere, so every field is checked when read.

The text is the only one that its content has, and holds its own hash: one byte changed, and it is no manifest any more.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from mdcompiler.errors import ArtifactError
from mdcompiler.foreign import refusing, shortened
from mdcompiler.target import Target

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_FILE_BYTES = 2**33
MAX_TENSOR_BYTES = 2**33
_VERSION = 2
_DIGEST = "digest"

Extent = Annotated[int, Field(ge=1, le=2**31)]
Floats = Literal["float16", "float32", "float64"]
Integers = Literal["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _plain_name(name: str) -> str:
    """A file's name without any directory: nothing in an artifact may point out of it."""
    if name in ("", ".", "..") or name != PurePosixPath(name).name or "\\" in name or "\0" in name:
        raise ValueError("must be the plain name of a file in the artifact's directory")
    return name


def _c_text(name: str) -> str:
    """A name that a C string can hold: libraries state theirs."""
    if "\0" in name:
        raise ValueError("holds a NUL character")
    name.encode()
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Part):
    """One input or output. dtype is numpy's name. low, high: what an input's operators define; null: any value."""

    name: Annotated[str, AfterValidator(_c_text)]
    shape: tuple[Extent, ...] = Field(max_length=8)
    dtype: Floats | Integers
    low: float | None = None
    high: float | None = None

    @property
    def bytes(self) -> int:
        """Size of its elements together."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @model_validator(mode="after")
    def _fits_memory(self) -> TensorSpec:
        if self.bytes > MAX_TENSOR_BYTES:
            raise ValueError(f"has {self.bytes} bytes; a tensor has at most {MAX_TENSOR_BYTES}")
        return self


class FileEntry(_Part):
    """One file beside the manifest. bytes: its size."""

    name: Annotated[str, AfterValidator(_plain_name)]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]


class KernelEntry(_Part):
    """One kernel of the network. fallback: why the backend has no kernel of its own, null when it has one."""

    name: str
    block: str
    kind: str
    macs: Annotated[int, Field(ge=0)]
    fallback: str | None = None


class Source(_Part):
    """What was compiled: SHA-256 of the spec's JSON, of the weights and of the ONNX graph as it was read."""

    name: str
    spec: Sha256 | None = None
    weights: Sha256
    model: Sha256


class Picture(_Part):
    """The input that takes a picture: uint8 RGB [1, height, width, 3]."""

    input: str
    height: Extent
    width: Extent

    def fits(self, item: TensorSpec) -> bool:
        """Whether `item` is that input."""
        stated = (self.input, (1, self.height, self.width, 3), "uint8")
        return (item.name, item.shape, item.dtype) == stated


class Manifest(_Part):
    """Everything an artifact says of itself; the same inputs give the same bytes.

    tools: versions of the packages that made it. passes: those that changed the graph, in order.
    renamed: outputs that are an input handed through, and the name that the model and `Detector.run` have for each.
    facts: what the backend states, `arena_bytes` at least. check: why there is no check file, "" when there is; nothing
    of the machine that compiled.
    """

    format: Literal["mdcompiler-artifact"] = "mdcompiler-artifact"
    version: Literal[2] = 2
    tools: dict[str, str]
    source: Source
    target: Target
    precision: str
    passes: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    renamed: dict[str, str] = Field(default_factory=dict)
    picture: Picture | None = None
    labels: tuple[str, ...] = ()
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    kernels: tuple[KernelEntry, ...] = ()
    check: str = ""
    files: tuple[FileEntry, ...]

    @model_validator(mode="after")
    def _agrees(self) -> Manifest:
        """Names stand for one thing each, and the picture is an input."""
        for what, names in (
            ("files", [entry.name for entry in self.files]),
            ("inputs", [item.name for item in self.inputs]),
            ("outputs", [item.name for item in self.outputs]),
        ):
            name, times = Counter(names).most_common(1)[0] if names else ("", 0)
            if times > 1:
                raise ValueError(f"{what}: {shortened(name)} is listed twice")
        named = {item.name for item in self.outputs}, {item.name for item in self.inputs}
        if not (self.renamed.keys() <= named[0] and set(self.renamed.values()) <= named[1]):
            raise ValueError("renamed: it names what is no output, or no input")
        if len({self.renamed.get(name, name) for name in named[0]}) < len(named[0]):
            raise ValueError("renamed: two outputs have one name")
        if any(entry.name == MANIFEST for entry in self.files):
            raise ValueError(f"files: {MANIFEST} lists itself")
        if self.picture is not None and not any(self.picture.fits(item) for item in self.inputs):
            raise ValueError(f"picture: {shortened(self.picture.input)} is no input that takes such a picture")
        return self

    def to_json(self) -> bytes:
        """The manifest as UTF-8 text with sorted keys, and its own hash among them."""
        return sealed_text(self.model_dump(mode="json"))

    @property
    def file_bytes(self) -> int:
        """Size of all files together, the manifest left out."""
        return sum(entry.bytes for entry in self.files)


def parse_manifest(text: bytes, where: str) -> Manifest:
    """The manifest in `text`. Raises ArtifactError naming every field at fault."""
    with refusing(f"reading {where}", ArtifactError, "Compile the network again."):
        data = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_number)
        if not isinstance(data, dict) or data.get("format") != "mdcompiler-artifact":
            raise ValueError("it is no manifest of an artifact")
        if data.get("version") != _VERSION:
            raise ValueError(f"its version is {data.get('version')!r:.40}, and this toolkit reads version {_VERSION}")
        stated = data.pop(_DIGEST, None)
        if stated != _digest(data) or text != sealed_text(data):
            raise ValueError("it was edited: it is not the text that its hash was taken of")
        return Manifest.model_validate(data)


def sealed_text(data: dict[str, Any]) -> bytes:
    """The one text of `data` that is a manifest's: sorted, with its hash."""
    return _canonical({**data, _DIGEST: _digest(data)})


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(data)).hexdigest()


def _canonical(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        raise ValueError("it has a key twice")
    return data


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number that JSON has")
