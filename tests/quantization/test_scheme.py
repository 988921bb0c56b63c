"""Schemes and scales as data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.errors import TargetError
from mdcompiler.quantization.affine import clamp_integers, from_range, quantize, representable, weight_quantization
from mdcompiler.quantization.scheme import find_scheme, shipped_schemes
from mdcompiler.target import shipped_targets


def test_the_schemes_that_ship() -> None:
    schemes = shipped_schemes()
    assert set(schemes) == {"cpu", "edgetpu-ptq", "edgetpu-qat", "gpu", "hexagon-htp", "hexagon-hvx"}
    assert not schemes["edgetpu-qat"].per_channel
    assert schemes["cpu"].dtype("int16") == "uint16"


def test_targets_name_schemes_that_exist() -> None:
    named = {target.scheme for target in shipped_targets().values()} - {""}
    assert "cpu" in named
    assert named <= set(shipped_schemes())


def test_unknown_scheme() -> None:
    with pytest.raises(TargetError, match="cpu, edgetpu-ptq"):
        find_scheme("tpu")


def test_bad_scheme_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nactivation: int4\n")
    with pytest.raises(TargetError, match="activation"):
        find_scheme(str(path))
    with pytest.raises(TargetError, match="cannot be read"):
        find_scheme(str(tmp_path / "none.yaml"))


@given(
    st.floats(-1e4, 1e4),
    st.floats(0, 1e4),
    st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    st.booleans(),
    st.booleans(),
)
def test_ranges_are_covered_and_hold_zero(low: float, span: float, dtype: str, symmetric: bool, power: bool) -> None:
    found = from_range(low, low + span, dtype, symmetric, power)
    bottom, top = representable(found)
    assert bottom <= 0 <= top
    assert bottom - found.scale[0] <= min(low, 0)
    assert max(low + span, 0) <= top + found.scale[0]
    assert np.float32(found.scale[0]) == found.scale[0]
    zero = quantize(np.zeros(1), found)
    assert found.dequantize(zero)[0] == 0


def test_relu6_needs_no_clamp() -> None:
    assert clamp_integers(from_range(0, 6, "uint8"), 0, 6) == (0, 255)
    assert clamp_integers(from_range(-2, 8, "uint8"), 0, 6) == (51, 204)


def test_weights_come_back_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    for per_channel, symmetric, dtype in ((True, True, "int8"), (False, False, "uint8")):
        found = weight_quantization(weight, dtype, per_channel=per_channel, symmetric=symmetric)
        back = found.dequantize(quantize(weight, found))
        step = np.array(found.scale).reshape(-1, 1, 1, 1)
        assert (np.abs(back - weight) <= step * 0.5001).all()


def test_a_dead_channel_keeps_its_bias_in_range() -> None:
    weight = np.full((2, 1, 1, 1), 1e-20, np.float32)
    bias = np.array([0.5, 0.0])
    found = weight_quantization(weight, "int8", per_channel=True, symmetric=True, bias=bias, input_scale=0.02)
    assert 0.5 / (0.02 * found.scale[0]) < 2**30
