"""Anchors against values worked out by hand from the published generator."""

from __future__ import annotations

import numpy as np

from mdcompiler.spec import build_network, load_spec
from mdcompiler.spec.anchors import cell_anchors, make_anchors
from mdcompiler.spec.model import Anchors


def test_published_values() -> None:
    spec = load_spec("mobiledet-cpu")
    anchors = make_anchors(spec.head.anchors, build_network(spec).sizes)
    assert anchors.shape == (2034, 4)
    assert anchors.dtype == np.float32
    expected = {
        0: (0.025, 0.025, 0.1, 0.1),
        1: (0.025, 0.025, 0.141421, 0.282843),
        3: (0.025, 0.075, 0.1, 0.1),
        60: (0.075, 0.025, 0.1, 0.1),
        1200: (0.05, 0.05, 0.35, 0.35),
        1205: (0.05, 0.05, 0.418330, 0.418330),
        2033: (0.5, 0.5, 0.974679, 0.974679),
    }
    for row, values in expected.items():
        np.testing.assert_allclose(anchors[row], values, atol=1e-6)


def test_levels_have_the_published_grids() -> None:
    network = build_network(load_spec("mobiledet-cpu"))
    assert network.sizes == ((20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))
    assert [level.box.boxes for level in network.levels] == [1200, 600, 150, 54, 24, 6]


def test_odd_and_unequal_sizes_round_up() -> None:
    spec = load_spec("mobiledet-cpu").with_(height=257, width_px=300)
    network = build_network(spec)
    assert network.sizes == ((17, 19), (9, 10), (5, 5), (3, 3), (2, 2), (1, 1))
    anchors = make_anchors(spec.head.anchors, network.sizes)
    assert len(anchors) == network.anchor_count
    np.testing.assert_allclose(anchors[0, :2], (0.5 / 17, 0.5 / 19), rtol=1e-6)


def test_switches() -> None:
    plain = Anchors(aspect_ratios=(1.0, 2.0), interpolated=False, reduce_lowest=False)
    assert cell_anchors(plain, 0, 2) == [(0.2, 1.0), (0.2, 2.0)]
    np.testing.assert_allclose(cell_anchors(plain, 1, 2), [(0.95, 1.0), (0.95, 2.0)])
    single = Anchors(reduce_lowest=False, aspect_ratios=(1.0,))
    np.testing.assert_allclose(cell_anchors(single, 0, 1), [(0.2, 1.0), (0.2**0.5, 1.0)])
