"""What no single field can tell: whether the parts of a spec fit together."""

from __future__ import annotations

import math

from mdcompiler.spec.build import plan_network
from mdcompiler.spec.faults import Fault
from mdcompiler.spec.model import Spec
from mdcompiler.spec.network import Network

# Far above any detector for a device; a spec beyond it is a mistake that would fill the memory.
MAX_PARAMS = 500_000_000
MAX_ELEMENTS = 500_000_000


def spec_faults(spec: Spec) -> list[Fault]:
    """Everything wrong with a spec whose fields are each in order."""
    network, faults = plan_network(spec)
    faults.extend(_head_faults(spec))
    if network is not None:
        faults.extend(_size_faults(network))
    return faults


def _head_faults(spec: Spec) -> list[Fault]:
    faults = []
    head = spec.head
    if head.labels is not None and len(head.label_names) != head.classes:
        sentence = f"has {len(head.label_names)} names; as many as head.classes, {head.classes}"
        faults.append(Fault(("head", "labels"), None, sentence, told=True))
    anchors = head.anchors
    if anchors.max_scale < anchors.min_scale:
        sentence = f"at least min_scale, {anchors.min_scale:g}"
        faults.append(Fault(("head", "anchors", "max_scale"), anchors.max_scale, sentence))
    return faults


def _size_faults(network: Network) -> list[Fault]:
    params = sum(math.prod(shape) for step in network.steps for _, shape in step.weights())
    elements = max(step.output.elements for step in network.steps)
    return [
        Fault((), None, f"has {number:,} {what}; at most {limit:,}, make the network smaller", told=True)
        for number, what, limit in (
            (params, "parameters", MAX_PARAMS),
            (elements, "numbers in one tensor", MAX_ELEMENTS),
        )
        if number > limit
    ]
