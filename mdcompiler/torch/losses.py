"""SSD's losses: smooth L1 for boxes, focal loss or mined hard negatives for classes; sums over the matched anchors.

Scores are sigmoids, one a slot, slot 0 the background. As in tensorflow/models' configurations of the MobileDets the
wanted scores of a background anchor are all zero, slot 0 included, which so learns to stay silent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

ClassLoss = Callable[[Tensor, Tensor], Tensor]
FOCAL_ALPHA, FOCAL_GAMMA = 0.75, 2.0
NEGATIVES = 3.0
"""Mined background anchors for one that has an object (Liu et al. 2016, arXiv 1512.02325)."""


def detection_loss(
    encodings: Tensor, logits: Tensor, slots: Tensor, targets: Tensor, classes: ClassLoss | None = None
) -> tuple[Tensor, Tensor]:
    """(box loss, class loss), each a sum over the number of matched anchors.

    encodings, targets [N, A, 4]; logits [N, A, K]; slots int64 [N, A], 0 for background, as `match` makes them.
    classes: from logits and slots to a sum; the focal loss where it is None.
    """
    matched = slots > 0
    count = matched.sum().clamp(min=1)
    boxes = functional.smooth_l1_loss(encodings[matched], targets[matched], reduction="sum") / 4
    return boxes / count, (classes or focal_loss)(logits, slots) / count


def focal_loss(logits: Tensor, slots: Tensor) -> Tensor:
    """Lin et al. 2017 (arXiv 1708.02002), summed over everything."""
    wanted = wanted_scores(logits, slots)
    plain = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    weight = FOCAL_ALPHA * wanted + (1 - FOCAL_ALPHA) * (1 - wanted)
    return (weight * (1 - torch.exp(-plain)) ** FOCAL_GAMMA * plain).sum()


def hard_negative_loss(logits: Tensor, slots: Tensor, ratio: float = NEGATIVES) -> Tensor:
    """Cross entropy of matched anchors and, picture by picture, of the `ratio` times as many worst background ones.

    A picture without any object gives its `ratio` worst.
    """
    wanted = wanted_scores(logits, slots)
    loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(2)
    matched = slots > 0
    keep = (matched.sum(1).clamp(min=1) * ratio).ceil().long()
    background = loss.detach().masked_fill(matched, -1.0)
    rank = background.argsort(1, descending=True).argsort(1)
    mined = ~matched & (rank < keep[:, None])
    return (loss * (matched | mined)).sum()


def wanted_scores(logits: Tensor, slots: Tensor) -> Tensor:
    """0 or 1 for every logit."""
    wanted = functional.one_hot(slots, logits.shape[2]).to(logits.dtype)
    wanted[..., 0] = 0
    return wanted
