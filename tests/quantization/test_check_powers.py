"""Schemes that only shift: what is no power of two is refused where it is, with what to do."""

from __future__ import annotations

import pytest

from mdcompiler.errors import UnsupportedError
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec import Spec
from tests.quantization.networks import float_module, observe
from tests.weights.small_spec import small_spec

POWERS = find_scheme("cpu").model_copy(update={"name": "powers", "rounding": "power-of-two"})


def reference(spec: Spec) -> IntegerReference:
    module = float_module(spec)
    ranges = observe(module, tensors_to_calibrate(module.graph, POWERS))
    InsertQdq(Parameters(ranges), {}, scheme=POWERS).run(module)
    found = IntegerReference(module, POWERS)
    found.run(sample_inputs(module))
    return found


def with_picture(spec: Spec, scale: float) -> Spec:
    return spec.model_copy(update={"input": spec.input.model_copy(update={"scale": scale, "offset": -1.0})})


def test_shifts_are_taken() -> None:
    assert reference(with_picture(small_spec(), 2.0**-7)).bounds


def test_a_picture_whose_scale_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"in C1/b0.*has a scale of 0\.0078431.*Choose precision float"):
        reference(with_picture(small_spec(), 2 / 255))


def test_an_average_of_other_numbers_is_refused() -> None:
    spec = with_picture(small_spec().with_(height=48, width_px=48), 2.0**-7)
    with pytest.raises(UnsupportedError, match=r"in C3/b0.*averages 36 numbers, and a scheme .* only shifts"):
        reference(spec)
