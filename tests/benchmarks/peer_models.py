"""The network in the format of each runtime, converted from the ONNX file by the runtime's own converter.

pnnx's Python package imports torch, its converter is a program that needs none: install it with `--no-deps`.
MNN's converter is called inside a child process without the wrapper `mnnconvert`, which installs packages and
reports to its maker.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import onnx

from tests.benchmarks.peer_runtimes import OURS, RUNTIMES
from tests.benchmarks.subjects import Subject

_SECONDS = 600
_MNN = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"


class UnavailableError(Exception):
    """Why a runtime cannot take part."""


def model_for(runtime: str, subject: Subject, folder: Path, tflite: Path | None = None) -> Path:
    """The file (ours: directory) that `runtime` loads, made in `folder`.

    tflite: folder with ready `<network>.<precision>.tflite` files. Raises UnavailableError with the reason.
    """
    if find_spec(RUNTIMES[runtime].module) is None:
        raise UnavailableError(f"not installed ({RUNTIMES[runtime].install})")
    if runtime == OURS:
        return subject.artifact.directory
    if runtime == "litert":
        return _tflite(subject, tflite)
    if runtime in ("onnxruntime", "openvino"):
        return subject.model
    if subject.precision != "fp32":
        raise UnavailableError("its converter does not read a quantized ONNX graph")
    return _CONVERTERS[runtime](subject.model, folder)


def file_bytes(model: Path) -> int:
    """Size of what is shipped: a model.so, or the model file with its weights."""
    if model.is_dir():
        return (model / "model.so").stat().st_size
    weights = model.with_suffix(".bin")
    return model.stat().st_size + (weights.stat().st_size if weights.exists() else 0)


def _tflite(subject: Subject, folder: Path | None) -> Path:
    name = f"{subject.network}.{subject.precision}.tflite"
    if folder is None or not (folder / name).is_file():
        raise UnavailableError(f"it reads no ONNX; put {name} into a folder and give --tflite FOLDER")
    return folder / name


def _to_ncnn(model: Path, folder: Path) -> Path:
    """ncnn has no bytes: the picture's conversion to floats and planes is ncnn's own `from_pixels`."""
    onnx.save(without_picture(onnx.load(str(model))), str(folder / "planes.onnx"))
    shape = ",".join(map(str, _input_shape(folder / "planes.onnx")))
    _run([str(_pnnx()), "planes.onnx", f"inputshape=[{shape}]f32", "fp16=0"], folder)
    return folder / "planes.ncnn.param"


def _pnnx() -> Path:
    """The converter in the wheel, which need not be importable, else one on PATH."""
    spec = find_spec("pnnx")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).with_name("pnnx")
    found = shutil.which("pnnx")
    if found is None:
        raise UnavailableError(f"its converter pnnx is not installed ({RUNTIMES['ncnn'].install})")
    return Path(found)


def _to_mnn(model: Path, folder: Path) -> Path:
    arguments = ["-f", "ONNX", "--modelFile", str(model), "--MNNModel", "model.mnn", "--bizCode", "benchmark"]
    _run([sys.executable, "-c", _MNN, *arguments], folder)
    return folder / "model.mnn"


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed with {done.returncode}: {done.stderr.strip()[-300:]}")


def without_picture(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` from planes on: uint8 [1, H, W, 3], Cast and Transpose at its start become float32 [1, 3, H, W]."""
    image = model.graph.input[0]
    cast = next(node for node in model.graph.node if image.name in node.input)
    transpose = next(node for node in model.graph.node if cast.output[0] in node.input)
    if (cast.op_type, transpose.op_type) != ("Cast", "Transpose"):
        raise UnavailableError(f"the network starts with {cast.op_type} and {transpose.op_type}")
    for node in (cast, transpose):
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = [image.name if name == transpose.output[0] else name for name in node.input]
    extents = [item.dim_value for item in image.type.tensor_type.shape.dim]
    planes = [extents[0], extents[3], extents[1], extents[2]]
    image.CopyFrom(onnx.helper.make_tensor_value_info(image.name, onnx.TensorProto.FLOAT, planes))
    return model


def _input_shape(path: Path) -> list[int]:
    image = onnx.load(str(path)).graph.input[0]
    return [item.dim_value for item in image.type.tensor_type.shape.dim]


_CONVERTERS: dict[str, Callable[[Path, Path], Path]] = {"ncnn": _to_ncnn, "mnn": _to_mnn}
