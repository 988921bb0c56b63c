"""Weights to begin a training with, as tensorflow/models begins SSDLite's."""

from __future__ import annotations

import math

import torch
from torch import nn

PRIOR = 0.01
"""Score of every class at the start, so that the many background anchors do not swamp the loss (arXiv 1708.02002)."""
_PREDICTOR_DEVIATION = 0.03


@torch.no_grad()
def initialize(module: nn.Module, prior: float = PRIOR) -> None:
    """Draw every convolution anew: He's normal distribution, small weights and the prior's logit in the predictors."""
    for name, part in module.named_modules():
        if not isinstance(part, nn.Conv2d):
            continue
        if name.startswith("head/") and name.endswith("/pw.conv"):
            nn.init.trunc_normal_(part.weight, std=_PREDICTOR_DEVIATION)
        else:
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        if part.bias is not None:
            scores = name.endswith("/class/pw.conv")
            nn.init.constant_(part.bias, math.log(prior / (1 - prior)) if scores else 0.0)
