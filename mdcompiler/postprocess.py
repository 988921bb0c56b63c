"""Box decoding and non-maximum suppression as one ONNX node with a body in plain ONNX.

Two operators, one for each mode of TensorFlow Lite's `TFLite_Detection_PostProcess`:

* `FastDetectionPostProcess`: every anchor counts with its best class only; one suppression over all anchors.
* `RegularDetectionPostProcess`: one suppression for each class; the best `max_detections` of all classes win.

Both: (box_encodings [1,A,4], class_scores [1,A,K], anchors [A,4]) -> (boxes [1,N,4], classes [1,N],
scores [1,N], count [1]), all float32. Encodings and anchors are (y, x, h, w) with centers; boxes are
(ymin, xmin, ymax, xmax). Slot 0 of K is the background and is dropped; classes count from 0 after it.
Rows from `count` on are zero. A score is a candidate when it is at least `score_threshold`; a box is dropped
when its overlap with a better one is more than `iou_threshold`; boxes without area overlap nothing. Equal
scores are ordered by class (regular mode), then by anchor.

Source of the semantics: tflite/kernels/detection_postprocess.cc of google-ai-edge/LiteRT (2025), which sorts
stably and decodes in double precision; max_classes_per_detection is 1, as every exporter sets it. TFLite
leaves the unused rows of the fast mode undefined; here they are zero.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import parser

from mdcompiler.postprocess_options import ATTRIBUTES, PostprocessOptions

FAST = "FastDetectionPostProcess"
REGULAR = "RegularDetectionPostProcess"
OUTPUTS = ("boxes", "classes", "scores", "count")

_DECODE = """
  ty, tx, th, tw = Split <axis = 2> (box_encodings)
  ya, xa, ha, wa = Split <axis = 1> (anchors)
  ty_wide = Cast <to = 11> (ty)
  tx_wide = Cast <to = 11> (tx)
  th_wide = Cast <to = 11> (th)
  tw_wide = Cast <to = 11> (tw)
  ya_wide = Cast <to = 11> (ya)
  xa_wide = Cast <to = 11> (xa)
  ha_wide = Cast <to = 11> (ha)
  wa_wide = Cast <to = 11> (wa)
  scale_y = Constant <value_float: float = @scale_y> ()
  scale_x = Constant <value_float: float = @scale_x> ()
  scale_h = Constant <value_float: float = @scale_h> ()
  scale_w = Constant <value_float: float = @scale_w> ()
  scale_y_wide = Cast <to = 11> (scale_y)
  scale_x_wide = Cast <to = 11> (scale_x)
  scale_h_wide = Cast <to = 11> (scale_h)
  scale_w_wide = Cast <to = 11> (scale_w)
  half = Constant <value = double {0.5}> ()
  move_y = Div (ty_wide, scale_y_wide)
  shift_y = Mul (move_y, ha_wide)
  center_y_wide = Add (shift_y, ya_wide)
  center_y = Cast <to = 1> (center_y_wide)
  move_x = Div (tx_wide, scale_x_wide)
  shift_x = Mul (move_x, wa_wide)
  center_x_wide = Add (shift_x, xa_wide)
  center_x = Cast <to = 1> (center_x_wide)
  grow_h = Div (th_wide, scale_h_wide)
  factor_h = Exp (grow_h)
  half_factor_h = Mul (half, factor_h)
  half_h_wide = Mul (half_factor_h, ha_wide)
  half_h = Cast <to = 1> (half_h_wide)
  grow_w = Div (tw_wide, scale_w_wide)
  factor_w = Exp (grow_w)
  half_factor_w = Mul (half, factor_w)
  half_w_wide = Mul (half_factor_w, wa_wide)
  half_w = Cast <to = 1> (half_w_wide)
  ymin = Sub (center_y, half_h)
  xmin = Sub (center_x, half_w)
  ymax = Add (center_y, half_h)
  xmax = Add (center_x, half_w)
  decoded = Concat <axis = 2> (ymin, xmin, ymax, xmax)
  zero = Constant <value_ints: ints = [0]> ()
  one = Constant <value_ints: ints = [1]> ()
  two = Constant <value_ints: ints = [2]> ()
  to_end = Constant <value_ints: ints = [9223372036854775807]> ()
  foreground = Slice (class_scores, one, to_end, two)
  rows_scalar = Constant <value_int: int = @max_detections> ()
  rows = Reshape (rows_scalar, one)
  per_class_scalar = Constant <value_int: int = @detections_per_class> ()
  per_class = Reshape (per_class_scalar, one)
"""

_RANK_FAST = """
  limit = Identity (rows)
  best = ReduceMax <axes = [2], keepdims = 1> (foreground)
  ranked = Transpose <perm = [0, 2, 1]> (best)
"""

_RANK_REGULAR = """
  limit = Min (rows, per_class)
  ranked = Transpose <perm = [0, 2, 1]> (foreground)
