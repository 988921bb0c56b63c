"""Post-processing as a call of the C function that every model carries (`runtime/postprocess.c`)."""

from __future__ import annotations

from mdcompiler.backends.clib.program import Call, Program
from mdcompiler.kernel import Kernel
from mdcompiler.postprocess import options_of
from mdcompiler.postprocess_options import PostprocessOptions

_CANDIDATE_BYTES = 16
"""At least sizeof(struct candidate) in postprocess.c; the generated call compares before it runs."""


def call_postprocess(program: Program, kernel: Kernel) -> None:
    """Append the call for a kernel of kind postprocess."""
    node = kernel.nodes[0]
    anchors, slots = (int(extent) for extent in node.inputs[1].shape[1:])
    options = options_of(node)
    scratch_bytes = anchors * _CANDIDATE_BYTES
    scratch = program.buffer(f"{kernel.name}:scratch", scratch_bytes)
    literal = _options_literal(options, anchors, slots)
    outputs = tuple(tensor.name for tensor in node.outputs)
    pointers = ", ".join(f"{{{index}}}" for index in range(4 + len(outputs)))
    code = f"mdc_detect(&{literal}, {scratch_bytes}, {pointers})"
    reads = tuple(tensor.name for tensor in node.inputs)
    program.steps.append(Call(kernel.name, code, reads, (scratch, *outputs)))


def _options_literal(options: PostprocessOptions, anchors: int, slots: int) -> str:
    """A C compound literal; braces doubled for `str.format`."""
    fields = {
        "anchors": anchors,
        "class_slots": slots,
        "max_detections": options.max_detections,
        "detections_per_class": options.detections_per_class,
        "regular": int(options.regular),
    }
    reals = ("score_threshold", "iou_threshold", "scale_y", "scale_x", "scale_h", "scale_w")
    parts = [f".{name} = {value}" for name, value in fields.items()]
    parts += [f".{name} = {float(getattr(options, name))!r}f" for name in reals]
    return f"(struct mdc_postprocess_options){{{{{', '.join(parts)}}}}}"
