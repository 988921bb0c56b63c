"""What the generated C is written from: the program, its memory, and inputs and outputs under C names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdcompiler.backends.clib.alias import Aliases
from mdcompiler.backends.clib.c_identifiers import c_identifiers
from mdcompiler.backends.clib.plan import Plan
from mdcompiler.backends.clib.program import Call, Program

CONSTANTS_FILE = "constants.bin"
_C_TYPES = {
    "float32": "float",
    "float64": "double",
    "uint8": "uint8_t",
    "int8": "int8_t",
    "uint16": "uint16_t",
    "int16": "int16_t",
    "uint32": "uint32_t",
    "int32": "int32_t",
    "uint64": "uint64_t",
    "int64": "int64_t",
    "bool": "uint8_t",
    "float16": "uint16_t",
}


@dataclass(frozen=True)
class Tensor:
    """An input or output of the model as its C function sees it."""

    name: str
    identifier: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def c_type(self) -> str:
        return _C_TYPES[self.dtype]

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """All that is written into the generated files.

    calls: in order, all aliases settled. constants: name -> byte offset in the constants file.
    features: the mdc_cpu_features bits (C names) that the kernels need. near_bytes: of the arena's start, which a
    program may place in memory nearer to the arithmetic (`model_near_acquire`).
    """

    program: Program
    calls: Sequence[Call]
    aliases: Aliases
    plan: Plan
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    constants: Mapping[str, int]
    constants_bytes: int
    alignment_bytes: int
    features: Sequence[str]
    near_bytes: int = 0

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.inputs, *self.outputs]

    @property
    def scratch_bytes(self) -> int:
        """What each further thread needs: the largest scratch buffer of any call."""
        sizes = [self.program.sizes[call.scratch] for call in self.calls if call.scratch]
        return -(-max(sizes, default=0) // self.alignment_bytes) * self.alignment_bytes

    @property
    def kernel_names(self) -> list[str]:
        return list(dict.fromkeys(call.kernel for call in self.calls))


def interface(
    inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
) -> tuple[list[Tensor], list[Tensor]]:
    """The specs of inputs and outputs with C identifiers of their own."""
    specs = [*inputs, *outputs]
    names = c_identifiers(spec["name"] for spec in specs)
    made = [
        Tensor(spec["name"], name, tuple(spec["shape"]), spec["dtype"]) for spec, name in zip(specs, names, strict=True)
    ]
    return made[: len(inputs)], made[len(inputs) :]


def pack_constants(constants: Mapping[str, Any], alignment_bytes: int) -> tuple[bytes, dict[str, int]]:
    """All constants in one blob, each aligned; equal constants are kept once."""
    blob = bytearray()
    offsets: dict[str, int] = {}
    seen: dict[bytes, int] = {}
    for name in sorted(constants):
        data = np.ascontiguousarray(constants[name]).tobytes()
        if data not in seen:
            blob.extend(bytes(-len(blob) % alignment_bytes))
            seen[data] = len(blob)
            blob.extend(data)
        offsets[name] = seen[data]
    return bytes(blob), offsets
