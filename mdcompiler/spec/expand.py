"""One block of a spec as its steps."""

from __future__ import annotations

from dataclasses import dataclass

from mdcompiler.spec.blocks import Block, ConvBlock, FusedBlock, IbnBlock, TuckerBlock
from mdcompiler.spec.fields import Activation
from mdcompiler.spec.model import Spec
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step, Tensor


@dataclass(frozen=True)
class _Context:
    """What a block's steps share."""

    spec: Spec
    path: str
    source: Tensor
    out: int
    activation: Activation
    epsilon: float

    def conv(self, op: str, source: Tensor, channels: int, kernel: int = 1, stride: int = 1) -> Conv:
        return Conv(f"{self.path}/{op}", source, channels, kernel, stride, False, self.epsilon, self.activation)

    def depthwise(self, source: Tensor, kernel: int, stride: int) -> Conv:
        path = f"{self.path}/dw"
        return Conv(path, source, source.channels, kernel, stride, True, self.epsilon, self.activation)

    def project(self, source: Tensor) -> Conv:
        return Conv(f"{self.path}/project", source, self.out, epsilon=self.epsilon)


def expand_block(spec: Spec, block: Block, path: str, source: Tensor) -> tuple[tuple[Step, ...], str]:
    """The steps of `block` at `path` reading `source`, and its description, e.g. `IBN k5 e8 96->96 s1`."""
    out = spec.rounding.width(block.out, spec.width)
    activation = block.activation or spec.defaults.activation
    context = _Context(spec, path, source, out, activation, block.epsilon or spec.defaults.epsilon)
    ends = f"{source.channels}->{out} s{block.stride}"
    if isinstance(block, ConvBlock):
        return (context.conv("conv", source, out, block.kernel, block.stride),), f"Conv k{block.kernel} {ends}"
    if isinstance(block, TuckerBlock):
        steps = _tucker(context, block)
        text = f"Tucker k{block.kernel} r{block.input_ratio:g}/{block.output_ratio:g} {ends}"
        return _with_residual(context, block, steps), text
    steps = _ibn(context, block) if isinstance(block, IbnBlock) else _fused(context, block)
    word = "IBN" if isinstance(block, IbnBlock) else "Fused"
    text = f"{word} k{block.kernel} e{block.expansion:g} {ends}" + _squeeze_text(spec, block)
    return _with_residual(context, block, steps), text


def _ibn(context: _Context, block: IbnBlock) -> tuple[Step, ...]:
    source, steps = context.source, list[Step]()
    if block.expansion > 1:
        hidden = context.spec.rounding.inner(source.channels, block.expansion)
        steps.append(context.conv("expand", source, hidden))
        source = steps[-1].output
    steps.append(context.depthwise(source, block.kernel, block.stride))
    steps.extend(_squeeze_excite(context, block, steps[-1].output))
    return (*steps, context.project(steps[-1].output))


def _fused(context: _Context, block: FusedBlock) -> tuple[Step, ...]:
    hidden = context.spec.rounding.inner(context.source.channels, block.expansion)
    steps: list[Step] = [context.conv("expand", context.source, hidden, block.kernel, block.stride)]
    steps.extend(_squeeze_excite(context, block, steps[-1].output))
    return (*steps, context.project(steps[-1].output))


def _tucker(context: _Context, block: TuckerBlock) -> tuple[Step, ...]:
    rounding = context.spec.rounding
    reduce = context.conv("reduce", context.source, rounding.inner(context.source.channels, block.input_ratio))
    rank = rounding.inner(context.out, block.output_ratio)
    core = context.conv("core", reduce.output, rank, block.kernel, block.stride)
    return (reduce, core, context.project(core.output))


def _squeeze_ratio(spec: Spec, block: IbnBlock | FusedBlock) -> float:
    return spec.defaults.se if block.se is None else block.se


def _squeeze_text(spec: Spec, block: IbnBlock | FusedBlock) -> str:
    ratio = _squeeze_ratio(spec, block)
    return f" se{ratio:g}" if ratio else ""


def _squeeze_excite(context: _Context, block: IbnBlock | FusedBlock, source: Tensor) -> tuple[Step, ...]:
    ratio = _squeeze_ratio(context.spec, block)
    if not ratio:
        return ()
    path = f"{context.path}/se"
    defaults = context.spec.defaults
    pooled = Tensor(f"{path}/pool", source.channels, (1, 1))
    hidden = context.spec.rounding.inner(source.channels, ratio)
    activation = defaults.se_activation or context.activation
    reduce = Conv(f"{path}/reduce", pooled, hidden, activation=activation)
    expand = Conv(f"{path}/expand", reduce.output, source.channels)
    return (SqueezeExcite(path, source, reduce, expand, defaults.se_gate),)


def _with_residual(
    context: _Context, block: IbnBlock | FusedBlock | TuckerBlock, steps: tuple[Step, ...]
) -> tuple[Step, ...]:
    output = steps[-1].output
    if block.residual == "off" or output.shape != context.source.shape:
        return steps
    return (*steps, Add(f"{context.path}/add", output, context.source))
