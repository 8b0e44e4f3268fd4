"""One prediction of several versions of a sample."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor


def aggregate(outputs: Tensor, *, of: Literal["logits", "probabilities"] = "logits") -> Tensor:
    """The mean of what a model says of all versions of each sample.

    Args:
        outputs: (B, M, C) logits of M versions.
        of: `logits`, a geometric mean of the distributions, or `probabilities`, their arithmetic
            mean.

    Returns:
        (B, C) logits.

    Raises:
        ValueError: neither of the two is asked for.
    """
    if of == "logits":
        return outputs.mean(dim=1)
    if of == "probabilities":
        logs = outputs.float().log_softmax(dim=2)
        return logs.logsumexp(dim=1) - math.log(outputs.shape[1])
    raise ValueError(f"of must be logits or probabilities, got {of!r}")
