"""Box decoding and suppression as TFLite's custom operator TFLite_Detection_PostProcess; always run by the host.

The operator reads uint8 or float32. uint8 tensors go in as they are when the anchors are bytes times a scale, too (as
in files of the Object Detection API); everything else goes through DEQUANTIZE.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdcompiler.backends.tflite.byte_anchors import byte_anchors
from mdcompiler.backends.tflite.file_builder import FileBuilder
from mdcompiler.constants import constant
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.postprocess import options_of
from mdcompiler.postprocess_options import PostprocessOptions
from mdcompiler.quantization.steps import Port
from mdcompiler.weights.tflite_head import POSTPROCESS


def write_postprocess(builder: FileBuilder, kernel: Kernel, reals: Mapping[str, Port]) -> None:
    """Append the operator for `kernel`. reals: float tensor -> its integers.

    Raises UnsupportedError when the anchors are no constant.
    """
    (node,) = kernel.nodes
    anchors = constant(node.inputs[2])
    if anchors is None:
        raise UnsupportedError(
            f"writing {kernel.name} as TFLite: its anchors are computed; they must be constants. Lower a spec."
        )
    names = [str(tensor.name) for tensor in node.inputs[:2]]
    bytes_and_scale = byte_anchors(anchors) if _bytes(names, reals) else None
    if bytes_and_scale is not None:
        data, quantization = bytes_and_scale
        inputs = [builder.stored[reals[name].name].index for name in names]
        inputs.append(builder.add("anchors", data.shape, "uint8", quantization, data))
    else:
        inputs = [_real(builder, name, reals) for name in names]
        inputs.append(builder.add("anchors", anchors.shape, "float32", data=np.asarray(anchors, np.float32)))
    options = postprocess_bytes(options_of(node), int(node.inputs[1].shape[2]) - 1)
    outputs = [
        builder.place_float(str(tensor.name), tensor.shape, tuple(range(len(tensor.shape)))) for tensor in node.outputs
    ]
    builder.operate(POSTPROCESS, inputs, outputs, custom_options=options)


def postprocess_bytes(options: PostprocessOptions, classes: int) -> bytes:
    """The operator's options, a flexbuffers map. classes: without the background."""
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in _entries(options, classes).items():
            write = (
                builder.Bool if isinstance(value, bool) else builder.Int if isinstance(value, int) else builder.Float
            )
            write(name, value)
    return bytes(builder.Finish())


def read_real(builder: FileBuilder, held: Port) -> int:
    """The number of a float tensor with the real numbers of `held`, made by DEQUANTIZE at its first use."""
    name = f"{held.name}/real"
    if name not in builder.stored:
        stored = builder.stored[held.name]
        made = builder.place_float(name, held.shape, stored.order)
        builder.operate("DEQUANTIZE", [stored.index], [made])
    return builder.read(name, held.shape)


def _real(builder: FileBuilder, name: str, reals: Mapping[str, Port]) -> int:
    return read_real(builder, reals[name]) if name in reals else builder.stored[name].index


def _bytes(names: list[str], reals: Mapping[str, Port]) -> bool:
    return all(name in reals and reals[name].dtype == "uint8" for name in names)


def _entries(options: PostprocessOptions, classes: int) -> dict[str, bool | int | float]:
    """What the Object Detection API's exporter writes, in the order of the names."""
    return {
        "_output_quantized": True,
        "_support_output_type_float_in_quantized_op": True,
        "detections_per_class": options.detections_per_class,
        "h_scale": options.scale_h,
        "max_classes_per_detection": 1,
        "max_detections": options.max_detections,
        "nms_iou_threshold": options.iou_threshold,
        "nms_score_threshold": options.score_threshold,
        "num_classes": classes,
        "use_regular_nms": options.regular,
        "w_scale": options.scale_w,
        "x_scale": options.scale_x,
        "y_scale": options.scale_y,
    }
