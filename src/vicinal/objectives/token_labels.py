"""Labels of a mixture that are carried through a transformer with its tokens."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.attention_rollout import AttentionRollout
from vicinal.core.objective import Objective
from vicinal.core.probe import Probe
from vicinal.core.target import ClassTarget
from vicinal.objectives.attention_labels import AttentionLabels


class TokenLabelPropagation(AttentionLabels):
    """Weigh both labels by what of either image has reached the class token.

    Every token starts with the label of the image that it shows, the class token with the labels by
    area, and each block mixes labels as its attention mixes tokens. The label of the class token at
    the end is that of the image. No gradient flows through it.

    Source: Xiao et al., Token-Label Alignment for Vision Transformers, ICCV 2023, and the authors'
    vision_transformer.py, with whose labels it agrees to 1e-6. Their code carries all classes;
    here the shares of the class token are followed back, which says the same of two labels.

    Args:
        probe: puts out (B, h, w) shares of patches in the pass that gives the output; what they
            leave to 1 is the class token's own.
        loss: of the batch with its new target; the target's own by default.
    """

    def __init__(self, *, probe: Probe | None = None, loss: Objective | None = None) -> None:
        probe = AttentionRollout() if probe is None else probe
        super().__init__(trust=from_patches, probe=probe, loss=loss)


def from_patches(output: Tensor | None, target: ClassTarget, attention: Tensor) -> Tensor:
    """How much of the class token comes from patches, and not from itself. Returns (B,)."""
    return attention.sum(dim=(1, 2)).clamp(0, 1)
