"""Learning labels and a teacher's logits, each on the scale of its own spread."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.objectives.distillation import self_distillation

#: Logits that are all alike have no spread; they are divided by this.
LEAST_SPREAD = 1e-6
#: Where the teacher's logits of a batch are found in its extras.
TEACHER = "teacher"


class StandardisedDistillation(Objective):
    """Weigh the loss of the labels against the divergence from a teacher, the mean of the batch.

    Source: Choi et al., Understanding the Role of Mixup in Knowledge Distillation, WACV 2023,
    and the authors' MIXSTD.py: the logits of both are divided by their own standard
    deviation over the classes, and nothing is multiplied by the square of a temperature. With a
    temperature it is the loss of Hinton et al., 2015, whose labels are learnt at temperature 1.

    The teacher's logits (B, C) for the batch, as it went into the model, are in
    `batch.extras["teacher"]`.

    Args:
        label_weight: of the cross-entropy with the labels, >= 0.
        teacher_weight: of the divergence from the teacher, >= 0.
        temperature: > 0, in place of the standard deviations; None takes these.

    Raises:
        LookupError: the batch brings no teacher's logits.
        TypeError: the batch has no target.
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        label_weight: float = 0.1,
        teacher_weight: float = 0.9,
        *,
        temperature: float | None = None,
    ) -> None:
        for name, weight in (("label_weight", label_weight), ("teacher_weight", teacher_weight)):
            if not weight >= 0:
                raise ValueError(f"{name} must be at least 0, got {weight!r}")
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature!r}")
        self.label_weight = label_weight
        self.teacher_weight = teacher_weight
        self.temperature = temperature

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        if batch.target is None:
            raise TypeError("distillation with labels needs a batch with targets")
        if TEACHER not in batch.extras:
            raise LookupError(f"the batch brings no teacher's logits in extras[{TEACHER!r}]")
        student, teacher = output, batch.extras[TEACHER]
        if self.temperature is None:
            student, teacher = standardised(student), standardised(teacher)
        divergence = self_distillation(student, teacher, temperature=self.temperature or 1.0)
        labels = batch.target.loss(student)
        return self.label_weight * labels + self.teacher_weight * divergence.mean()


def standardised(logits: Tensor) -> Tensor:
    """Logits in units of their own standard deviation over the classes, the unbiased one.

    They are not centred, which a softmax does not see. The deviation is part of the graph.

    Args:
        logits: (B, C), C >= 2. At C = 2 only the sign of their difference is left.

    Returns:
        (B, C), float64 for float64 and float32 otherwise.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return logits / logits.std(dim=1, keepdim=True).clamp(min=LEAST_SPREAD)
