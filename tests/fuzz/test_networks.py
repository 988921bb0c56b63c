"""Two random networks: the file, the passes, the float and the int8 library say the same."""

from __future__ import annotations

import onnx

from tests.fuzz.farm import Farm
from tests.fuzz.networks import random_network
from tests.fuzz.shrink_network import shrink_network

_NETWORKS = 2
_SEED = 20261201


def test_random_networks_compute_what_they_say() -> None:
    """Of four branches each; thousands by hand: `python -m tests.fuzz networks`."""
    with Farm("networks", {"seed": _SEED}) as farm:
        found = {number: farm.run(str(number)) for number in range(_NETWORKS)}
    assert {number: outcome for number, outcome in found.items() if outcome.failed} == {}
    assert any(outcome.verdict == "right" for outcome in found.values())


def test_every_network_is_valid() -> None:
    for number in range(20):
        onnx.checker.check_model(random_network(1, number), full_check=True)


def test_a_network_shrinks_to_the_node_at_fault() -> None:
    model = random_network(0, 11)
    operators = {node.op_type for node in model.graph.node}
    assert "Erf" in operators
    small = shrink_network(model, lambda part: any(node.op_type == "Erf" for node in part.graph.node))
    assert [node.op_type for node in small.graph.node] == ["Erf"]
    assert len(small.graph.input) == 1
