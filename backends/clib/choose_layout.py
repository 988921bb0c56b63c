"""Give every tensor its memory layout, and change it where two kernels disagree.

Convolutions work on channels in blocks of one vector (`NCHW16c` with 16 lanes), everything else on plain
row-major memory. A node's attribute `mdc.layout` names the layout of its outputs; where a kernel reads
another one, an `mdc.ChangeLayout` node stands between. Sums and activations take whatever comes, so
inside a convolutional network no change is left.

    Conv -> Softmax        becomes        Conv (NCHW16c) -> ChangeLayout -> Softmax
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.kernels.select import Wish, layout_wish
from mdcompiler.compile_pass import Stage
from mdcompiler.kernel import KERNEL, KIND, LAYOUT, Kernel, kernels
from mdcompiler.module import Module
from mdcompiler.names import fresh_node, fresh_tensor
from mdcompiler.operators import DOMAIN

PLAIN = ""


@dataclass(frozen=True)
class ChooseLayout:
    """Give every tensor the memory layout that its kernels want.

    lanes: channels in a block, the float32 elements of one vector register.
    """

    lanes: int = 16
    name: ClassVar[str] = "choose-layout"
    stage: ClassVar[Stage] = "place"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        return _Placement(module.graph, self.lanes).run()


@dataclass
class _Placement:
    graph: gs.Graph
    lanes: int
    layout: dict[str, str] = field(default_factory=dict)
    changed: dict[tuple[str, str], gs.Variable] = field(default_factory=dict)
    order: list[gs.Node] = field(default_factory=list)
    edits: int = 0

    @property
    def blocked(self) -> str:
        return f"NCHW{self.lanes}c"

    def run(self) -> int:
        for kernel in kernels(self.graph):
            self._place(kernel)
        self._finish_outputs()
        if self.edits:
            self.graph.nodes = self.order
        return self.edits

    def _place(self, kernel: Kernel) -> None:
        if kernel.kind == "layout":
            made = str(kernel.nodes[0].attrs.get(LAYOUT, PLAIN))
        else:
            reads, made = self._layouts(kernel, layout_wish(kernel, self.lanes))
            for tensor in kernel.inputs:
                self._provide(kernel, tensor, reads)
        self.order.extend(kernel.nodes)
        for node in kernel.nodes:
            self._mark(node, made)
        self.layout.update({tensor.name: made for tensor in kernel.outputs})

    def _layouts(self, kernel: Kernel, wish: Wish) -> tuple[str, str]:
        """Layout of inputs and of outputs."""
        if wish == "any":
            comes = self.blocked if any(self.layout.get(t.name) == self.blocked for t in kernel.inputs) else PLAIN
            return comes, comes
        reads = self.blocked if wish in ("blocked", "head") else PLAIN
        makes = self.blocked if wish in ("blocked", "stem") else PLAIN
        return reads, makes

    def _mark(self, node: gs.Node, layout: str) -> None:
        if node.attrs.get(LAYOUT, PLAIN) == layout:
            return
        self.edits += 1
        if layout:
            node.attrs[LAYOUT] = layout
        else:
            del node.attrs[LAYOUT]

    def _provide(self, kernel: Kernel, tensor: gs.Variable, wanted: str) -> None:
        """Let `kernel` read `tensor` in the layout it wants."""
        if self.layout.get(tensor.name, PLAIN) == wanted:
            return
        changed = self._change(tensor, wanted)
        for node in kernel.nodes:
            node.inputs = [changed if item is tensor else item for item in node.inputs]

    def _change(self, tensor: gs.Variable, wanted: str) -> gs.Variable:
        key = (tensor.name, wanted)
        if key not in self.changed:
            name = fresh_node(self.graph, f"{tensor.name}/{wanted or 'NCHW'}")
            made = gs.Variable(fresh_tensor(self.graph, name), np.dtype(tensor.dtype), list(tensor.shape))
            self._insert(name, tensor, made, wanted)
            self.changed[key] = made
        return self.changed[key]

    def _insert(self, name: str, source: gs.Variable, made: gs.Variable, wanted: str) -> None:
        node = gs.Node("ChangeLayout", name, inputs=[source], outputs=[made], domain=DOMAIN)
        node.attrs = {"from": self.layout.get(source.name, PLAIN), "to": wanted, KERNEL: name, KIND: "layout"}
        if wanted:
            node.attrs[LAYOUT] = wanted
        self.graph.nodes.append(node)
        self.order.append(node)
        self.edits += 1

    def _finish_outputs(self) -> None:
        """Outputs of the network are plain and keep their names."""
        for index, output in enumerate(self.graph.outputs):
            if self.layout.get(output.name, PLAIN) == PLAIN:
                continue
            made = self._change(output, PLAIN)
            made.name, output.name = output.name, made.name
            self.layout[made.name], self.layout[output.name] = PLAIN, self.blocked
            self.graph.outputs[index] = made
