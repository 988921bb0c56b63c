"""Multiply-adds and bytes of groups of kernels: what a group must read and write, and what it does unfused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.kernels.dot_product import DotName, choose_dot, dot_of
from mdcompiler.kernel import Kernel
from mdcompiler.target import Target


@dataclass(frozen=True)
class Part:
    """Kernels that are looked at together.

    must_bytes: weights and tensors that cross the group's border. moved_bytes: all that its kernels read and write,
    tensors handed from one to another counted twice.
    """

    name: str
    kernels: int
    macs: int
    must_bytes: int
    moved_bytes: int


def parts(items: Sequence[Kernel], key: Callable[[Kernel], str], target: Target) -> list[Part]:
    """The kernels grouped by `key`, in order of first appearance. target: it decides how wide weights are stored."""
    groups: dict[str, list[Kernel]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return [_part(name, group, items, choose_dot(target)) for name, group in groups.items()]


def _part(name: str, group: Sequence[Kernel], everything: Sequence[Kernel], dot: DotName) -> Part:
    made = {tensor.name: tensor for item in group for tensor in item.outputs}
    read = {tensor.name: tensor for item in group for tensor in item.inputs}
    names = {item.name for item in group}
    elsewhere = {tensor.name for item in everything if item.name not in names for tensor in item.inputs}
    inner = {tensor for tensor in made if tensor in read and tensor not in elsewhere}
    crossing = {tensor: value for tensor, value in {**read, **made}.items() if tensor not in inner}
    weights = sum(_stored_bytes(tensor, item, dot) for item, tensor in _constants(group))
    moved = weights + sum(_bytes([*item.inputs, *item.outputs]) for item in group)
    return Part(name, len(group), sum(item.macs for item in group), weights + _bytes(crossing.values()), moved)


def _constants(group: Iterable[Kernel]) -> list[tuple[Kernel, gs.Constant]]:
    """Every constant once, with a kernel that reads it."""
    reads = ((item, tensor) for item in group for node in item.nodes for tensor in node.inputs)
    return list({tensor.name: (item, tensor) for item, tensor in reads if isinstance(tensor, gs.Constant)}.values())


def _stored_bytes(tensor: gs.Constant, item: Kernel, dot: DotName) -> int:
    """Of a constant in the library: integer weights are as wide as the instructions that multiply them read them."""
    if tensor.values.dtype != np.int8 or tensor.values.ndim != 4:
        return _bytes([tensor])
    in_floats = item.kind == "depthwise" and dot not in ("vpdpbusd", "sdot")
    return int(tensor.values.size * np.dtype("float32" if in_floats else dot_of(dot).dtype).itemsize)


def _bytes(tensors: Iterable[gs.Tensor]) -> int:
    return sum(int(np.prod(item.shape, dtype=np.int64)) * int(np.dtype(item.dtype).itemsize) for item in tensors)
