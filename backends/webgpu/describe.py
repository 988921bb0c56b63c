"""From a compiled and planned program to `model.json`, and to what is written beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.clib.c_source import pack_constants
from mdcompiler.backends.clib.program import Call, Program
from mdcompiler.backends.gpu.build import Shader
from mdcompiler.backends.gpu.clocks import source_clocks
from mdcompiler.backends.gpu.device_program import DeviceProgram
from mdcompiler.backends.gpu.traits import GpuTraits
from mdcompiler.backends.webgpu.description import (
    Anchors,
    Binding,
    Description,
    LaunchEntry,
    Limits,
    Port,
    Postprocess,
)
from mdcompiler.errors import InternalError, UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module
from mdcompiler.postprocess import options_of
from mdcompiler.read_network import labels_of

_MOST_BUFFER_BYTES = 256 * 1024 * 1024
_MOST_ALONG_AN_AXIS = 65535
_VECTOR_BYTES = 16


class Content:
    """What is written, once all is compiled and planned."""

    def __init__(
        self, module: Module, program: Program, plan: DeviceProgram, shaders: Mapping[str, Shader], traits: GpuTraits
    ) -> None:
        self.module, self.program, self.plan, self.shaders, self.traits = module, program, plan, shaders, traits
        self.calls = [_launched(step) for step in plan.steps]
        self.weights, self.offsets = pack_constants(self._device_constants(), traits.alignment_bytes)
        self.weights += bytes(-len(self.weights) % _VECTOR_BYTES)
        for name, size in (("weights", len(self.weights)), ("activations", plan.plan.arena_bytes)):
            if size > _MOST_BUFFER_BYTES:
                raise UnsupportedError(
                    f"compiling for {module.target.name}: {name} of {size} bytes exceed a buffer of WebGPU "
                    f"({_MOST_BUFFER_BYTES} bytes, maxBufferSize). Take a smaller picture or fewer channels."
                )

    def _device_constants(self) -> dict[str, Any]:
        read = {name for call in (*self.calls, *self.plan.host) for name in call.reads}
        return {name: values for name, values in self.program.constants.items() if name in read}

    def describe(self) -> Description:
        inputs = [self._port(spec) for spec in input_specs(self.module)]
        return Description(
            features=("shader-f16",) if self.traits.element == "float16" else (),
            language_features=("packed_4x8_integer_dot_product",) if self._multiplies_bytes() else (),
            limits=self._limits(),
            arena_bytes=self.plan.plan.arena_bytes,
            weights_bytes=len(self.weights),
            inputs=tuple(inputs),
            outputs=tuple(self._port(spec) for spec in self._device_outputs()),
            launches=tuple(self._launch(call) for call in self.calls),
            postprocess=self._postprocess(),
            labels=tuple(labels_of(self.module)),
        )

    def _multiplies_bytes(self) -> bool:
        return any("dot4I8Packed" in shader.code for shader in self.used_shaders())

    def used_shaders(self) -> list[Shader]:
        """Each once, in order of execution."""
        return [self.shaders[symbol] for symbol in dict.fromkeys(_symbol(call) for call in self.calls)]

    def access(self) -> dict[str, list[str]]:
        """The access mode of each binding of each kernel: constants are read, the arena is `read_write` all over.

        WebGPU lets one dispatch bind a buffer to be read or to be written, not parts of it to either.
        """
        modes: dict[str, list[str]] = {}
        for call in self.calls:
            names = (*call.reads, *call.writes)
            found = modes.setdefault(_symbol(call), ["read"] * len(names))
            for number, name in enumerate(names):
                if name not in self.offsets:
                    found[number] = "read_write"
        return modes

    def facts(self, description: Description) -> dict[str, Any]:
        """Memory and size, as the manifest states them."""
        launches = [shader.launch for shader in self.used_shaders()]
        return {
            "arena_bytes": description.arena_bytes,
            "arena_lower_bound_bytes": self.plan.plan.lower_bound_bytes,
            "constants_bytes": description.weights_bytes,
            "kernel_functions": len(launches),
            "launches": len(description.launches),
            "workgroup_bytes": max((launch.shared_bytes for launch in launches), default=0),
            "workgroup_threads": max((launch.threads for launch in launches), default=0),
        }

    def _launch(self, call: Call) -> LaunchEntry:
        assert call.function is not None
        shader = self.shaders[call.function.symbol]
        bindings = tuple(self._binding(name) for name in (*call.reads, *call.writes))
        grid = folded(shader.launch.grid)
        clocks = source_clocks(call.function, self.traits)
        return LaunchEntry(
            kernel=call.kernel, entry=shader.symbol, workgroups=grid, bindings=bindings, clocks=round(clocks)
        )

    def _binding(self, name: str) -> Binding:
        if name in self.offsets:
            size = self.program.constants[name].nbytes
            return Binding(buffer="weights", offset=self.offsets[name], size=_whole_vectors(size))
        offset, size = self._place(name)
        return Binding(buffer="arena", offset=offset, size=_whole_vectors(size))

    def _place(self, name: str) -> tuple[int, int]:
        """Offset and bytes of a buffer in the arena."""
        root, inside = self.plan.aliases.place(name)
        offset = self.plan.plan.offsets[root] + inside
        if offset % self.traits.alignment_bytes:
            raise InternalError(f"buffer {name} starts at {offset}, no multiple of {self.traits.alignment_bytes}.")
        return offset, self.plan.sizes.get(name, self.plan.sizes[root])

    def _port(self, spec: Mapping[str, Any]) -> Port:
        offset, _ = self._place(spec["name"])
        return Port(name=spec["name"], dtype=spec["dtype"], shape=tuple(spec["shape"]), offset=offset)

    def _device_outputs(self) -> list[dict[str, Any]]:
        """What is read back: outputs of the network, and what post-processing reads."""
        found = {spec["name"]: spec for spec in output_specs(self.module) if spec["name"] in self.plan.downloads}
        for kernel in self._hosted():
            for tensor in kernel.inputs:
                shape = [int(extent) for extent in tensor.shape]
                found[tensor.name] = {"name": tensor.name, "shape": shape, "dtype": str(np.dtype(tensor.dtype))}
        return list(found.values())

    def _hosted(self) -> list[Kernel]:
        return [kernel for kernel in kernels(self.module.graph) if kernel.kind == "postprocess"]

    def _postprocess(self) -> Postprocess | None:
        hosted = self._hosted()
        if not hosted:
            return None
        node = hosted[0].nodes[0]
        encodings, scores, anchors = node.inputs
        options = options_of(node)
        boxes, classes, values, count = (tensor.name for tensor in node.outputs)
        fields: dict[str, Any] = {"regular": options.regular, **options.attributes()}
        return Postprocess(
            encodings=encodings.name,
            scores=scores.name,
            anchors=Anchors(offset=self.offsets[anchors.name], count=int(anchors.shape[0])),
            outputs=(boxes, classes, values, count),
            **fields,
        )

    def _limits(self) -> Limits:
        launches = [shader.launch for shader in self.used_shaders()]
        bindings = [self._binding(name).size for call in self.calls for name in (*call.reads, *call.writes)]
        return Limits(
            maxComputeInvocationsPerWorkgroup=max((launch.threads for launch in launches), default=1),
            maxComputeWorkgroupSizeX=max((launch.block[0] for launch in launches), default=1),
            maxComputeWorkgroupStorageSize=max((launch.shared_bytes for launch in launches), default=0),
            maxStorageBuffersPerShaderStage=max((len(call.reads) + len(call.writes) for call in self.calls), default=1),
            maxStorageBufferBindingSize=max(bindings, default=1),
            maxBufferSize=max(len(self.weights), self.plan.plan.arena_bytes, 1),
        )


def _launched(step: Any) -> Call:
    if not isinstance(step, Call):
        raise InternalError(f"{step.kernel} copies inside the arena, which WebGPU does not do; it needs a kernel.")
    return step


def _symbol(call: Call) -> str:
    assert call.function is not None, "what the device runs are kernels"
    return call.function.symbol


def folded(grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """`grid` with an x too large for one axis spread over z: kernels leave out what is beyond it."""
    x, y, z = grid
    layers = -(-x // _MOST_ALONG_AN_AXIS)
    if layers > 1 and z != 1:
        raise InternalError(f"a launch of {grid} workgroups cannot be folded over z.")
    return -(-x // layers), y, z * layers


def _whole_vectors(size: int) -> int:
    return max(-(-size // _VECTOR_BYTES), 1) * _VECTOR_BYTES
