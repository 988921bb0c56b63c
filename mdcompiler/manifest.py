"""What `manifest.json` of an artifact says; a file from anywhere, so every field is checked when read."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from mdcompiler.errors import ArtifactError
from mdcompiler.target import Target

MAX_MANIFEST_BYTES = 4 * 1024 * 1024

Extent = Annotated[int, Field(ge=1, le=2**31)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _plain_name(name: str) -> str:
    """A file's name without any directory: nothing in an artifact may point out of it."""
    if name in ("", ".", "..") or name != PurePosixPath(name).name or "\\" in name or "\0" in name:
        raise ValueError("must be the plain name of a file in the artifact's directory")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Part):
    """One input or output. dtype is numpy's name."""

    name: str
    shape: tuple[Extent, ...] = Field(max_length=8)
    dtype: Literal["float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool"]


class FileEntry(_Part):
    """One file beside the manifest. bytes: its size."""

    name: Annotated[str, AfterValidator(_plain_name)]
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


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


class Manifest(_Part):
    """Everything an artifact says of itself; the same inputs give the same bytes.

    tools: versions of the packages that made it. passes: those that changed the graph, in order.
    facts: what the backend states, `arena_bytes` at least. check: why there is no check file, "" when there is.
    """

    format: Literal["mdcompiler-artifact"] = "mdcompiler-artifact"
    version: Literal[1] = 1
    tools: dict[str, str]
    source: Source
    target: Target
    precision: str
    passes: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    picture: Picture | None = None
    labels: tuple[str, ...] = ()
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    kernels: tuple[KernelEntry, ...] = ()
    check: str = ""
    files: tuple[FileEntry, ...]

    def to_json(self) -> bytes:
        """The manifest as UTF-8 text with sorted keys."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @property
    def file_bytes(self) -> int:
        """Size of all files together, the manifest left out."""
        return sum(entry.bytes for entry in self.files)


def parse_manifest(text: bytes, where: str) -> Manifest:
    """The manifest in `text`. Raises ArtifactError naming every field at fault."""
    try:
        data = json.loads(text)
        return Manifest.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'top'}: {e['msg']}" for e in error.errors()[:10])
        raise ArtifactError(f"reading {where}: {faults}. Compile the network again.") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"reading {where}: not a manifest ({error}). Compile the network again.") from error
