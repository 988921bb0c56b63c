"""The operators of the domain `mdc`: what ONNX cannot say in one node, each with its ONNX meaning.

Every one comes with a function body in plain ONNX, attached when a model is written, so that the file
runs in any ONNX runtime and a reference exists for everything the toolkit compiles.

* `FastDetectionPostProcess`, `RegularDetectionPostProcess`
  `(box_encodings, class_scores, anchors) -> boxes, classes, scores, count`: decoding and non-maximum
  suppression with TFLite's two modes (see `mdcompiler.postprocess`).
* `ChangeLayout(x; from, to) -> x`: the same values in another memory layout; the identity for ONNX.
"""

from __future__ import annotations

import onnx
from onnx import helper

from mdcompiler.postprocess import postprocess_functions

DOMAIN = "mdc"
OPSET = 17
IR_VERSION = 10


def attach_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add the bodies of the `mdc` operators that `model` uses; the same object is returned."""
    used = [node for node in model.graph.node if node.domain == DOMAIN]
    if not used:
        return model
    model.ir_version = max(model.ir_version, IR_VERSION)
    if all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    names = {node.op_type for node in used}
    model.functions.extend(body for body in _bodies(_opset_of(model)) if body.name in names)
    return model


def operator_names() -> frozenset[str]:
    """The names of all operators of the domain `mdc`."""
    return frozenset(body.name for body in _bodies())


def _bodies(opset: int = OPSET) -> list[onnx.FunctionProto]:
    return [*postprocess_functions(DOMAIN, opset), _change_layout(opset)]


def detach_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which the `mdc` operators are single nodes without a body."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    kept = [body for body in plain.functions if body.domain != DOMAIN]
    del plain.functions[:]
    plain.functions.extend(kept)
    return plain


def _opset_of(model: onnx.ModelProto) -> int:
    """The ONNX opset of `model`: a function must import the same one."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)


def _change_layout(opset: int) -> onnx.FunctionProto:
    return helper.make_function(
        DOMAIN,
        "ChangeLayout",
        ["x"],
        ["y"],
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_opsetid("", opset)],
        attributes=["from", "to"],
    )
