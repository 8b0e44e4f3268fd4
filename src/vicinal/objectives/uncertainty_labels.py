"""Labels of a mixture by how its prediction differs from those of the samples in it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget

#: Where a model's outputs for the unmixed samples and for their partners are in a batch's extras.
CLEAN, CLEAN_PARTNER = "clean", "clean partner"


class UncertaintyLabels(Objective):
    """Weigh a mixture's labels by what the model sees of each class, and learn how unsure it is.

    A model has two outputs for every class: its logits, and a score of uncertainty. For each sample
    in a mixture, the prediction for the mixture less that for the sample gives a distance for every
    class, and the weight that the mixer gave falls with the exponential of that in the sample's own
    class. The distance is signed: a class that the mixture shows less of than the sample did is
    near, and its label gains. Where both are as far, the weights stay. No gradient flows through
    them. A second loss, of the distances and the uncertainties together, teaches the latter.

    Source: Qin et al., SUMix: Mixup with Semantic and Uncertain Information, ECCV 2024, and
    `ClsUncertainMixupHead.IN_loss` in OpenMixup. There distances are multiplied by the size of the
    batch, and so depend on it; `sharpness` at that size gives its numbers, to 1e-5. Its criterion
    has been averaged over the batch before each sample's weights are multiplied, so that only their
    means would count; here every sample has its own.

    Args:
        uncertainty: weight of the second loss, >= 0.
        sharpness: of the distances, >= 0; at 0 the mixer's weights stay.

    Raises:
        LookupError: when called, the batch brings no outputs for its unmixed samples.
        TypeError: when called, the target is no mixture of two class labels.
        ValueError: a value is out of range; or, when called, the mixture has not two labels.
    """

    def __init__(self, uncertainty: float = 0.1, *, sharpness: float = 1.0) -> None:
        for name, value in (("uncertainty", uncertainty), ("sharpness", sharpness)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        self.uncertainty = uncertainty
        self.sharpness = sharpness

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        """The loss.

        Args:
            output: (B, 2 C), of the mixtures: logits, and scores of uncertainty.
            batch: mixed; its extras have the same of the unmixed samples, `clean`, and of their
                partners, `clean partner`.
            params: not used.
            heard: not used.
        """
        target = two_labels(batch)
        missing = {CLEAN, CLEAN_PARTNER} - batch.extras.keys()
        if missing:
            raise LookupError(f"the batch brings no outputs in extras: {', '.join(missing)}")
        logits, unsure = halves(output)
        own, unsure_own = halves(batch.extras[CLEAN])
        partner, unsure_partner = halves(batch.extras[CLEAN_PARTNER])
        labels, weights = target.labels, target.weights
        assert weights is not None
        distances = torch.stack(
            [
                distance(logits, own, without=labels[:, 1]),
                distance(logits, partner, without=labels[:, 0]),
            ],
            dim=1,
        )  # (B, 2, C)
        distances = self.sharpness * distances
        loss = target.reweight(reweighted(weights, distances, labels)).loss(logits)
        if not self.uncertainty:
            return loss
        doubt = torch.stack([unsure_own, unsure_partner], dim=1) + unsure[:, None]
        certain = (-(doubt + distances)).exp()  # (B, 2, C), taken for logits
        learnt = F.cross_entropy(certain.flatten(0, 1), labels.flatten(), reduction="none")
        return loss + self.uncertainty * (weights * learnt.view_as(weights)).sum(dim=1).mean()


def halves(output: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and uncertainties of length 1, which are positive.

    Args:
        output: (B, 2 C), the logits first.

    Returns:
        (B, C) and (B, C) float32, or float64 for float64.
    """
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    logits, scores = output.chunk(2, dim=1)
    return logits, F.normalize(scores.softmax(dim=1), dim=1)


def distance(mixed: Tensor, clean: Tensor, *, without: Tensor) -> Tensor:
    """How much more the prediction for a mixture has of each class than that for a sample in it.

    The softmax of the difference, at length one: the distance of the authors.

    Args:
        mixed: (B, C) logits.
        clean: (B, C) logits.
        without: (B,) int64, the class of the other sample, which is left out of the clean one.

    Returns:
        (B, C) in (0, 1); without gradients.
    """
    clean = clean.detach().softmax(dim=1).scatter(1, without[:, None], 0)
    return F.normalize((mixed.detach().softmax(dim=1) - clean).softmax(dim=1), dim=1)


def reweighted(weights: Tensor, distances: Tensor, labels: Tensor) -> Tensor:
    """The weights of two labels, each less the further the mixture is from it.

    Args:
        weights: (B, 2), at least 0.
        distances: (B, 2, C), to the own sample and to the partner.
        labels: (B, 2) int64.

    Returns:
        (B, 2), whose sums are as before.
    """
    far = distances.gather(2, labels[:, :, None])[:, :, 0]
    # The least distance is taken off both, so that not all underflows.
    near = weights * (far.amin(dim=1, keepdim=True) - far).exp()
    tiny = torch.finfo(near.dtype).tiny
    return near / near.sum(dim=1, keepdim=True).clamp(min=tiny) * weights.sum(dim=1, keepdim=True)


def two_labels(batch: Batch) -> ClassTarget:
    """The target of a batch whose samples are mixed of two each.

    Raises:
        TypeError: it is no mixture of class labels.
        ValueError: it has another number of labels.
    """
    target = batch.target
    if not isinstance(target, ClassTarget) or target.weights is None:
        raise TypeError("the own and the partner's class label are weighed: mix the batch")
    if target.labels.shape[1] != 2:
        raise ValueError(f"two labels are weighed, the mixture has {target.labels.shape[1]}")
    return target
