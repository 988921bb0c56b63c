"""WGSL as TVM writes it, made to fit a static launch.

TVM hands every kernel a uniform buffer whose last field, `packGridDimX`, is the number of workgroups along x less
one, because a launch of more than 65535 along one axis is folded over x and z. Launches here are static, so the number
stands in the text and the uniform buffer goes:

    if (blockIdx.z * gridDim.x + blockIdx.x > podArgs.packGridDimX)  ->  … > 399u)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mdcompiler.errors import InternalError

_STRUCT = re.compile(r"struct (PODArgs\w*) \{\s*(packGridDimX\w*): u32\s*\}\s*")
_UNIFORM = re.compile(r"@group\(0\) @binding\(\d+\) var<uniform> (podArgs\w*) : PODArgs\w*;\s*")
_BINDING = re.compile(r"@group\(0\) @binding\((\d+)\) var<storage, (read_write|read)>")


def freeze_grid(text: str, grid: tuple[int, int, int]) -> str:
    """`text` without its uniform buffer. Raises InternalError when it is not as TVM 0.27 writes it."""
    structure, uniform = _STRUCT.findall(text), _UNIFORM.findall(text)
    if len(structure) != 1 or len(uniform) != 1:
        raise InternalError("TVM's WGSL has another uniform buffer than that of the grid's size.")
    text = _UNIFORM.sub("", _STRUCT.sub("", text))
    name = f"{uniform[0]}.{structure[0][1]}"
    if text.count(name) != 1:
        raise InternalError(f"TVM's WGSL reads {name} {text.count(name)} times; 1 was expected.")
    return text.replace(name, f"{grid[0] - 1}u")


def access_modes(text: str) -> list[str]:
    """`read` or `read_write` of each storage binding, by its number."""
    found = {int(number): mode for number, mode in _BINDING.findall(text)}
    return [found[number] for number in sorted(found)]


def with_access(text: str, modes: Sequence[str]) -> str:
    """`text` with the access mode of each storage binding replaced."""
    return _BINDING.sub(
        lambda match: f"@group(0) @binding({match[1]}) var<storage, {modes[int(match[1])]}>",
        text,
    )
