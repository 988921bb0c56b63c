"""From a spec to its network: the one place where shapes and channel counts are worked out."""

from __future__ import annotations

from collections.abc import Iterator

from mdcompiler.spec.anchors import anchors_per_cell
from mdcompiler.spec.expand import expand_block
from mdcompiler.spec.faults import Fault, fail
from mdcompiler.spec.model import Spec
from mdcompiler.spec.network import Level, Network, PlacedBlock, Predictor
from mdcompiler.spec.steps import Add, Conv, Shape, Tensor

IMAGE = "input/offset"


def build_network(spec: Spec) -> Network:
    """The network that `spec` describes. Raises SpecError when its parts do not fit together."""
    network, faults = plan_network(spec)
    if network is None:
        fail(spec.name, faults)
    return network


def plan_network(spec: Spec) -> tuple[Network | None, list[Fault]]:
    """The network, or None and what is wrong with the spec."""
    faults: list[Fault] = []
    image = Tensor(IMAGE, 3, (spec.input.height, spec.input.width))
    backbone = tuple(_backbone(spec, image, faults))
    sources = _head_sources(spec, backbone, faults)
    if faults:
        return None, faults
    extra = tuple(_extra(spec, sources[-1]))
    sources.extend(block.output for block in extra)
    levels = tuple(_level(spec, index, source) for index, source in enumerate(sources))
    return Network(backbone, extra, levels), []


def weight_shapes(spec: Spec) -> dict[str, Shape]:
    """Name -> shape of every weight tensor of the network, in order; all float32.

    Convolutions OIHW; BatchNorm gamma, beta, mean and variance and biases [channels].
    """
    return {name: shape for step in build_network(spec).steps for name, shape in step.weights()}


def _backbone(spec: Spec, image: Tensor, faults: list[Fault]) -> Iterator[PlacedBlock]:
    source = image
    for stage, blocks in spec.blocks.items():
        for index, block in enumerate(blocks):
            path = f"{stage}/b{index}.{block.kind}"
            steps, text = expand_block(spec, block, path, source)
            placed = PlacedBlock(path, block.kind, text, steps)
            if block.kind != "conv" and block.residual == "on" and not isinstance(steps[-1], Add):
                faults.append(_no_residual(stage, index, source, placed.output))
            yield placed
            source = placed.output


def _no_residual(stage: str, index: int, source: Tensor, output: Tensor) -> Fault:
    shapes = f"{_spell(source)} to {_spell(output)}"
    sentence = f"auto or off, as the block goes from {shapes}; on needs equal shapes"
    return Fault(("blocks", stage, index, "residual"), "on", sentence)


def _spell(tensor: Tensor) -> str:
    return f"{tensor.channels}x{tensor.size[0]}x{tensor.size[1]}"


def _head_sources(spec: Spec, backbone: tuple[PlacedBlock, ...], faults: list[Fault]) -> list[Tensor]:
    tensors = {block.path.split("/")[0]: block.output for block in backbone}
    for name, endpoint in spec.endpoints.items():
        taps = _taps(backbone, endpoint.block)
        if not taps:
            sentence = "a block of this spec, such as " + backbone[-1].path.split(".")[0]
            faults.append(Fault(("endpoints", name, "block"), endpoint.block, sentence))
        elif endpoint.tap not in taps:
            faults.append(Fault(("endpoints", name, "tap"), endpoint.tap, "one of " + ", ".join(taps)))
        else:
            tensors[name] = taps[endpoint.tap]
    for index, level in enumerate(spec.head.levels):
        if level not in tensors and level not in spec.endpoints:
            sentence = "one of the endpoints " + ", ".join(tensors)
            faults.append(Fault(("head", "levels", index), level, sentence))
    return [tensors[level] for level in spec.head.levels if level in tensors]


def _taps(backbone: tuple[PlacedBlock, ...], name: str) -> dict[str, Tensor]:
    """Tensors of the block called `name` that an endpoint may be, by tap."""
    for block in backbone:
        if block.path.split(".")[0] == name:
            inner = {step.path.rsplit("/", 1)[1]: step.output for step in block.steps if isinstance(step, Conv)}
            inner.pop("conv", None)
            return {"output": block.output, **inner}
    return {}


def _extra(spec: Spec, source: Tensor) -> Iterator[PlacedBlock]:
    head = spec.head
    for index, wanted in enumerate(head.extra, start=len(head.levels)):
        path = f"extra/l{index}"
        channels = max(int(wanted * spec.width), head.minimum)
        middle = max(int(wanted / 2 * spec.width), head.minimum)
        reduce = Conv(f"{path}/reduce", source, middle, epsilon=head.epsilon, activation=head.activation)
        depthwise = _depthwise(spec, f"{path}/dw", reduce.output, stride=2)
        expand = Conv(f"{path}/expand", depthwise.output, channels, epsilon=head.epsilon, activation=head.activation)
        text = f"extra k{head.kernel} {source.channels}->{middle}->{channels} s2"
        yield PlacedBlock(path, "extra", text, (reduce, depthwise, expand))
        source = expand.output


def _level(spec: Spec, index: int, source: Tensor) -> Level:
    count = anchors_per_cell(spec, index)
    return Level(
        source,
        _predictor(spec, f"head/l{index}/box", source, count, 4),
        _predictor(spec, f"head/l{index}/class", source, count, spec.head.class_slots),
    )


def _predictor(spec: Spec, path: str, source: Tensor, anchors: int, slots: int) -> Predictor:
    depthwise = _depthwise(spec, f"{path}/dw", source, stride=1)
    pointwise = Conv(f"{path}/pw", depthwise.output, anchors * slots)
    return Predictor(path, anchors, slots, (depthwise, pointwise))


def _depthwise(spec: Spec, path: str, source: Tensor, stride: int) -> Conv:
    head = spec.head
    return Conv(path, source, source.channels, head.kernel, stride, True, head.epsilon, head.activation)
