"""A NUL in a name of an ONNX file ends in one sentence: C would end the name there."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

import mdcompiler
from mdcompiler.errors import ModelError
from tests.onnx_models import chain


@pytest.mark.parametrize("part", ["input", "output", "node"])
def test_a_name_with_nul_is_refused(tmp_path: Path, part: str) -> None:
    odd = "a\0b"
    source, result = (odd if part == side else side for side in ("input", "output"))
    node = helper.make_node("Relu", [source], [result], name=odd if part == "node" else "relu")
    model = chain([node], {source: (1, 4)}, {})
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="holds a NUL character"):
        mdcompiler.compile(path, "null")
