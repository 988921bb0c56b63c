"""The proof in the manifest, as the matrix reads it."""

from __future__ import annotations

from typing import Any

import pytest

from mdcompiler.backend import Proof
from mdcompiler.backends.htp.check import Proof as Measured
from mdcompiler.backends.htp.measure import Distance
from mdcompiler.backends.htp.proof import block_proof


def emulated(share: float, **largest: int) -> dict[str, Any]:
    rows = {name.replace("_", "/"): {"share": share, "largest": steps} for name, steps in largest.items()}
    return {"share": share, "kernels": rows}


def test_the_worst_kernel_of_a_block_on_any_version_counts() -> None:
    facts = {"emulated": {"v68": emulated(0.06, C1_b0_a=1, C1_b0_b=0), "v73": emulated(0.02, C1_b0_a=0, C2_b0_a=2)}}
    assert block_proof(facts) == Proof({"C1/b0": 1, "C2/b0": 2}, 0.06)


def test_what_the_check_measures_can_be_read() -> None:
    measured = Measured({"C1/b0/conv": Distance(10, 1, 1), "C2/b0/add": Distance(30, 0, 0)}, {})
    assert block_proof({"emulated": {"v73": measured.as_dict()}}) == Proof({"C1/b0": 1, "C2/b0": 0}, 1 / 40)


@pytest.mark.parametrize(
    "stated", [None, 3, {}, {"v73": None}, {"v73": {"kernels": {"a": 1}}}, {"v73": {"kernels": []}}]
)
def test_an_odd_manifest_proves_nothing(stated: Any) -> None:
    assert block_proof({"emulated": stated}) is None
