"""Classifiers that vendors publish latencies of, as steps: points to calibrate by, nothing that is compiled.

MobileNetV1 arXiv 1704.04861, V2 arXiv 1801.04381, ResNet arXiv 1512.03385, VGG arXiv 1409.1556,
GoogLeNet (Inception v1) arXiv 1409.4842 with TF-Slim's 3x3 in place of its 5x5. Pooling moves shapes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mdcompiler.spec.steps import Add, Conv, Step, Tensor

_CLASSES = 1000
_INCEPTION = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
        None,
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass
class _Chain:
    """Steps one after the other; `tensor` is what the next one reads."""

    tensor: Tensor
    steps: list[Step] = field(default_factory=list)

    def conv(self, channels: int, kernel: int = 1, stride: int = 1, source: Tensor | None = None) -> Tensor:
        step = Conv(f"s{len(self.steps)}", source or self.tensor, channels, kernel, stride, activation="relu6")
        return self._append(step)

    def depthwise(self, stride: int) -> Tensor:
        source = self.tensor
        return self._append(Conv(f"s{len(self.steps)}", source, source.channels, 3, stride, True, activation="relu6"))

    def add(self, shortcut: Tensor) -> Tensor:
        return self._append(Add(f"s{len(self.steps)}", self.tensor, shortcut))

    def pool(self, size: int | None = None) -> None:
        """Halve the tensor, or make it `size` pixels wide."""
        half = -(-self.tensor.size[0] // 2) if size is None else size
        self.tensor = Tensor(self.tensor.name, self.tensor.channels, (half, half))

    def flatten(self) -> None:
        self.tensor = Tensor(self.tensor.name, self.tensor.elements, (1, 1))

    def _append(self, step: Step) -> Tensor:
        self.steps.append(step)
        self.tensor = step.output
        return self.tensor


def _mobilenet_v1(chain: _Chain) -> None:
    chain.conv(32, 3, 2)
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for index, width in enumerate(widths):
        chain.depthwise(2 if index in (1, 3, 5, 11) else 1)
        chain.conv(width)
    chain.pool(1)
    chain.conv(_CLASSES)


def _mobilenet_v2(chain: _Chain) -> None:
    chain.conv(32, 3, 2)
    for expansion, width, repeats, stride in _V2:
        for index in range(repeats):
            source = chain.tensor
            if expansion > 1:
                chain.conv(source.channels * expansion)
            chain.depthwise(1 if index else stride)
            chain.conv(width)
            if index:
                chain.add(source)
    chain.conv(1280)
    chain.pool(1)
    chain.conv(_CLASSES)


def _vgg(repeats: tuple[int, ...]) -> Callable[[_Chain], None]:
    def build(chain: _Chain) -> None:
        for width, count in zip((64, 128, 256, 512, 512), repeats, strict=True):
            for _ in range(count):
                chain.conv(width, 3)
            chain.pool()
        chain.flatten()
        for width in (4096, 4096, _CLASSES):
            chain.conv(width)

    return build


def _resnet(repeats: tuple[int, ...]) -> Callable[[_Chain], None]:
    def build(chain: _Chain) -> None:
        chain.conv(64, 7, 2)
        chain.pool()
        for stage, count in enumerate(repeats):
            for index in range(count):
                _bottleneck(chain, 64 << stage, 2 if stage and not index else 1, first=not index)
        chain.pool(1)
        chain.conv(_CLASSES)

    return build


def _bottleneck(chain: _Chain, width: int, stride: int, first: bool) -> None:
    source = chain.tensor
    shortcut = chain.conv(width * 4, 1, stride) if first else source
    chain.conv(width, 1, stride, source)
    chain.conv(width, 3)
    chain.conv(width * 4)
    chain.add(shortcut)


def _inception_v1(chain: _Chain) -> None:
    chain.conv(64, 7, 2)
    chain.pool()
    chain.conv(64)
    chain.conv(192, 3)
    chain.pool()
    for stage in _INCEPTION:
        for module in stage:
            if module is None:
                chain.pool()
            else:
                _inception_module(chain, *module)
    chain.pool(1)
    chain.conv(_CLASSES)


def _inception_module(chain: _Chain, one: int, in3: int, out3: int, in5: int, out5: int, pooled: int) -> None:
    source = chain.tensor
    for width in (one, pooled):
        chain.conv(width, source=source)
    for narrow, wide in ((in3, out3), (in5, out5)):
        chain.conv(narrow, source=source)
        chain.conv(wide, 3)
    chain.tensor = Tensor(chain.tensor.name, one + out3 + out5 + pooled, source.size)


_BUILDERS: dict[str, Callable[[_Chain], None]] = {
    "mobilenet-v1": _mobilenet_v1,
    "mobilenet-v2": _mobilenet_v2,
    "inception-v1": _inception_v1,
    "resnet-50": _resnet((3, 4, 6, 3)),
    "resnet-152": _resnet((3, 8, 36, 3)),
    "vgg-16": _vgg((2, 2, 3, 3, 3)),
    "vgg-19": _vgg((2, 2, 4, 4, 4)),
}


def classifier_names() -> tuple[str, ...]:
    """The classifiers that can be built."""
    return tuple(_BUILDERS)


def classifier_steps(name: str, size: int) -> tuple[Step, ...]:
    """The steps of the classifier `name` for pictures of `size` × `size` pixels and 1000 classes."""
    chain = _Chain(Tensor("image", 3, (size, size)))
    _BUILDERS[name](chain)
    return tuple(chain.steps)
