"""A small constant matrix times a vector of expressions: what every transform of Winograd's filtering is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mdcompiler.backends.kernels.tir import Expr, Function, splat
from mdcompiler.backends.kernels.winograd_matrices import Matrix


def combine(f: Function, matrix: Matrix, values: Sequence[Expr | None], lanes: int) -> list[Expr]:
    """matrix x values, where None is zero; each result is a variable, None where all terms are zero."""
    results = []
    for row in matrix:
        total = None
        for factor, value in zip(row, values, strict=True):
            if factor and value is not None:
                total = _add(total, factor, value, lanes)
        results.append(None if total is None else f.let("t", total, f"float32x{lanes}"))
    return results


def _add(total: Expr | None, factor: Fraction, value: Expr, lanes: int) -> Expr:
    if total is None:
        return value if factor == 1 else value * splat(float(factor), lanes)
    if abs(factor) == 1:
        return total + value if factor == 1 else total - value
    return total + value * splat(float(factor), lanes)
