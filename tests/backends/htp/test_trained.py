"""A real trained detector on HTP's emulator, with the quantization that it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mdcompiler.artifact import file_entries
from mdcompiler.backend import output_specs
from mdcompiler.backends.htp.emit import emit
from mdcompiler.backends.htp.lower_clamps import LowerClamps
from mdcompiler.backends.htp.runnable import open_runnable
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.quantization.trained import trained_parameters
from mdcompiler.spec import load_spec
from mdcompiler.target import find_target
from mdcompiler.weights import fit_spec, read_tflite
from tests.quantization.networks import FUSED

NAME = "ssdlite_mobiledet_dog_vs_cat.tflite"
DOGS = (1, 4, 5, 7)


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    path = shared_data / "mobiledet_catdog"
    if not (path / NAME).is_file():
        pytest.skip(f"no {NAME} in {path}")
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("qnn")
def test_all_eight_pictures_are_right(folder: Path, tmp_path: Path) -> None:
    """59 of its clamps stand behind a convolution with a scale that does not imply them: QNN refuses or drops them."""
    path = folder / NAME
    spec = fit_spec(load_spec("mobiledet-edgetpu"), path).spec
    found = read_tflite(path, spec)
    module = Module.from_onnx(lower(spec, found.weights), find_target("hexagon-htp"))
    Pipeline(verify=0).run(module, FUSED)
    (detection,) = [node for node in module.graph.nodes if node.domain]
    detection.inputs[2].values = found.anchors
    InsertQdq(trained_parameters(module.graph, found), scheme=find_scheme("edgetpu-qat")).run(module)
    assert LowerClamps().run(module) == 59
    emission = emit(module, silent)
    proof: dict[str, Any] = emission.facts["emulated"]["v73"]
    assert proof["largest"] == 1
    assert proof["share"] < 0.02
    for name, content in emission.files.items():
        (tmp_path / name).write_bytes(content)
    files = [entry.model_dump(mode="json") for entry in file_entries(emission.files)]
    manifest = {"facts": emission.facts, "outputs": output_specs(module), "files": files}
    runnable = open_runnable(tmp_path, manifest)
    for number in range(1, 9):
        with Image.open(folder / f"image{number}.jpg") as opened:
            image = np.asarray(opened.convert("RGB").resize((320, 320)))[None]
        detections = runnable.run({"image": image})
        assert detections["classes"][0, 0] == (number in DOGS)
        assert detections["scores"][0, 0] > 0.8
