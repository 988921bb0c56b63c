"""The read stage: a spec of the zoo, a spec file or an ONNX file becomes a `Module`, and what it was is noted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from mdcompiler.artifact import sha256
from mdcompiler.errors import SpecError
from mdcompiler.foreign import shortened
from mdcompiler.manifest import Picture, Source
from mdcompiler.module import Module
from mdcompiler.spec import Spec, load_spec
from mdcompiler.target import Target

ADAPTED_KEY = "mdc.adapted"
"""Metadata of a network whose spec gave way to its weights file: what was changed."""


@dataclass(frozen=True)
class Request:
    """What a user asks to be compiled.

    network: a `Spec`, the name of one in the zoo, or the path of a spec file or of an ONNX file.
    weights: a weights file; None draws them with `seed`. raw: end with box encodings and class scores.
    width: multiplier of the channels. height_px, width_px: size of the picture. None leaves what the spec says.
    """

    network: str | Path | Spec
    weights: str | Path | None = None
    seed: int = 0
    raw: bool = False
    width: float | None = None
    height_px: int | None = None
    width_px: int | None = None

    @property
    def is_onnx(self) -> bool:
        """Whether the network comes as an ONNX file."""
        return not isinstance(self.network, Spec) and str(self.network).lower().endswith(".onnx")


def read_network(request: Request, target: Target) -> Module:
    """The network as ONNX, nothing simplified. Raises SpecError, WeightsError or ModelError."""
    if request.is_onnx:
        _refuse_spec_options(request)
        from mdcompiler.onnx_reader import read_onnx

        return read_onnx(str(request.network), target)
    from mdcompiler.lower import lower
    from mdcompiler.weights import fit_spec, weights_for

    spec = requested_spec(request)
    weights = weights_for(spec, request.weights, request.seed)
    module = Module.from_onnx(lower(spec, weights, raw=request.raw), target)
    changes = fit_spec(_named_spec(request), request.weights).changes
    if changes:
        module.metadata[ADAPTED_KEY] = "; ".join(changes)
    return module


def requested_spec(request: Request) -> Spec:
    """The spec as the weights file knows it better, then with the width and size that were asked for."""
    from mdcompiler.weights import fit_spec

    spec = fit_spec(_named_spec(request), request.weights).spec
    if request.width is None and request.height_px is None and request.width_px is None:
        return spec
    return spec.with_(width=request.width, height=request.height_px, width_px=request.width_px)


def _named_spec(request: Request) -> Spec:
    return request.network if isinstance(request.network, Spec) else load_spec(request.network)


def describe_source(request: Request, module: Module) -> Source:
    """Hashes of what was read: equal networks give equal rows."""
    spec = module.metadata.get("mdc.spec")
    name = json.loads(spec)["name"] if spec and not request.is_onnx else shortened(Path(str(request.network)).name)
    return Source(
        name=name,
        spec=sha256(spec.encode()) if spec else None,
        weights=_weights_hash(module.graph),
        model=sha256(module.to_onnx().SerializeToString(deterministic=True)),
    )


def picture_of(module: Module) -> Picture | None:
    """The one input that takes a picture, uint8 [1, height, width, 3]; None when there is no such input."""
    if len(module.graph.inputs) != 1:
        return None
    tensor = module.graph.inputs[0]
    shape = tuple(tensor.shape)
    if tensor.dtype != "uint8" or len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
        return None
    return Picture(input=tensor.name, height=shape[1], width=shape[2])


def labels_of(module: Module) -> tuple[str, ...]:
    """Class names in order; () when the model names none. Their form was checked when a file was read."""
    return tuple(json.loads(module.metadata.get("mdc.labels", "[]")))


def _weights_hash(graph: gs.Graph) -> str:
    digest = hashlib.sha256()
    constants = {name: tensor for name, tensor in graph.tensors().items() if isinstance(tensor, gs.Constant)}
    for name in sorted(constants):
        values = constants[name].values
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _refuse_spec_options(request: Request) -> None:
    given = {"weights": request.weights, "width": request.width, "size": request.height_px or request.width_px}
    named = [name for name, value in given.items() if value is not None] + ["raw"] * request.raw
    if named:
        raise SpecError(
            f"compiling {request.network}: {', '.join(named)} belong to a spec, an ONNX file has them inside. "
            "Leave them out, or compile the spec."
        )
