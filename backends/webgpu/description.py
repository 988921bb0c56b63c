"""`model.json`: what a host needs to run the WGSL of a network, and nothing about the network.

A host makes two buffers, `weights` with the content of `weights.bin` and `arena`, and a pipeline for each entry point
of `model.wgsl`; then it writes the inputs into the arena, dispatches the launches in order in one compute pass, and
reads the device outputs back. `postprocess` says how detections are made of them. `run.mjs` is such a host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.errors import ArtifactError
from mdcompiler.foreign import read_file, reason, refusing

DESCRIPTION_FILE = "model.json"
SHADER_FILE = "model.wgsl"
WEIGHTS_FILE = "weights.bin"
_MOST_BYTES = 16 * 1024 * 1024

Bytes = Annotated[int, Field(ge=0, le=2**32)]
Workgroups = Annotated[int, Field(ge=1, le=65535)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Binding(_Part):
    """What one binding shows of a buffer. offset: a multiple of 256."""

    buffer: Literal["arena", "weights"]
    offset: Bytes
    size: Bytes


class LaunchEntry(_Part):
    """One dispatch. bindings: of group 0, by number; clocks: what the model of the tiles estimates."""

    kernel: str
    entry: str
    workgroups: tuple[Workgroups, Workgroups, Workgroups]
    bindings: tuple[Binding, ...]
    clocks: float


class Port(_Part):
    """A tensor that the host writes or reads, dense and row-major, at `offset` in the arena."""

    name: str
    dtype: Literal["float32", "uint8", "int8", "int32"]
    shape: tuple[int, ...]
    offset: Bytes


class Anchors(_Part):
    """float32 [count][4] at `offset` in the weights."""

    offset: Bytes
    count: int


class Postprocess(_Part):
    """Box decoding and suppression on the host; the fields are those of `PostprocessOptions`.

    encodings, scores: device outputs. outputs: boxes, classes, scores, count as the network calls them.
    """

    encodings: str
    scores: str
    anchors: Anchors
    outputs: tuple[str, str, str, str]
    regular: bool
    max_detections: int
    detections_per_class: int
    score_threshold: float
    iou_threshold: float
    scale_y: float
    scale_x: float
    scale_h: float
    scale_w: float


class Limits(_Part):
    """The least a device must grant; no more than WebGPU promises, unless a target says otherwise."""

    maxComputeInvocationsPerWorkgroup: int  # noqa: N815 - WebGPU's own names
    maxComputeWorkgroupSizeX: int  # noqa: N815
    maxComputeWorkgroupStorageSize: int  # noqa: N815
    maxStorageBuffersPerShaderStage: int  # noqa: N815
    maxStorageBufferBindingSize: int  # noqa: N815
    maxBufferSize: int  # noqa: N815


class Description(_Part):
    """The whole file. features: of the device; language_features: of WGSL (`navigator.gpu.wgslLanguageFeatures`)."""

    format: Literal["mdcompiler-webgpu-1"] = "mdcompiler-webgpu-1"
    features: tuple[Literal["shader-f16"], ...]
    language_features: tuple[Literal["packed_4x8_integer_dot_product"], ...] = ()
    limits: Limits
    arena_bytes: Bytes
    weights_bytes: Bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    launches: tuple[LaunchEntry, ...]
    postprocess: Postprocess | None
    labels: tuple[str, ...] = ()


def read_description(directory: Path) -> Description:
    """The `model.json` of an artifact. Raises ArtifactError when there is none, or it is malformed."""
    path = directory / DESCRIPTION_FILE
    try:
        return parse_description(read_file(path, _MOST_BYTES), directory)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"opening {path}: {reason(error)}. Compile the network again.") from error


def parse_description(content: bytes, directory: Path) -> Description:
    """The same from its bytes."""
    with refusing(f"opening {directory / DESCRIPTION_FILE}", ArtifactError, "Compile the network again."):
        return Description.model_validate_json(content)
