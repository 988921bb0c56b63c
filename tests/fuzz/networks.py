"""Random small networks in any operator set: a few branches side by side, each with an input and an end of its own.

Shapes come from a small set, so that kernels repeat and are compiled once; channels are also odd, prime and one.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.fuzz.operators import STEPS, Branch

OPSETS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24)
_CHANNELS = (1, 3, 5, 8, 16, 17)
_SIZES = ((6, 6), (6, 6), (5, 7), (1, 8))


def random_network(seed: int, number: int, branches: int = 4) -> onnx.ModelProto:
    """Network `number` of `seed`."""
    random = Random(f"{seed}/networks/{number}")  # noqa: S311 - the same number, the same network
    opset = random.choice(OPSETS)
    branch = Branch(random, opset)
    outputs: list[str] = []
    for index in range(branches):
        branch.begin(f"b{index}")
        data = _start(branch, random)
        for _ in range(random.choice((1, 2, 2, 3, 3, 4, 5, 6))):
            data = _step(branch, random, data)
            if random.random() < 0.1:
                outputs.append(data)
        outputs.append(data)
    return branch.model(*dict.fromkeys(outputs))


def _start(branch: Branch, random: Random) -> str:
    channels, (height, width) = random.choice(_CHANNELS), random.choice(_SIZES)
    if random.random() < 0.15:
        data = branch.input(branch.name("image"), [1, height, width, 3], TensorProto.UINT8)
        data = branch.add("Cast", [data], to=TensorProto.FLOAT)
        data = branch.add("Transpose", [data], perm=[0, 3, 1, 2])
        data = branch.add("Mul", [data, branch.constant(np.float32(1 / 127.5))])
        return branch.add("Add", [data, branch.constant(np.float32(-1))])
    return branch.input(branch.name("x"), [1, channels, height, width])


def _step(branch: Branch, random: Random, data: str) -> str:
    """One more operation on `data`; the first of a few tries that fits."""
    for _ in range(12):
        step = random.choice(STEPS)
        made = step(branch, random, data)
        if made is not None:
            return made
    return branch.add("Relu", [data])


def random_inputs(model: onnx.ModelProto, seed: int) -> dict[str, NDArray[Any]]:
    """Bytes over their whole range, floats as they come out of a normalisation."""
    generator = np.random.default_rng(seed)
    inputs = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if dtype == np.uint8:
            inputs[value.name] = generator.integers(0, 256, shape, dtype=np.uint8)
        else:
            inputs[value.name] = generator.normal(0, 1, shape).astype(dtype)
    return inputs
