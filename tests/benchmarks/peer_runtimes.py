"""How each runtime loads a network and runs it once: in float32 arithmetic, with as many threads as told.

Each may be as fast as it can with that (Winograd, its own layouts). A call takes the picture as bytes and gives
the outputs as arrays, conversions included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[], dict[str, Array]]
Load = Callable[[Path, int, Array, Sequence[str]], Run]
OURS = "mdcompiler"


@dataclass(frozen=True)
class Runtime:
    """module: what is imported; package: name of its distribution; install: command that brings everything."""

    module: str
    package: str
    install: str
    load: Load


def load_mdcompiler(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: directory of an artifact."""
    import mdcompiler

    detector = mdcompiler.load(model, threads=threads)
    return lambda: detector.run({"image": image})


def load_onnxruntime(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: ONNX. All optimizations are on by default."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: dict(zip(outputs, session.run(list(outputs), {"image": image}), strict=True))


def load_openvino(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: ONNX. Without the hint it would compute in bfloat16 where the processor can."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(str(model)), "CPU", options).create_infer_request()

    def run() -> dict[str, Array]:
        results = request.infer({0: image}, share_inputs=True, share_outputs=True)
        return {key.get_any_name(): np.asarray(value) for key, value in results.items()}

    return run


def load_ncnn(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: `.ncnn.param` beside its `.ncnn.bin`; takes the picture as floats [3, height, width]."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    net.load_param(str(model))
    net.load_model(str(model.with_suffix(".bin")))
    height, width = image.shape[1:3]

    def run() -> dict[str, Array]:
        picture = ncnn.Mat.from_pixels(image[0], ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        with net.create_extractor() as extractor:
            extractor.input("in0", picture)
            found = [extractor.extract(f"out{index}")[1] for index in range(len(outputs))]
            return {name: np.array(item)[np.newaxis] for name, item in zip(outputs, found, strict=True)}

    return run


def load_mnn(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: `.mnn`. Precision "high" is float32; "normal" may be less."""
    import MNN

    net = MNN.Interpreter(str(model))
    session = net.createSession({"backend": "CPU", "precision": "high", "numThread": threads})
    target = net.getSessionInput(session, "image")
    shape, dtype, layout = target.getShape(), target.getDataType(), target.getDimensionType()
    sources = {name: net.getSessionOutput(session, name) for name in outputs}

    def read(tensor: Any) -> Array:
        values = np.empty(tensor.getShape(), np.float32)
        host = MNN.Tensor(tensor.getShape(), tensor.getDataType(), values, tensor.getDimensionType())
        tensor.copyToHostTensor(host)
        return np.array(host.getNumpyData())

    def run() -> dict[str, Array]:
        target.copyFrom(MNN.Tensor(shape, dtype, image, layout))
        net.runSession(session)
        return {name: read(tensor) for name, tensor in sources.items()}

    return run


def load_litert(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: `.tflite` whose outputs come in the order of `outputs`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    found = [item["index"] for item in interpreter.get_output_details()]

    def run() -> dict[str, Array]:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in zip(outputs, found, strict=True)}

    return run


RUNTIMES = {
    OURS: Runtime("mdcompiler", "mdcompiler", "pip install mdcompiler", load_mdcompiler),
    "onnxruntime": Runtime("onnxruntime", "onnxruntime", "pip install onnxruntime", load_onnxruntime),
    "openvino": Runtime("openvino", "openvino", "pip install openvino", load_openvino),
    "ncnn": Runtime("ncnn", "ncnn", "pip install ncnn && pip install --no-deps pnnx", load_ncnn),
    "mnn": Runtime("MNN", "mnn", "pip install MNN", load_mnn),
    "litert": Runtime("ai_edge_litert", "ai-edge-litert", "pip install ai-edge-litert", load_litert),
}
PEERS = tuple(name for name in RUNTIMES if name != OURS)
