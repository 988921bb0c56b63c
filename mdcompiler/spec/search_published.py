"""The search space of the MobileDet paper (arXiv 2004.14525).

Kinds of blocks, kernels, expansions, Tucker ratios and the rounding are those of the published networks
(tensorflow/models, ssd_mobiledet_feature_extractor.py). The base widths are ours: chosen such that the
multiples by 0.5 to 2 cover the published widths, which are added where they do not.
"""

from __future__ import annotations

from mdcompiler.spec.load import load_spec
from mdcompiler.spec.rounding import Rounding
from mdcompiler.spec.search_op import fused_ops, ibn_ops, tucker_ops
from mdcompiler.spec.search_space import Group, SearchSpace

_MULTIPLIERS = (0.5, 0.625, 0.75, 1.0, 1.25, 1.5, 2.0)
_KERNELS = (3, 5)
_EXPANSIONS = (4, 8)
_RATIOS = (0.25, 0.75)
_TUCKER = tucker_ops(_KERNELS, _RATIOS)
_FIRST = (*ibn_ops(_KERNELS, (1,)), *_TUCKER)
_OPS = (*ibn_ops(_KERNELS, _EXPANSIONS), *fused_ops(_KERNELS, _EXPANSIONS), *_TUCKER)


def mobiledet_space() -> SearchSpace:
    """The space; its template is mobiledet-cpu without a description of its own."""
    template = load_spec("mobiledet-cpu").model_copy(update={"name": "mobiledet", "description": ""})
    return SearchSpace(
        template=template,
        stem=_widths(32),
        groups=(
            Group("C1", 1, _widths(16), _FIRST, most=1),
            Group("C2", 2, _widths(24), _OPS),
            Group("C3", 2, _widths(40), _OPS),
            Group("C4", 2, _widths(80, 72, 128), _OPS),
            Group("C4", 1, _widths(96, 128), _OPS),
            Group("C5", 2, _widths(120, 104, 128, 160), _OPS),
            Group("C5", 1, _widths(240, 144, 384), _OPS, most=1),
        ),
        activations=("relu6", "hard-swish"),
        se_ratios=(0.0, 0.25),
    )


def _widths(base: int, *published: int) -> tuple[int, ...]:
    scaled = {Rounding().inner(base, multiplier) for multiplier in _MULTIPLIERS}
    return tuple(sorted(scaled.union(published)))
