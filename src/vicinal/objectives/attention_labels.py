"""Labels of a mixture by what the model looks at, decided after the forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.attention import ClassAttention
from vicinal.core.batch import Batch
from vicinal.core.objective import Objective
from vicinal.core.params import Params
from vicinal.core.partner_share import PartnerShare
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget
from vicinal.objectives.target_loss import TargetLoss
from vicinal.objectives.trust import Trust


class AttentionLabels(Objective):
    """Weigh the partner's label by the attention that falls on the partner's part of the image.

    Of each sample alone: the share of its attention on what is pasted, averaged with the weight
    that the mixer gave, which is the share of the area. Where the partner is everywhere to the same
    extent, as in mixup, the two are equal. No gradient flows through the attention.

    Source: Chen et al., TransMix: Attend to Mix for Vision Transformers, CVPR 2022, section 3.2,
    and the authors' transmix.py, which has `area_share` at one half, where the paper has 0.

    Args:
        area_share: how much the share of the area counts beside that of the attention, in [0, 1].
            At 1 the target stays as the mixer made it.
        trust: decides that for every sample instead: how much the share of the attention counts,
            the rest being the area's. A gradient flows through it if it lets one.
        probe: puts out (B, h, w) weights of places, at least 0, in the pass that gives the output;
            the attention of the class token by default.
        loss: of the batch with its new target; the target's own by default.

    Raises:
        ValueError: area_share is out of range, or the probe asks before the batch is mixed.
    """

    def __init__(
        self,
        area_share: float = 0.5,
        *,
        trust: Trust | None = None,
        probe: Probe | None = None,
        loss: Objective | None = None,
    ) -> None:
        if not 0 <= area_share <= 1:
            raise ValueError(f"area_share must be in [0, 1], got {area_share}")
        self.area_share = area_share
        self.trust = trust
        self.probe = ClassAttention() if probe is None else probe
        if self.probe.when != "during":
            raise ValueError(f"the probe must listen to the mixed batch, got {self.probe}")
        self.loss = TargetLoss() if loss is None else loss
        self.probes = (self.probe, *self.loss.probes)

    def __call__(
        self, output: Tensor, batch: Batch, params: Params | None, heard: Mapping[Probe, Tensor]
    ) -> Tensor:
        target = self.target(batch, params, heard[self.probe], output=output)
        return self.loss(output, batch.replace(target=target), params, heard)

    def target(
        self,
        batch: Batch,
        params: Params | None,
        attention: Tensor,
        *,
        output: Tensor | None = None,
    ) -> ClassTarget:
        """The batch's target, with its two labels weighed by attention.

        Args:
            batch: mixed.
            params: of the mixer.
            attention: (B, h, w), on the mixed images.
            output: (B, C) logits for them, where there is a trust to be decided by them.

        Raises:
            TypeError: the target is no mixture of two class labels, or the params do not say where
                the partner is.
            ValueError: the mixture has another number of labels.
        """
        target = batch.target
        if not isinstance(target, ClassTarget) or target.weights is None:
            raise TypeError("attention weighs the own and the partner's class label: mix the batch")
        weights = target.weights  # (B, 2)
        if weights.shape[1] != 2:
            raise ValueError(f"attention weighs two labels, the mixture has {weights.shape[1]}")
        if params is None or not isinstance(params, PartnerShare):
            raise TypeError(f"a {type(params).__name__} does not say where the partner is")
        attention = attention.detach().float()
        share = params.partner_share(
            [
                nearest_places(size, cells, device=attention.device)
                for size, cells in zip(batch.tensor.shape[2:], attention.shape[1:], strict=True)
            ]
        )
        total = attention.sum(dim=(1, 2)).clamp(min=torch.finfo(torch.float32).tiny)
        given = (attention * share).sum(dim=(1, 2)) / total
        # The labels keep the weight that they have together: smoothing may have taken some of it.
        attended = torch.stack([1 - given, given], dim=1) * weights.sum(dim=1, keepdim=True)
        if self.trust is None:
            return target.reweight(torch.lerp(attended, weights, self.area_share))
        trusted = self.trust(output, target, attention)[:, None].to(weights.dtype)
        return target.reweight(torch.lerp(weights, attended, trusted))


def nearest_places(size: int, cells: int, *, device: torch.device) -> Tensor:
    """The pixels that are left of an axis when it is sampled down to some cells by nearest.

    Args:
        size: pixels of the axis.
        cells: of the grid along it.
        device: of the result.

    Returns:
        (cells,) int64: the first pixel of each cell.
    """
    return torch.arange(cells, device=device) * size // cells
