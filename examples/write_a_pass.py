"""Write a pass and run it: a frozen dataclass with a name, a stage and `run`.

The pipeline checks the graph after it and, with `verify=2`, that the outputs are what they were.

    python examples/write_a_pass.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs
from onnx import parser, printer

from mdcompiler.compile_pass import Stage
from mdcompiler.module import Module, producer, remove_nodes, replace_uses
from mdcompiler.pipeline import Pipeline
from mdcompiler.target import find_target

NETWORK = """<ir_version: 10, opset_import: ["" : 17]>
network (float[1, 4] x) => (float[1, 4] y) {
  [first] a = Relu (x)
  [second] b = Relu (a)
  [last] y = Neg (b)
}"""


@dataclass(frozen=True)
class RemoveRepeatedRelu:
    """Before: `b = Relu(Relu(x))`. After: `b = Relu(x)`. What is not negative stays as it is."""

    name: ClassVar[str] = "remove-repeated-relu"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        """The number of Relu nodes that were removed."""
        repeated = [node for node in module.graph.nodes if node.op == "Relu" and _follows_relu(node.inputs[0])]
        for node in repeated:
            replace_uses(module.graph, node.outputs[0], node.inputs[0])
        remove_nodes(module.graph, repeated)
        return len(repeated)


def _follows_relu(tensor: gs.Tensor) -> bool:
    maker = producer(tensor)
    return maker is not None and maker.op == "Relu"


def main() -> None:
    model = onnx.shape_inference.infer_shapes(parser.parse_model(NETWORK))
    module = Module.from_onnx(model, find_target("null"))
    Pipeline(verify=2).run(module, [RemoveRepeatedRelu()])
    print(printer.to_text(module.to_onnx()))
    print(f"passes that changed the graph: {', '.join(module.history)}")


if __name__ == "__main__":
    main()
