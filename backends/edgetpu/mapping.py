"""Which operators of a file the Edge TPU compiler maps, predicted by its documented limits.

One part of the file is compiled: what can be reached without passing an operator that is not mapped. Everything behind
one runs on the host. The compiler's own word, where it is installed, replaces the prediction (`compiler`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mdcompiler.backends.edgetpu.rules import broken_rule
from mdcompiler.backends.edgetpu.status import MAPPED, SECOND_SUBGRAPH, UNSPECIFIED
from mdcompiler.backends.tflite.described import describe
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator


@dataclass(frozen=True)
class Verdict:
    """kind: as the compiler's log names it, CUSTOM for a custom operator. where: the tensor that it makes.

    status: the words of the log. reason: a sentence without a full stop, "" when it is mapped.
    """

    kind: str
    where: str
    status: str
    reason: str = ""

    @property
    def mapped(self) -> bool:
        return self.status == MAPPED


Row = tuple[str, int, str]
"""A line of the compiler's table: operator, count, status."""


def predict(graph: TfliteGraph) -> tuple[Verdict, ...]:
    """A verdict for every operator of `graph`, in its order."""
    host: dict[int, str] = {}
    return tuple(_verdict(graph, operator, host) for operator in graph.operators)


def table(verdicts: Iterable[Verdict]) -> tuple[Row, ...]:
    """The verdicts counted by operator and status, sorted."""
    counted = Counter((verdict.kind, verdict.status) for verdict in verdicts)
    return tuple(sorted((kind, count, status) for (kind, status), count in counted.items()))


def _verdict(graph: TfliteGraph, operator: TfliteOperator, host: dict[int, str]) -> Verdict:
    """host: tensors that the host computes after the mapped part has begun, and the operator to blame."""
    described = describe(graph, operator)
    kind = operator.kind if operator.kind.isupper() else "CUSTOM"
    broken = broken_rule(described)
    blamed = next((host[index] for index in operator.inputs if index in host), None)
    if broken is not None:
        rule, reason = broken
        if rule.status != UNSPECIFIED or operator.kind != "QUANTIZE":
            host.update(dict.fromkeys(operator.outputs, described.where))
        return Verdict(kind, described.where, rule.status, reason)
    if blamed is not None:
        host.update(dict.fromkeys(operator.outputs, blamed))
        reason = f"it comes after {blamed}, which runs on the host, and only the part before that is mapped"
        return Verdict(kind, described.where, SECOND_SUBGRAPH, reason)
    return Verdict(kind, described.where, MAPPED)
