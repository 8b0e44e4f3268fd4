"""Consistency between several views of each sample."""

from __future__ import annotations

import torch
from torch import Tensor


def jensen_shannon(outputs: Tensor) -> Tensor:
    """The Jensen-Shannon divergence of the distributions predicted for several views of each
    sample.

    Source: Hendrycks et al., AugMix, ICLR 2020, equation 2; computed from logarithms, so that
    nothing has to be clipped.

    Args:
        outputs: (V, B, C) logits of V views.

    Returns:
        (B,) in nats, between 0 and log V.
    """
    logs = outputs.float().log_softmax(dim=-1)  # (V, B, C)
    mean = logs.logsumexp(dim=0) - torch.tensor(float(len(logs))).log().to(logs.device)  # (B, C)
    return (logs.exp() * (logs - mean)).sum(dim=-1).mean(dim=0)
