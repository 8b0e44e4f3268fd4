"""Binary cross-entropy of the probabilities that a softmax gives."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget, SoftTarget

#: As near as a probability comes to one in float32, where the loss of one would be infinite.
NEAR_ONE = 1 - 1e-7


class SoftmaxBinaryLoss(Objective):
    """Half of the binary cross-entropies of all classes, their probabilities from one softmax.

    Where all are sure it is cross-entropy, and its steps are as long: a label's own class and those
    that compete with it add as much each.

    Source: the authors' code of Manifold Mixup, Puzzle Mix and Co-Mixup for CIFAR and Tiny
    ImageNet, which takes the mean over K classes where this has half the sum, K / 2 of that.
    """

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        """The loss. Raises TypeError where targets are not of classes."""
        target = batch.target
        if not isinstance(target, ClassTarget | SoftTarget):
            kind = "no target" if target is None else f"a {target.kind} target"
            raise TypeError(f"binary cross-entropy of a softmax needs classes, got {kind}")
        given = target.dense(output.shape[1])
        log = output.float().log_softmax(dim=1)
        others = log.exp().clamp(max=NEAR_ONE).neg().log1p()
        return -(given * log + (1 - given) * others).sum(dim=1).mean() / 2
