"""The losses of SSDLite's published training, as in the MobileDet configurations of tensorflow/models."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FOCAL_ALPHA, FOCAL_GAMMA = 0.75, 2.0
PRIOR_BIAS = -4.6
"""Bias of the class predictors at the start, logit(0.01), so that the many background anchors do not swamp it."""


def detection_loss(encodings: Tensor, logits: Tensor, slots: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(box loss, class loss), each a sum over the matched anchors' number.

    encodings, targets [N, A, 4]; logits [N, A, K]; slots int64 [N, A], 0 for background. Class targets of a background
    anchor are all zero, the background's own slot included, so that slot learns to stay silent.
    """
    matched = slots > 0
    count = matched.sum().clamp(min=1)
    boxes = functional.smooth_l1_loss(encodings[matched], targets[matched], reduction="sum") / 4
    wanted = functional.one_hot(slots, logits.shape[2]).to(logits.dtype)
    wanted[..., 0] = 0
    return boxes / count, focal_loss(logits, wanted).sum() / count


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Lin et al. 2017 (arXiv 1708.02002), element by element; `wanted` is 0 or 1."""
    plain = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    right = torch.exp(-plain)
    weight = FOCAL_ALPHA * wanted + (1 - FOCAL_ALPHA) * (1 - wanted)
    return weight * (1 - right) ** FOCAL_GAMMA * plain
