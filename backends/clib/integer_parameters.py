"""The constants that integer kernels read beside their weights: multipliers, zero points, bounds, tables."""

from __future__ import annotations

import numpy as np

from mdcompiler.backends.clib.integer_chain import Array, Chain
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.kernels.pack_weights import pack_bias
from mdcompiler.backends.kernels.requantize import (
    ADD_BITS,
    FACTORS,
    HIGH,
    LOW,
    NUMBERS,
    OTHER_ZERO,
    OWN_ZERO,
    SUM_HIGH,
    SUM_LOW,
    SUM_ZERO,
    ZERO,
    Rounding,
)
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.fixed_point import fixed_point
from mdcompiler.quantization.rounding import mean_factor
from mdcompiler.quantization.steps import Port, Step


class IntegerParameters:
    """Adds constants to a program and returns their names."""

    def __init__(self, program: Program, lanes: int, rounding: Rounding) -> None:
        self.program, self.lanes, self.rounding = program, lanes, rounding

    def constant(self, kernel: Kernel, role: str, values: Array) -> str:
        """One constant of a kernel; role: what it is, unique within the kernel."""
        return self.program.constant(f"{kernel.name}:{role}", values)

    def ending(self, kernel: Kernel, chain: Chain, multiplier: Array) -> tuple[str, ...]:
        """The parameters of the requantizer, in the order of `requantize.Requantizer`."""
        role = chain.conv.name
        numbers = np.zeros(NUMBERS, np.int32)
        numbers[[ZERO, LOW, HIGH]] = chain.conv.output.zero_point, chain.conv.low, chain.conv.high
        names = list(self._multiplier(kernel, role, multiplier))
        extra: list[str] = []
        if chain.add is not None and chain.residual is not None:
            extra.append(self.factors(kernel, role, chain.add, (chain.before_add, chain.residual), numbers))
        if chain.table is not None:
            extra.append(self.table(kernel, chain.table))
        if chain.residual is not None:
            extra.append(chain.residual.name)
        return (*names, self.constant(kernel, f"{role}/numbers", numbers), *extra)

    def factors(
        self,
        kernel: Kernel,
        role: str,
        step: Step,
        operands: tuple[Port, Port],
        numbers: Array,
    ) -> str:
        """Fill in what a sum needs in `numbers`; the name of its two float factors."""
        own, other = operands
        result = step.output
        numbers[[SUM_ZERO, SUM_LOW, SUM_HIGH]] = result.zero_point, step.low, step.high
        numbers[[OWN_ZERO, OTHER_ZERO]] = own.zero_point, other.zero_point
        twice = 2.0 * max(own.scale, other.scale)
        reals = (own.scale / twice, other.scale / twice, twice / (2.0**ADD_BITS * result.scale))
        for place, real in enumerate(reals):
            factor = fixed_point(real)
            numbers[FACTORS + 2 * place : FACTORS + 2 * place + 2] = int(factor.multiplier), int(factor.shift)
        factors = np.array([own.scale / result.scale, other.scale / result.scale], np.float32)
        return self.constant(kernel, f"{role}/factors", factors)

    def table(self, kernel: Kernel, step: Step) -> str:
        """The 256 entries of an activation."""
        assert step.activation is not None
        values = table(step, self.rounding)
        return self.constant(kernel, f"{step.name}/table", values)

    def numbers(self, kernel: Kernel, step: Step, own_zero: int, other_zero: int = 0) -> str:
        """Zero points and bounds of an operation without a residual."""
        numbers = np.zeros(NUMBERS, np.int32)
        numbers[[ZERO, LOW, HIGH]] = step.output.zero_point, step.low, step.high
        numbers[[OWN_ZERO, OTHER_ZERO]] = own_zero, other_zero
        return self.constant(kernel, f"{step.name}/numbers", numbers)

    def pair(self, kernel: Kernel, step: Step, multiplier: Array) -> tuple[str, str]:
        """Multiplier and shift of an operation that has one of each, whatever the rounding."""
        names = self._multiplier(kernel, step.name, multiplier)
        return (names[0], names[-1])

    def mean(self, kernel: Kernel, step: Step, pixels: int) -> tuple[str, str]:
        """Multiplier and shift of a mean."""
        scales = step.inputs[0].scale, step.output.scale
        if self.rounding != "fixed-point-double":
            return self.pair(kernel, step, np.array([scales[0] / (pixels * scales[1])]))
        factor = mean_factor(pixels, scales)
        multiplier, shift = (
            self.constant(kernel, f"{step.name}/{role}", np.full(self.lanes, int(value), np.int32))
            for role, value in (("multiplier", factor.multiplier), ("shift", factor.shift))
        )
        return multiplier, shift

    def _multiplier(self, kernel: Kernel, role: str, multiplier: Array) -> tuple[str, ...]:
        """Float factors, or 31-bit multipliers and shifts."""
        if self.rounding == "float-half-even":
            return (self.constant(kernel, f"{role}/multiplier", pack_bias(multiplier.astype(np.float32), self.lanes)),)
        factor = fixed_point(multiplier)
        return tuple(
            self.constant(kernel, f"{role}/{part}", pack_bias(values.astype(np.int32), self.lanes))
            for part, values in (("multiplier", factor.multiplier), ("shift", factor.shift))
        )
