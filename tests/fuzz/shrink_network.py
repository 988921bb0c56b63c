"""The fewest nodes with which a network still fails: its end is moved up, then its beginnings down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from onnx.utils import Extractor

from tests.fuzz.farm import Farm
from tests.fuzz.networks import random_network
from tests.fuzz.outcome import Outcome

Fails = Callable[[onnx.ModelProto], bool]


def save_failure(farm: Farm, seed: int, number: int, outcome: Outcome, folder: Path) -> None:
    """Leave the shrunk network and what it failed with in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "network.onnx"

    def fails(model: onnx.ModelProto) -> bool:
        file.write_bytes(model.SerializeToString())
        return farm.run(str(file)).fault == outcome.fault

    small = shrink_network(random_network(seed, number), fails)
    file.write_bytes(small.SerializeToString())
    (folder / "why.txt").write_text(f"seed {seed}, network {number}: {outcome.verdict}\n{outcome.text}\n")


def shrink_network(model: onnx.ModelProto, fails: Fails) -> onnx.ModelProto:
    """The smallest part of `model` found that `fails`."""
    for smaller in _ends(model):
        if fails(smaller):
            model = smaller
            break
    found = True
    while found:
        found = False
        for smaller in _beginnings(model):
            if len(smaller.graph.node) < len(model.graph.node) and fails(smaller):
                model, found = smaller, True
                break
    return model


def _ends(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """What each node's result needs, the first nodes first."""
    for node in model.graph.node:
        yield _part(model, [value.name for value in model.graph.input], [node.output[0]])


def _beginnings(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """`model` with a tensor inside as an input, the last ones first."""
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    for node in reversed(model.graph.node):
        if not set(node.output) & set(outputs):
            yield _part(model, [*inputs, node.output[0]], outputs)


def _part(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """The part between, without inputs that nothing in it reads."""
    found: onnx.ModelProto = Extractor(model).extract_model(inputs, outputs)
    found.graph.name = "part"
    read = {name for node in found.graph.node for name in node.input}
    kept = [value for value in found.graph.input if value.name in read]
    del found.graph.input[:]
    found.graph.input.extend(kept)
    return found
