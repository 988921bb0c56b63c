"""What numbers an input may hold, found by walking to the operators that read it.

An index beyond its axis, a length beyond its sequence or a division by zero has no meaning that could be compared: the
inputs that a network is checked with stay within what its operators define.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

Range = tuple[float, float]
_MOVES = frozenset(
    ("Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose")
) | {"Unsqueeze", "DepthToSpace", "SpaceToDepth", "Dropout"}
"""Operators whose results are values of their first input."""
_CHOOSES = {"Where": (1, 2)}
"""Operators whose results are values of some of their inputs."""
_MOST_STEPS = 10_000


def domain_of(tensor: gs.Tensor) -> Range | None:
    """Lowest and highest value that every reader of `tensor` defines; None where any value will do."""
    low, high, bounded = float("-inf"), float("inf"), False
    pending, seen = [tensor], {id(tensor)}
    while pending and len(seen) < _MOST_STEPS:
        current = pending.pop()
        for node in {id(reader): reader for reader in current.outputs}.values():
            for place in (index for index, item in enumerate(node.inputs) if item is current):
                found = _read_at(node, place)
                if found is not None:
                    low, high, bounded = max(low, found[0]), min(high, found[1]), True
            if _passes_on(node, current):
                new = [item for item in node.outputs if id(item) not in seen]
                seen.update(map(id, new))
                pending.extend(new)
    return (low, max(low, high)) if bounded else None


def _passes_on(node: gs.Node, tensor: gs.Tensor) -> bool:
    """Whether values of `tensor` are values of what `node` makes."""
    if node.op in _CHOOSES:
        return any(node.inputs[place] is tensor for place in _CHOOSES[node.op])
    return node.op in _MOVES and (node.op == "Concat" or node.inputs[0] is tensor)


def _read_at(node: gs.Node, place: int) -> Range | None:
    """What `node` defines for its input number `place`."""
    rule = _RULES.get((node.op, place)) if not node.domain else None
    return rule(node) if rule is not None else None


def _extent(node: gs.Node, place: int, axis: int) -> int:
    shape = node.inputs[place].shape
    return int(shape[axis % len(shape)]) if shape else 1


def _index(node: gs.Node) -> Range:
    extent = _extent(node, 0, int(node.attrs.get("axis", 0)))
    return -extent, extent - 1


def _every_index(node: gs.Node) -> Range:
    """Of GatherND and ScatterND: one number is right for the shortest axis that it may select."""
    skipped = int(node.attrs.get("batch_dims", 0))
    count = int(node.inputs[1].shape[-1])
    shortest = min((int(extent) for extent in node.inputs[0].shape[skipped : skipped + count]), default=1)
    return -shortest, shortest - 1


def _classes(node: gs.Node) -> Range:
    return 0, _extent(node, 0, 1) - 1


def _steps(place: int, axis: Callable[[gs.Node], int]) -> Callable[[gs.Node], Range]:
    return lambda node: (1, _extent(node, place, axis(node)))


def _always(low: float, high: float) -> Callable[[gs.Node], Range]:
    return lambda _: (low, high)


def _axis(node: gs.Node) -> Range:
    return 0, len(node.inputs[0].shape) - 1


def _time_axis(node: gs.Node) -> int:
    return 1 if int(node.attrs.get("layout", 0)) else 0


_TINY = 2.0**-6
_RULES: dict[tuple[str, int], Callable[[gs.Node], Range]] = {
    ("Gather", 1): _index,
    ("GatherElements", 1): _index,
    ("ScatterElements", 1): _index,
    ("Scatter", 1): _index,
    ("GatherND", 1): _every_index,
    ("ScatterND", 1): _every_index,
    ("OneHot", 1): _always(1, 16),
    ("NegativeLogLikelihoodLoss", 1): _classes,
    ("SoftmaxCrossEntropyLoss", 1): _classes,
    ("ReverseSequence", 1): _steps(0, lambda node: int(node.attrs.get("time_axis", 0))),
    ("RNN", 4): _steps(0, _time_axis),
    ("GRU", 4): _steps(0, _time_axis),
    ("LSTM", 4): _steps(0, _time_axis),
    ("CumSum", 1): _axis,
    ("RoiAlign", 2): lambda node: (0, _extent(node, 0, 0) - 1),
    ("MaxUnpool", 1): _always(0, 0),
    ("TensorScatter", 2): _always(0, 0),
    ("BitShift", 1): _always(0, 7),
    ("Trilu", 1): _always(-2, 2),
    ("Div", 1): _always(1, 64),
    ("Mod", 1): _always(1, 64),
    ("Pow", 0): _always(_TINY, 4),
    ("Pow", 1): _always(0, 3),
    ("Sqrt", 0): _always(_TINY, 4),
    ("Log", 0): _always(_TINY, 4),
    ("Reciprocal", 0): _always(_TINY, 4),
    ("BatchNormalization", 4): _always(_TINY, 4),
    ("Asin", 0): _always(-1, 1),
    ("Acos", 0): _always(-1, 1),
    ("Atanh", 0): _always(-0.9, 0.9),
    ("Acosh", 0): _always(1, 4),
    ("Bernoulli", 0): _always(0, 1),
    ("Dropout", 1): _always(0, 0.9),
    ("BlackmanWindow", 0): _always(1, 64),
}
