"""One error that lists everything."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.errors import WeightsError
from mdcompiler.weights import check_weights

SHAPES = {"a": (2, 3), "b": (4,), "c": (1,)}


def good() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


def test_fitting_weights_pass() -> None:
    check_weights(SHAPES, good())


def test_all_faults_in_one_error() -> None:
    weights = good()
    weights["a"] = np.zeros((3, 2), np.float32)
    weights["c"][0] = np.nan
    weights["d"] = np.zeros((5,), np.float32)
    del weights["b"]
    with pytest.raises(WeightsError) as caught:
        check_weights(SHAPES, weights, "my.npz")
    text = str(caught.value)
    assert "my.npz does not fit the network, 4 tensor(s) at fault" in text
    assert "a: shape [3, 2]; expected [2, 3]" in text
    assert "b: missing; expected shape [4]" in text
    assert "c: 1 of 1 values are not finite" in text
    assert "d: extra, shape [5]" in text


@pytest.mark.parametrize(("count", "more"), [(20, None), (21, "and 1 more"), (500, "and 480 more")])
def test_the_list_is_bounded(count: int, more: str | None) -> None:
    with pytest.raises(WeightsError) as caught:
        check_weights({f"t{index}": (1,) for index in range(count)}, {})
    lines = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    assert len(lines) == min(count, 20) + (more is not None)
    assert more is None or lines[-1].strip() == more
