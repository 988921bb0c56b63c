"""A detector with every kind of block, small enough that each test is quick."""

from __future__ import annotations

from mdcompiler.spec import Spec, parse_spec

_TEXT = """
name: small
input: {height: 32, width: 32}
defaults: {activation: relu6, epsilon: 0.01}
blocks:
  C1:
    - {kind: conv, out: 8, stride: 2}
    - {kind: ibn, out: 8, expansion: 1}
  C2:
    - {kind: fused, out: 16, expansion: 2, stride: 2}
    - {kind: tucker, out: 16, input_ratio: 0.5, output_ratio: 0.5}
    - {kind: fused, out: 16, expansion: 2}
  C3:
    - {kind: ibn, out: 24, expansion: 2, stride: 2, se: 0.25, activation: hard-swish}
    - {kind: ibn, out: 24, expansion: 2, kernel: 5}
    - {kind: ibn, out: 24, expansion: 2, residual: off}
head: {levels: [C2, C3], extra: [32], classes: 3}
"""


def small_spec(classes: int = 3) -> Spec:
    """32x32 pixels, three levels, four class slots."""
    return parse_spec(_TEXT, "small.yaml").with_(classes=classes)