"""

# ONNX keeps scores above its threshold, TFLite those at least as high: hence the mask.
_SUPPRESS = """
  threshold = Constant <value_float: float = @score_threshold> ()
  eligible = GreaterOrEqual (ranked, threshold)
  masked_out = Constant <value_float: float = -3.4028235e38> ()
  floor = Constant <value_floats: floats = [-3.4e38]> ()
  masked = Where (eligible, ranked, masked_out)
  overlap_scalar = Constant <value_float: float = @iou_threshold> ()
  overlap = Reshape (overlap_scalar, one)
  picked = NonMaxSuppression (decoded, masked, limit, overlap, floor)
  picked_scores = GatherND (ranked, picked)
  picked_anchor_column = Gather <axis = 1> (picked, two)
  picked_anchors = Squeeze (picked_anchor_column, one)
  picked_boxes = Gather <axis = 1> (decoded, picked_anchors)
"""

_CLASS_FAST = """
  class_of_anchor = ArgMax <axis = 2, keepdims = 0> (foreground)
  class_row = Squeeze (class_of_anchor, zero)
  picked_classes = Gather <axis = 0> (class_row, picked_anchors)
"""

_CLASS_REGULAR = """
  picked_class_column = Gather <axis = 1> (picked, one)
  picked_classes = Squeeze (picked_class_column, one)
"""

_COLLECT = """
  pad_row = Concat <axis = 0> (zero, rows)
  padded_scores = Pad (picked_scores, pad_row, masked_out)
  top_scores, top = TopK <axis = 0, largest = 1, sorted = 1> (padded_scores, rows)
  found = Shape (picked_scores)
  is_real = Less (top, found)
  nothing = Constant <value_float: float = 0.0> ()
  score_row = Where (is_real, top_scores, nothing)
  scores = Unsqueeze (score_row, zero)
  padded_classes = Pad (picked_classes, pad_row)
  class_numbers = Gather <axis = 0> (padded_classes, top)
  class_floats = Cast <to = 1> (class_numbers)
  classes = Unsqueeze (class_floats, zero)
  before = Constant <value_ints: ints = [0, 0, 0, 0]> ()
  pad_boxes = Concat <axis = 0> (before, rows, zero)
  padded_boxes = Pad (picked_boxes, pad_boxes)
  boxes = Gather <axis = 1> (padded_boxes, top)
  counted = Min (found, rows)
  count = Cast <to = 1> (counted)
"""


_SINCE_18 = {
    "Split <axis = 2>": "Split <axis = 2, num_outputs = 4>",
    "Split <axis = 1>": "Split <axis = 1, num_outputs = 4>",
    "ReduceMax <axes = [2], keepdims = 1> (foreground)": "ReduceMax <keepdims = 1> (foreground, two)",
}
"""Spellings that opset 18 changed; 16-bit quantization needs opset 21."""


def postprocess_functions(domain: str, opset: int) -> list[onnx.FunctionProto]:
    """The bodies of both operators."""
    fast = _DECODE + _RANK_FAST + _SUPPRESS + _CLASS_FAST + _COLLECT
    regular = _DECODE + _RANK_REGULAR + _SUPPRESS + _CLASS_REGULAR + _COLLECT
    return [_function(FAST, fast, domain, opset), _function(REGULAR, regular, domain, opset)]


def _function(name: str, body: str, domain: str, opset: int) -> onnx.FunctionProto:
    for old, new in _SINCE_18.items() if opset >= 18 else ():
        body = body.replace(old, new)
    header = f'<opset_import: ["": {opset}], domain: "{domain}"> {name} <{", ".join(ATTRIBUTES)}>'
    signature = f"(box_encodings, class_scores, anchors) => ({', '.join(OUTPUTS)})"
    return parser.parse_function(f"{header} {signature} {{{body}}}")


def postprocess_node(
    name: str,
    box_encodings: gs.Tensor,
    class_scores: gs.Tensor,
    anchors: gs.Tensor,
    options: PostprocessOptions,
    domain: str = "mdc",
) -> gs.Node:
    """A node that turns raw outputs into detections; its outputs are `boxes`, `classes`, `scores`, `count`.

    box_encodings [1,A,4], class_scores [1,A,K] and anchors [A,4] are float32. The caller appends the node to
    its graph and makes the outputs the graph's.
    """
    rows = options.max_detections
    shapes = ((1, rows, 4), (1, rows), (1, rows), (1,))
    outputs = [gs.Variable(output, np.float32, shape) for output, shape in zip(OUTPUTS, shapes, strict=True)]
    return gs.Node(
        REGULAR if options.regular else FAST,
        name,
        attrs=dict(options.attributes()),
        inputs=[box_encodings, class_scores, anchors],
        outputs=outputs,
        domain=domain,
    )


def is_postprocess(node: gs.Node) -> bool:
    """Whether `node` is one of the two operators."""
    return node.op in (FAST, REGULAR)


def options_of(node: gs.Node) -> PostprocessOptions:
    """The options of a post-processing node."""
    return PostprocessOptions.from_attributes(dict(node.attrs), regular=node.op == REGULAR)
