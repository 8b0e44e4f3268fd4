"""Learning what another head, or several predictions together, have to say."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def self_distillation(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    """How far a prediction is from another of the same model, which is left as it is.

    Source: Lee et al., Self-supervised Label Augmentation via Input Transformations, ICML 2020,
    equation 6; Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2: the
    Kullback-Leibler divergence of both distributions at a temperature, times its square, so that
    gradients keep their size.

    Args:
        student: (B, C) logits.
        teacher: (B, C) logits, which receive no gradient.
        temperature: > 0; at large ones it compares the logits themselves.

    Returns:
        (B,) in nats, at least 0 but for rounding.
    """
    learnt = (student.float() / temperature).log_softmax(dim=1)
    wanted = (teacher.detach().float() / temperature).log_softmax(dim=1)
    divergence = functional.kl_div(learnt, wanted, reduction="none", log_target=True)
    return temperature**2 * divergence.sum(dim=1)
