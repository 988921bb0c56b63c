"""One walk over a model, in order of execution: what is known of every tensor, and of some its value.

Exporters compute shapes at run time. Here they are computed as far as they depend on nothing but shapes and
constants, so that a result is as static as the inputs are:

    Shape(x [1,3,8,8]) -> Slice -> Mul 2 -> Resize      the sizes become a constant; the nodes before it go
    If(true)                                            the branch taken stands in its place
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TypeProto, helper, numpy_helper

from mdcompiler import onnx_evaluate
from mdcompiler.errors import ModelError
from mdcompiler.foreign import shortened
from mdcompiler.onnx_graph import drop_unneeded, nested_graphs
from mdcompiler.onnx_infer import infer_node
from mdcompiler.onnx_limits import MAX_NODES, control_flow, node_faults
from mdcompiler.onnx_spell_out import spelled_out
from mdcompiler.onnx_splice import body_nodes, function_body, spliced_branch
from mdcompiler.onnx_types import agrees, bytes_of, completed, elements_of, is_static, shape_of, type_of
from mdcompiler.operators import DOMAIN

_MOST_SHAPE_VALUES = 4096
"""Values that an operator is told when its shape is inferred: a shape has few."""
_READS_FLOATS = frozenset({"Resize", "Upsample", "Range", "AffineGrid"})
"""Operators whose result has a size that floats decide."""

_MOST_GROWTH = 8
"""A result may take so many times the bytes of what it is made of: unpacked bits and types are no bombs."""

Array = NDArray[Any]
Judge = Callable[[str, TypeProto, str], str | None]
"""(name, type, role) of a tensor -> what is wrong with it, a sentence."""


@dataclass
class Walk:
    """opsets, stated: what the file imports, and says of its tensors. judge: of every result.

    types, values: of the tensors seen so far; a value only where it is small and known. nodes: those that stay.
    faults: results that are wrong although what they are made of is not. taken: all names of tensors.
    """

    opsets: Sequence[Any]
    stated: Mapping[str, TypeProto]
    judge: Judge
    taken: set[str] = field(default_factory=set)
    types: dict[str, TypeProto] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _computed: set[str] = field(default_factory=set)
    _wrong: set[str] = field(default_factory=set)
    _protos: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _fixed: set[str] = field(default_factory=set)
    _fixed_bytes: int = 0
    _known_bytes: int = 0

    @classmethod
    def of(cls, model: onnx.ModelProto, judge: Judge) -> Walk:
        """The walk over the main graph of `model`, whose nodes are in order."""
        graph = model.graph
        stated = {value.name: value.type for value in (*graph.value_info, *graph.output)}
        taken = {name for node in graph.node for name in (*node.input, *node.output)}
        walk = cls(list(model.opset_import), stated, judge, taken)
        for value in graph.input:
            walk.types[value.name] = value.type
        walk._fixed = {tensor.name for tensor in graph.initializer}
        for tensor in graph.initializer:
            walk.types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
            if math.prod(tensor.dims) <= onnx_evaluate.MAX_KNOWN_ELEMENTS:
                walk.values[tensor.name] = numpy_helper.to_array(tensor)
        walk._wrong = {value.name for value in graph.input if judge(value.name, walk.types[value.name], "input")}
        walk.run(graph.node)
        return walk

    def run(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Infer every result of `nodes`, which are in order of execution."""
        waiting = deque(nodes)
        while waiting:
            node = waiting.popleft()
            spelled = spelled_out(node, self.types, self.taken, self._opset)
            for plain in spelled or ():
                self._step(plain)
            if spelled:
                continue
            branch = self._branch(node)
            if branch is None:
                self._step(node)
            else:
                self.faults += [fault for inner in branch for fault in node_faults(inner)]
                waiting.extendleft(reversed(branch))
                if len(self.nodes) + len(waiting) > MAX_NODES:
                    raise ModelError(f"with its branches taken the model has more than {MAX_NODES} nodes.")

    def _branch(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes of the branch that an If always takes."""
        if node.op_type != "If" or node.domain or not node.input:
            return None
        condition = self.values.get(node.input[0])
        if condition is None or condition.size != 1:
            return None
        return spliced_branch(node, bool(condition.reshape(())), self.taken)

    def _step(self, node: onnx.NodeProto) -> None:
        self.nodes.append(node)
        found = self._inferred(node)
        results = self._results(node, found)
        for index, name in enumerate(node.output):
            if not name:
                continue
            self.types[name] = completed(found.get(name, TypeProto()), self.stated.get(name))
            if results is not None:
                self.values[name] = results[index]
                self.types[name] = type_of(results[index])
                self._computed.add(name)
                self._known_bytes += results[index].nbytes
        self._note_faults(node)
        self._bound_constants(node)

    def _note_faults(self, node: onnx.NodeProto) -> None:
        """Note what is wrong with the results, unless what they are made of was wrong already."""
        role = f"result of {shortened(node.name or node.op_type, 80)}"
        wrong = {name: fault for name in node.output if name and (fault := self.judge(name, self.types[name], role))}
        reason = control_flow(node)
        if reason:
            wrong = {name: f"node {shortened(node.name, 80)!r} ({node.op_type}): {reason}." for name in node.output}
        if self._wrong.isdisjoint(node.input):
            self.faults.extend(wrong.values())
        self._wrong.update(wrong)

    def _bound_constants(self, node: onnx.NodeProto) -> None:
        """Note in `faults` where the results that depend on no input grow beyond what may be computed beforehand."""
        made = [name for name in node.output if name]
        if not self._fixed.issuperset(filter(None, node.input)) or not self._wrong.isdisjoint(made):
            return
        self._fixed.update(made)
        before = self._fixed_bytes
        self._fixed_bytes += _grown_bytes([self.types[n] for n in node.input if n], [self.types[n] for n in made])
        limit = onnx_evaluate.MAX_CONSTANT_MIB << 20
        if before <= limit < self._fixed_bytes:
            self.faults.append(
                f"with node {shortened(node.name or made[0], 80)!r} ({node.op_type}) the tensors that depend on no "
                f"input take {self._fixed_bytes >> 20} MiB; at most {limit >> 20} MiB. Make them smaller, or inputs."
            )

    def _inferred(self, node: onnx.NodeProto) -> dict[str, TypeProto]:
        """What ONNX infers of the results of `node`; the bodies of composed operators are looked into."""
        if node.domain == DOMAIN:
            return {name: self.stated[name] for name in node.output if name in self.stated}
        if next(nested_graphs(node), None) is not None or not self._wrong.isdisjoint(node.input):
            return {}
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset, "")
            found = infer_node(node, schema, self.types, self._told(node), self.opsets)
        except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"the shapes of the model do not fit together: node {shortened(node.name, 80)!r} ({node.op_type}): "
                f"{shortened(' '.join(str(error).split()))}. Check the model with "
                "onnx.checker.check_model(model, full_check=True) and export it again."
            ) from error
        if all(is_static(found.get(name)) for name in node.output if name):
            return dict(found)
        return {**found, **self._inside(schema, node)}

    @property
    def _opset(self) -> int:
        return next(int(entry.version) for entry in self.opsets if entry.domain in ("", "ai.onnx"))

    def _told(self, node: onnx.NodeProto) -> dict[str, onnx.TensorProto]:
        """The small values that `node` reads, as tensors."""
        told = {}
        for name in node.input:
            values = self.values.get(name)
            if values is None or values.size > _MOST_SHAPE_VALUES:
                continue
            if values.dtype.kind in "iu" or node.op_type in _READS_FLOATS:
                if name not in self._protos:
                    self._protos[name] = numpy_helper.from_array(values, name)
                told[name] = self._protos[name]
        return told

    def _inside(self, schema: Any, node: onnx.NodeProto) -> dict[str, TypeProto]:
        """The results of an operator that is a function of others, by a walk through its body."""
        body = function_body(schema, node, [self.types.get(name, TypeProto()) for name in node.input], self._opset)
        if body is None:
            return {}
        inner = Walk(list(body.opset_import) or self.opsets, {}, lambda name, kind, role: None)
        for formal, actual in zip(body.input, node.input, strict=False):
            if actual:
                inner.types[formal] = self.types[actual]
                if actual in self.values:
                    inner.values[formal] = self.values[actual]
        try:
            inner.run(body_nodes(body, node))
        except (ModelError, KeyError):
            return {}
        pairs = zip(body.output, node.output, strict=False)
        return {actual: inner.types[formal] for formal, actual in pairs if actual and formal in inner.types}

    def _results(self, node: onnx.NodeProto, found: Mapping[str, TypeProto]) -> list[Array] | None:
        """The values of the results of `node`, where they are known, small and cheap."""
        if node.domain or not node.output:
            return None
        if node.op_type in ("Shape", "Size") and is_static(self.types.get(node.input[0])):
            return [_extents(node, shape_of(self.types[node.input[0]]))]
        known = all(name in self.values for name in node.input if name)
        if not known or not _is_cheap(node, found) or self._known_bytes > onnx_evaluate.MAX_KNOWN_BYTES:
            return None
        try:
            results = onnx_evaluate.evaluate(node, [self.values.get(name) for name in node.input], self.opsets)
        except Exception:  # the value stays unknown, and whoever needs it says so
            return None
        fits = (agrees(type_of(values), found.get(name)) for values, name in zip(results, node.output, strict=True))
        return results if all(fits) else None

    def write(self, graph: onnx.GraphProto) -> None:
        """Put what was found into `graph`: the nodes that stay, new constants, a type for every tensor."""
        outputs = {value.name for value in graph.output}
        constants = self._constants()
        del graph.node[:], graph.value_info[:]
        for node in self.nodes:
            if not constants.issuperset(filter(None, node.output)):
                graph.node.append(node)
            elif outputs.isdisjoint(node.output):
                weights = [numpy_helper.from_array(self.values[name], name) for name in node.output if name]
                graph.initializer.extend(weights)
            else:
                graph.node.extend(self._constant_nodes(node))
        drop_unneeded(graph)
        made = [name for node in graph.node for name in node.output if name and name not in outputs]
        graph.value_info.extend(onnx.ValueInfoProto(name=name, type=self.types[name]) for name in made)
        for value in graph.output:
            value.type.CopyFrom(self.types.get(value.name, TypeProto()))

    def _constants(self) -> set[str]:
        """Computed results that take the place of the nodes that make them: integers, and floats that decide a size.

        Other floats are left to the passes, which fold them all with one arithmetic.
        """
        readers = {name for node in self.nodes if node.op_type in _READS_FLOATS for name in node.input}
        return {name for name in self._computed if self.values[name].dtype.kind in "iub" or name in readers}

    def _constant_nodes(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.op_type in ("Constant", "Identity"):
            return [node]
        made = [name for name in node.output if name]
        return [
            helper.make_node("Constant", [], [name], name=node.name, value=numpy_helper.from_array(self.values[name]))
            for name in made
        ]


def _is_cheap(node: onnx.NodeProto, found: Mapping[str, TypeProto]) -> bool:
    """Whether the results of `node` are few numbers that are soon computed."""
    if node.op_type not in onnx_evaluate.OPERATORS:
        return False
    if node.op_type in onnx_evaluate.SIZE_BY_VALUE:
        return True
    kinds = [found.get(name) for name in node.output if name]
    limit = onnx_evaluate.MAX_KNOWN_ELEMENTS
    return all(kind is not None and is_static(kind) and elements_of(kind) <= limit for kind in kinds)


def _grown_bytes(inputs: Sequence[TypeProto], outputs: Sequence[TypeProto]) -> int:
    """The bytes of `outputs` where they are many times those of `inputs`, which the file holds; else 0."""
    if not all(is_static(kind) for kind in (*inputs, *outputs)):
        return 0
    given, made = (sum(bytes_of(kind) for kind in side) for side in (inputs, outputs))
    return made if made > _MOST_GROWTH * given else 0


def _extents(node: onnx.NodeProto, shape: list[int]) -> Array:
    """What a Shape or Size of a tensor of `shape` makes."""
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    bounds = {item.name: item.i for item in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)
