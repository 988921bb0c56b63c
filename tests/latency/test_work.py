"""Work and rooflines of operations, by hand; the classifiers against their papers' counts."""

from __future__ import annotations

import pytest

from mdcompiler.latency.chip import find_chip
from mdcompiler.latency.classifiers import classifier_steps
from mdcompiler.latency.roofline import Machine
from mdcompiler.latency.work import Work, works_of
from mdcompiler.spec import build_network, load_spec, zoo_names
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Tensor

IMAGE = Tensor("x", 16, (10, 20))


def test_a_clamp_is_part_of_its_convolution_and_a_swish_is_not() -> None:
    clamped, swished = (Conv("c", IMAGE, 32, 3, activation=kind) for kind in ("relu6", "hard-swish"))
    (work,) = works_of(clamped)
    assert work == Work("regular", 200, 144, 32, 200 * 48, 32 * 145)
    assert list(works_of(swished)) == [work, Work("elementwise", 0, 0, 0, 2 * 6400, 0)]


def test_kinds() -> None:
    depthwise = Conv("d", IMAGE, 16, 5, 2, depthwise=True)
    pointwise = Conv("p", IMAGE, 8)
    kinds = [work.kind for step in (depthwise, pointwise, Add("a", IMAGE, IMAGE)) for work in works_of(step)]
    assert kinds == ["depthwise", "pointwise", "elementwise"]


def test_squeeze_excite_is_five_operations() -> None:
    pooled = Tensor("p", 16, (1, 1))
    reduce = Conv("r", pooled, 8, activation="relu")
    works = list(works_of(SqueezeExcite("s", IMAGE, reduce, Conv("e", reduce.output, 16), "sigmoid")))
    assert [work.kind for work in works] == ["elementwise", "pointwise", "pointwise", "elementwise", "elementwise"]
    assert sum(work.macs for work in works) == 2 * 16 * 8


@pytest.mark.parametrize("name", zoo_names())
def test_macs_are_those_of_the_spec(name: str) -> None:
    for block in build_network(load_spec(name)).blocks:
        assert sum(work.macs for step in block.steps for work in works_of(step)) == block.macs


def test_roofline_takes_the_longer_side() -> None:
    nano = Machine(find_chip("jetson-nano"), "fp16", 1)
    busy = Work("pointwise", 10_000, 512, 512, 10_000, 0)
    moving = Work("pointwise", 10_000, 8, 8, 160_000, 0)
    assert nano.roof_us(busy) == pytest.approx(10_000 * 512 * 512 / 236e3)
    assert nano.roof_us(moving) == pytest.approx(320_000 / 25.6e3)


def test_an_array_pads_channels_and_crawls_over_depthwise_convolutions() -> None:
    array = Machine(find_chip("coral-edgetpu"), "int8", 1)
    assert array.roof_us(Work("pointwise", 100, 8, 8, 0, 0)) == array.roof_us(Work("pointwise", 100, 64, 64, 0, 0))
    depthwise, full = Work("depthwise", 400, 9, 64, 0, 0), Work("regular", 400, 576, 64, 0, 0)
    assert array.roof_us(depthwise) == pytest.approx(array.roof_us(full))


def test_fewer_cores_take_longer() -> None:
    chip, work = find_chip("raspberry-pi-4"), Work("regular", 400, 576, 64, 0, 0)
    assert Machine(chip, "int8", 1).roof_us(work) == pytest.approx(4 * Machine(chip, "int8", 4).roof_us(work))


def test_only_weights_that_do_not_fit_are_streamed() -> None:
    array = Machine(find_chip("coral-edgetpu"), "int8", 1)
    assert array.stream_us(8 << 20) == 0
    assert array.stream_us((8 << 20) + 500_000) == pytest.approx(1000)
    assert Machine(find_chip("jetson-nano"), "fp16", 1).stream_us(1 << 30) == 0


@pytest.mark.parametrize(
    ("name", "macs", "weights"),
    [  # 10^6, of the papers; ours have biases in place of BatchNorm
        ("mobilenet-v1", 569, 4.2),
        ("mobilenet-v2", 300, 3.5),
        ("resnet-50", 3860, 25.5),
        ("resnet-152", 11300, 60.2),
        ("vgg-16", 15470, 138.4),
        ("vgg-19", 19630, 143.7),
        ("inception-v1", 1500, 6.6),
    ],
)
def test_classifiers(name: str, macs: float, weights: float) -> None:
    steps = classifier_steps(name, 224)
    assert sum(step.macs for step in steps) / 1e6 == pytest.approx(macs, rel=0.02)
    assert sum(work.weights for step in steps for work in works_of(step)) / 1e6 == pytest.approx(weights, rel=0.02)
