"""What blocks keep in memory: weights once, and the widest moment."""

from __future__ import annotations

from pathlib import Path

from mdcompiler.matrix import run_matrix
from tests.matrix.matrices import options, tiny


def test_weights_and_tensors_of_a_block(tmp_path: Path) -> None:
    """C1: a convolution from the picture 24x24x3 in bytes to 12x12x8; C2/b0: 3x3 to 16 channels, then 1x1 to 8."""
    rows = run_matrix(options(tiny(tmp_path), "null,edgetpu"), tmp_path / "out").pairs
    (stem, fused), (small_stem, small_fused) = (row.blocks[:2] for row in rows)
    assert stem.working_bytes == 24 * 24 * 3 + 12 * 12 * 8 * 4
    assert fused.working_bytes == (12 * 12 * 8 + 6 * 6 * 16) * 4
    assert small_stem.working_bytes == 24 * 24 * 3 + 12 * 12 * 8
    assert small_fused.working_bytes == 12 * 12 * 8 + 6 * 6 * 16
    assert fused.weight_bytes is not None
    assert small_fused.weight_bytes is not None
    weights = 16 * 8 * 9 + 8 * 16
    assert weights * 4 + 24 * 4 <= fused.weight_bytes < weights * 4 + 200, "biases and bounds of clamps"
    assert weights + 24 * 4 <= small_fused.weight_bytes < weights + 24 * 13 + 200, "and a scale for each channel"


def test_what_a_backend_adds_has_none(tmp_path: Path) -> None:
    (row,) = run_matrix(options(tiny(tmp_path), "cpu"), tmp_path / "out").pairs
    added = [block for block in row.blocks if set(block.kinds) == {"layout"}]
    assert all(block.working_bytes is None for block in added)
    assert all(block.working_bytes for block in row.blocks if block.macs)
