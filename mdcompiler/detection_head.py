"""The raw head of a network that ends in detections: what is compared before boxes are suppressed.

Detections hide nearly everything: a wrong score that is suppressed, a wrong box that scores low. So encodings and
scores are judged as any float output, and suppression apart from them, on the compiled network's own encodings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.constants import constant
from mdcompiler.head_check import RAW_BOXES, RAW_SCORES, HeadFacts
from mdcompiler.module import Module
from mdcompiler.postprocess import is_postprocess, options_of


@dataclass(frozen=True)
class DetectionHead:
    """tensors: names of box encodings [1,A,4] and class scores [1,A,K] in the graph. facts: what decodes them."""

    tensors: tuple[str, str]
    facts: HeadFacts

    @property
    def names(self) -> dict[str, str]:
        """Tensor -> its name among checked values."""
        return dict(zip(self.tensors, (RAW_BOXES, RAW_SCORES), strict=True))

    def named(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The raw head out of all `values` of a network."""
        return {known: values[tensor] for tensor, known in self.names.items()}

    def raw(self, module: Module) -> Module:
        """A copy of `module` that ends in the raw head."""
        copy = Module.from_onnx(module.to_onnx(), module.target)
        tensors = copy.graph.tensors()
        copy.graph.outputs = [tensors[name] for name in self.tensors]
        copy.graph.cleanup()
        return copy


def detection_head(module: Module) -> DetectionHead | None:
    """The head of `module` when all its outputs are detections of one post-processing, else None."""
    nodes = [node for node in module.graph.nodes if is_postprocess(node)]
    if len(nodes) != 1 or [id(item) for item in nodes[0].outputs] != [id(item) for item in module.graph.outputs]:
        return None
    anchors = constant(nodes[0].inputs[2])
    boxes, scores = nodes[0].inputs[:2]
    if anchors is None or any(_only_moved(tensor) for tensor in (boxes, scores)):
        return None
    names = tuple(str(tensor.name) for tensor in module.graph.outputs)
    facts = HeadFacts(np.asarray(anchors, np.float32), options_of(nodes[0]), names)
    return DetectionHead((boxes.name, scores.name), facts)


def _only_moved(tensor: gs.Tensor) -> bool:
    """Whether `tensor` is an input or a constant under another shape: memory that the caller owns."""
    while tensor.inputs and tensor.inputs[0].op in ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"):
        tensor = tensor.inputs[0].inputs[0]
    return not tensor.inputs
