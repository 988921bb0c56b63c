"""How each runtime loads a network on an NVIDIA GPU and runs it once, as fast as it can.

A call takes the picture's bytes on the host and gives the outputs as arrays on the host. Where a runtime can record its
launches as a CUDA graph, it does. fp32 is float32 arithmetic: TF32, which keeps 10 bits, is switched off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peer_runtimes import OURS, Array, Run, Runtime, load_mdcompiler

PRECISIONS = ("fp32", "fp16", "int8")


def load_onnxruntime_cuda(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: ONNX, whose name says the precision. Kernels search their algorithms exhaustively, by default."""
    options = {"use_tf32": "0", "enable_cuda_graph": "1", "prefer_nhwc": "1", "cudnn_conv_use_max_workspace": "1"}
    return _onnxruntime(model, "CUDAExecutionProvider", options, image, outputs)


def load_onnxruntime_tensorrt(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: ONNX; fp16 is TensorRT's own choice per layer, int8 what the Q/DQ nodes of the graph say."""
    options = {
        "trt_cuda_graph_enable": "1",
        "trt_fp16_enable": str(int(".fp16" in model.suffixes)),
        "trt_int8_enable": str(int(".int8" in model.suffixes)),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(model.parent),
    }
    return _onnxruntime(model, "TensorrtExecutionProvider", options, image, outputs)


def _onnxruntime(model: Path, provider: str, options: Mapping[str, str], image: Array, outputs: Sequence[str]) -> Run:
    """Inputs and outputs stay in fixed places on the GPU, as a graph of launches wants. No falling back to the
    processor: it would be measured in the GPU's name."""
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), session_options, providers=[(provider, dict(options))])
    if provider not in session.get_providers():
        raise RuntimeError(f"this onnxruntime has no {provider}")
    binding = session.io_binding()
    source = onnxruntime.OrtValue.ortvalue_from_numpy(image, "cuda", 0)
    binding.bind_ortvalue_input("image", source)
    shapes = {item.name: item.shape for item in session.get_outputs()}
    results = [
        onnxruntime.OrtValue.ortvalue_from_shape_and_type(shapes[name], np.float32, "cuda", 0) for name in outputs
    ]
    for name, value in zip(outputs, results, strict=True):
        binding.bind_ortvalue_output(name, value)

    def run() -> dict[str, Array]:
        source.update_inplace(image)
        session.run_with_iobinding(binding)
        return {name: value.numpy() for name, value in zip(outputs, results, strict=True)}

    return run


def load_torch(model: Path, threads: int, image: Array, outputs: Sequence[str]) -> Run:
    """model: ONNX with BatchNormalization folded. Channels-last, cuDNN's fastest algorithms, one CUDA graph."""
    import onnx
    import torch

    from tests.benchmarks.torch_network import torch_function

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    network = torch_function(onnx.load(str(model)), "cuda", ".fp16" in model.suffixes)
    host = torch.from_numpy(image).pin_memory()
    source = host.to("cuda")
    stream: Any = torch.cuda.Stream()
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            network(source)
        graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            results = network(source)
    torch.cuda.synchronize()

    def run() -> dict[str, Array]:
        source.copy_(host, non_blocking=True)
        graph.replay()
        return {name: result.cpu().numpy() for name, result in zip(outputs, results, strict=True)}

    return run


GPU_RUNTIMES = {
    OURS: Runtime("mdcompiler", "mdcompiler", "pip install mdcompiler", load_mdcompiler),
    "onnxruntime-cuda": Runtime(
        "onnxruntime", "onnxruntime-gpu", "pip install onnxruntime-gpu[cuda,cudnn]", load_onnxruntime_cuda
    ),
    "onnxruntime-tensorrt": Runtime(
        "onnxruntime", "onnxruntime-gpu", "pip install onnxruntime-gpu[cuda,cudnn] tensorrt", load_onnxruntime_tensorrt
    ),
    "torch": Runtime("torch", "torch", "pip install torch", load_torch),
}
GPU_PEERS = tuple(name for name in GPU_RUNTIMES if name != OURS)
