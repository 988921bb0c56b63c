"""The counts that were published or follow from the published networks."""

from __future__ import annotations

import math

import pytest

from mdcompiler.names import block_of
from mdcompiler.spec import build_network, count, load_spec, weight_shapes, zoo_names
from mdcompiler.spec.steps import Shape

# 320x320, 91 class slots; params are all variables of a checkpoint. They agree with the figures in the
# headers of the published training configurations: 0.45B/4.21M, 2.82B/7.16M, 1.53B/4.20M, 5.07B/13.11M.
PUBLISHED = {
    "mobiledet-cpu": (444_227_776, 4_205_423),
    "mobiledet-dsp": (2_816_403_904, 7_159_343),
    "mobiledet-edgetpu": (1_533_181_504, 4_196_095),
    "mobiledet-gpu": (5_073_184_704, 13_109_151),
}


def without_batchnorm(shapes: dict[str, Shape]) -> int:
    """Parameters of the convolutions alone, which is how the MobileNets are published."""
    return sum(math.prod(shape) for name, shape in shapes.items() if "/bn/" not in name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_mobiledets(name: str) -> None:
    counts = count(load_spec(name))
    assert (counts.macs, counts.params) == PUBLISHED[name]
    assert counts.anchors == 2034


def test_mobilenet_v3_agrees_with_its_configuration() -> None:
    """3.22M parameters, 1.02B operations (two a multiply-add), says its header."""
    spec = load_spec("ssdlite-mobilenet-v3-large")
    assert 2 * count(spec).macs == pytest.approx(1.02e9, rel=0.01)
    assert round(without_batchnorm(weight_shapes(spec)) / 1e6, 2) == 3.22


def test_mobilenet_v2_agrees_with_its_classifier() -> None:
    """300M multiply-adds and 3.47M parameters at 224x224 with 1001 classes: tensorflow/models, research/slim."""
    spec = load_spec("ssdlite-mobilenet-v2").with_(height=224, width_px=224)
    backbone = build_network(spec).backbone
    shapes = {name: shape for block in backbone for step in block.steps for name, shape in step.weights()}
    assert round((sum(block.macs for block in backbone) + 1280 * 1001) / 1e6, -1) == 300
    assert round((without_batchnorm(shapes) + 1281 * 1001) / 1e6, 2) == 3.47


@pytest.mark.parametrize("name", zoo_names())
def test_blocks_add_up_and_own_their_weights(name: str) -> None:
    spec = load_spec(name)
    counts = count(spec)
    assert sum(block.macs for block in counts.blocks) == counts.macs
    assert sum(block.params for block in counts.blocks) == counts.params
    assert {block_of(key) for key in weight_shapes(spec)} == {block.path for block in counts.blocks}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mobiledet-cpu", {"ibn": 19, "conv": 1}),
        ("mobiledet-dsp", {"ibn": 12, "fused": 8, "tucker": 2, "conv": 1}),
        ("mobiledet-edgetpu", {"ibn": 11, "fused": 10, "tucker": 1, "conv": 1}),
        ("mobiledet-gpu", {"ibn": 1, "fused": 17, "tucker": 4, "conv": 1}),
    ],
)
def test_published_number_of_blocks(name: str, kinds: dict[str, int]) -> None:
    blocks = [block.kind for block in build_network(load_spec(name)).backbone]
    assert {kind: blocks.count(kind) for kind in set(blocks)} == kinds


@pytest.mark.parametrize(
    ("name", "adds"),
    [("mobiledet-cpu", 12), ("mobiledet-dsp", 15), ("mobiledet-edgetpu", 15), ("mobiledet-gpu", 15)],
)
def test_published_number_of_residuals(name: str, adds: int) -> None:
    steps = build_network(load_spec(name)).steps
    assert sum(step.output.name.endswith("/add") for step in steps) == adds


@pytest.mark.parametrize("name", ["mobiledet-cpu", "mobiledet-gpu"])
def test_fifth_block_of_c4_has_no_residual_though_shapes_match(name: str) -> None:
    block = next(item for item in build_network(load_spec(name)).backbone if item.path.startswith("C4/b4"))
    assert block.steps[0].source.shape == block.output.shape
    assert not block.output.name.endswith("/add")


def test_descriptions() -> None:
    texts = {block.path: block.text for block in count(load_spec("mobiledet-edgetpu")).blocks}
    assert texts["C1/b1.tucker"] == "Tucker k3 r0.25/0.75 32->16 s1"
    assert texts["C4/b5.ibn"] == "IBN k5 e8 96->96 s1"
    assert texts["C3/b0.fused"] == "Fused k5 e8 16->40 s2"
    assert texts["extra/l2"] == "extra k3 384->256->512 s2"
    assert texts["head/l0"] == "head 96->3x(4+91)"


def test_weights_come_in_order_with_published_shapes() -> None:
    shapes = weight_shapes(load_spec("mobiledet-cpu"))
    assert list(shapes)[:5] == [
        f"C1/b0.conv/conv/{part}" for part in ("weight", "bn/gamma", "bn/beta", "bn/mean", "bn/variance")
    ]
    assert shapes["C4/b0.ibn/dw/weight"] == (256, 1, 5, 5)
    assert shapes["C4/b0.ibn/se/reduce/weight"] == (64, 256, 1, 1)
    assert shapes["C4/b0.ibn/se/expand/bias"] == (256,)
    assert shapes["head/l1/class/pw/weight"] == (546, 144, 1, 1)
    assert "head/l1/class/pw/bn/gamma" not in shapes


def test_endpoint_inside_a_block_feeds_the_head() -> None:
    levels = build_network(load_spec("ssdlite-mobilenet-v3-large")).levels
    assert levels[0].source.name == "C5/b0.ibn/expand/act"
    assert [level.source.channels for level in levels] == [672, 480, 512, 256, 256, 128]
