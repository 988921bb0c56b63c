"""Arguments of a wrong type end in one sentence that says which are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler.errors import InputError, SpecError, TargetError

ODD = [None, 5, b"x", [], object(), np.float32(2), iter("x")]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_networks_and_targets_are_names_paths_or_objects(odd: Any) -> None:
    with pytest.raises(SpecError, match="a name of the zoo, a path or a Spec"):
        mdcompiler.compile(odd, "null")
    with pytest.raises(TargetError, match="a name, a path or a Target"):
        mdcompiler.compile("mobiledet-cpu", odd)


@pytest.mark.parametrize("odd", [b"x", [], (1, 2, 3), {}, 2.5], ids=repr)
def test_a_size_is_one_number_or_two(odd: Any) -> None:
    with pytest.raises(InputError, match=r"\(height, width\)"):
        mdcompiler.compile("mobiledet-cpu", "null", size=odd)


def test_a_target_may_be_a_path() -> None:
    with pytest.raises(TargetError):
        mdcompiler.compile("mobiledet-cpu", Path("absent.yaml"))
