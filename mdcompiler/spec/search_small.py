"""A search space of tiny detectors: what the published ones can contain, at a cost that a test can pay."""

from __future__ import annotations

from mdcompiler.spec.load import parse_spec
from mdcompiler.spec.search_op import fused_ops, ibn_ops, tucker_ops
from mdcompiler.spec.search_space import Group, SearchSpace

_SIZES = (32, 33, 47, 64)
_KERNELS = (3, 5)
_OPS = (
    *ibn_ops(_KERNELS, (1, 2, 4)),
    *fused_ops(_KERNELS, (2, 4)),
    *tucker_ops(_KERNELS, (0.25, 0.75)),
)
_TEMPLATE = """
name: small
input: {height: 32, width: 32}
defaults: {epsilon: 0.01}
blocks:
  C3: [{kind: conv, out: 8, stride: 2}]
  C4: [{kind: conv, out: 8, stride: 2}]
  C5: [{kind: conv, out: 8, stride: 2}]
head: {levels: [C4, C5], extra: [16, 8], minimum: 8, classes: 3, labels: [circle, square, triangle]}
postprocess: {max_detections: 10}
"""


def small_space() -> SearchSpace:
    """4 to 8 blocks of 8 to 24 channels behind a stem, pictures of 32 to 64 pixels, 3 classes, 4 levels."""
    return SearchSpace(
        template=parse_spec(_TEMPLATE, "small"),
        stem=(8, 16),
        groups=(
            Group("C3", 2, (8, 16), _OPS, most=2),
            Group("C4", 2, (8, 16, 24), _OPS, most=2),
            Group("C4", 1, (8, 16, 24), _OPS, most=2),
            Group("C5", 2, (8, 16, 24), _OPS, most=2),
        ),
        heights=_SIZES,
        widths=_SIZES,
        activations=("relu6", "relu", "hard-swish", "swish"),
        se_ratios=(0.0, 0.25),
    )
