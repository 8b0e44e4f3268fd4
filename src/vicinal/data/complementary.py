"""Complementary labels in the place of the labels that there are."""

from __future__ import annotations

import torch
from torch import Tensor

from vicinal.core.complementary_target import uniform_transition
from vicinal.core.draws import Draws


def complementary_labels(
    labels: Tensor, *, num_classes: int, draws: Draws, transition: Tensor | None = None
) -> Tensor:
    """Draw for every sample a class that it is not of.

    Source: Yu et al., Learning with Biased Complementary Labels, ECCV 2018, section 3.2; uniform
    ones are those of Ishida et al., Learning from Complementary Labels, NeurIPS 2017.

    Args:
        labels: (B,) int64, the true classes.
        num_classes: C, at least 2.
        draws: of the rows. Draws of one seed and epoch give a row the same label every time.
        transition: (C, C), the chance of each class (a column) to be drawn for samples of a class
            (a row); rows sum to 1. What is on the diagonal makes wrong complementary labels. By
            default every wrong class is as likely.

    Returns:
        (B,) int64.

    Raises:
        ValueError: there are fewer than two classes, a label is none of them, or the transition is
            of another number of classes.
    """
    if transition is None:
        transition = uniform_transition(num_classes)
    if transition.shape != (num_classes, num_classes):
        raise ValueError(
            f"the transition must be ({num_classes}, {num_classes}) for {num_classes} classes, "
            f"got {tuple(transition.shape)}"
        )
    # Elsewhere the host would have to wait for the answer.
    looked_at = labels if labels.device.type == "cpu" else labels[:0]
    if len(looked_at) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels must be in [0, {num_classes}), got {int(labels.min())} to {int(labels.max())}"
        )
    edges = transition.to(labels.device, torch.float64).cumsum(dim=1)[labels]  # (B, C)
    at = draws.uniform("complementary label", shape=(1,)) * edges[:, -1:]
    # To the right of equal edges: a class of chance 0 is never drawn.
    return torch.searchsorted(edges, at, right=True)[:, 0]


def noise_rate(excluded: Tensor, classes: Tensor, partner: Tensor) -> Tensor:
    """The share of pairs in which a class that one of them excludes is the other's own.

    Source: Mai and Lin, Intra-Cluster Mixup, 2025: the complementary-label noise of a mixer.

    Args:
        excluded: (N,) int64, a complementary label of each sample.
        classes: (N,) int64, the true class.
        partner: (N,) int64, the position of whom it is mixed with.

    Returns:
        A scalar, float32.
    """
    wrong = (excluded == classes[partner]) | (excluded[partner] == classes)
    return wrong.float().mean()
