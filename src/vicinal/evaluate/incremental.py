"""How well a model does that learnt its tasks one after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def final_average_accuracy(accuracy: Tensor) -> float:
    """The mean accuracy of all tasks after the last.

    Args:
        accuracy: (T, T), of task j (a column) after training on task i (a row); what lies above
            the diagonal, tasks before they were learnt, is not read.

    Raises:
        ValueError: the table is not (T, T), or not finite on and below its diagonal.
    """
    return float(_learnt(accuracy)[-1].mean())


def forgetting(accuracy: Tensor) -> float:
    """By how much tasks are worse in the end than they once were, on average; 0 for a single task.

    Source: Chaudhry et al., Riemannian Walk for Incremental Learning, ECCV 2018, section 3.

    Args:
        accuracy: see `final_average_accuracy`.

    Returns:
        In [-1, 1]; negative where tasks got better.
    """
    learnt = _learnt(accuracy)
    if len(learnt) == 1:
        return 0.0
    earlier = learnt[:-1, :-1]
    reached = earlier.masked_fill(~torch.ones_like(earlier).bool().tril(), -torch.inf)
    return float((reached.amax(dim=0) - learnt[-1, :-1]).mean())


def predicted_share(logits: Tensor, classes: Tensor) -> float:
    """The share of predictions that are one of some classes.

    On rows with as many of each class, old classes of a stream should have their number's share: a
    model that is drawn to what it saw last gives them less.

    Args:
        logits: (N, C).
        classes: (K,) int64.
    """
    return float(torch.isin(logits.argmax(dim=1), classes).double().mean())


def _learnt(accuracy: Tensor) -> Tensor:
    """The table in double precision, once it is one."""
    if accuracy.dim() != 2 or accuracy.shape[0] != accuracy.shape[1] or not len(accuracy):
        raise ValueError(f"accuracy must be (T, T), got {tuple(accuracy.shape)}")
    known = torch.ones_like(accuracy).bool().tril()
    if not bool(accuracy[known].isfinite().all()):
        raise ValueError("accuracy must be finite on and below its diagonal")
    return accuracy.double()
