"""Let the first convolution read the picture: byte conversion, transpose, scale and offset join its kernel.

    image [1,H,W,3] uint8 -> Cast -> Transpose(0,3,1,2) -> Mul(scalar) -> Add(scalar) -> Conv

becomes one kernel, so that the float copy of the picture in NCHW never exists in memory. The padding of
the convolution stays zeros after scale and offset, not black pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.constants import scalar
from mdcompiler.fusion import Finding, Join, apply, leak, refusals
from mdcompiler.module import Module, consumers
from mdcompiler.names import kernel_names

_CHAIN = ("Cast", "Transpose", "Mul", "Add", "Conv")


@dataclass(frozen=True)
class FusePreprocessing:
    """Join the preprocessing of a uint8 NHWC picture to the stem convolution."""

    name: ClassVar[str] = "fuse-preprocessing"
    stage: ClassVar[Stage] = "fuse"
    after: ClassVar[tuple[str, ...]] = ("fold-batchnorm",)

    def run(self, module: Module) -> int:
        return apply(_findings(module.graph))

    def refusals(self, module: Module) -> list[Refusal]:
        return refusals(_findings(module.graph))


def _findings(graph: gs.Graph) -> Iterator[Finding]:
    names = kernel_names(graph)
    for image in graph.inputs:
        for cast in consumers(image):
            if cast.op == "Cast" and image.dtype == np.uint8:
                yield _finding(graph, cast, names)


def _finding(graph: gs.Graph, cast: gs.Node, names: dict[str, str]) -> Finding:
    chain = _follow(cast)
    reason = _why_not(graph, chain)
    return Refusal(cast.name, reason) if reason else Join(names[chain[-1].name], tuple(chain))


def _follow(cast: gs.Node) -> list[gs.Node]:
    """The chain of expected operators from `cast` on, as far as it goes."""
    chain = [cast]
    for op in _CHAIN[1:]:
        following = next((node for node in consumers(chain[-1].outputs[0]) if node.op == op), None)
        if following is None:
            break
        chain.append(following)
    return chain


def _why_not(graph: gs.Graph, chain: list[gs.Node]) -> str | None:
    if len(chain) < len(_CHAIN):
        return f"{chain[-1].op} is not followed by {_CHAIN[len(chain)]} (the chain is {' -> '.join(_CHAIN)})"
    _, transpose, scale, offset, conv = chain
    if transpose.attrs.get("perm") != [0, 3, 1, 2]:
        return f"the transpose is {transpose.attrs.get('perm')}; NHWC to NCHW is [0, 3, 1, 2]"
    for node in (scale, offset):
        if all(scalar(tensor) is None for tensor in node.inputs):
            return f"{node.name} has no constant operand with a single element"
    if conv.inputs[0] is not offset.outputs[0]:
        return f"the picture is the weight of {conv.name}"
    if int(conv.attrs.get("group", 1)) != 1:
        return f"{conv.name} has {conv.attrs['group']} groups; a stem's convolution reads every channel"
    return leak(graph, chain)
