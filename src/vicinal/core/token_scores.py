"""How much of each sample's class a network sees at each place of a grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.core.activation import ClassActivation
from vicinal.core.attention import ClassAttention
from vicinal.core.batch import Batch
from vicinal.core.probe import Probe


@dataclass(frozen=True)
class TokenScores(Probe):
    """Scores of places that sum to 1: of the class token's attention, or of class activation.

    Of a transformer with a class token it is the attention of that on the patches, in the last
    block. Of a network whose classifier reads the mean of a feature map, convolutional or Swin, it
    is the activation of the sample's own class. Any other model is refused before training.
    """

    def require(self, model: nn.Module) -> None:
        self._source(model).require(model)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, h, w) float32."""
        scores = self._source(model).answer(model, batch)
        total = scores.sum(dim=(1, 2), keepdim=True)
        return scores.where(total > 0, 1.0) / total.where(total > 0, scores[0].numel())

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> list[RemovableHandle]:
        raise ValueError("token scores weigh labels before mixing: ask them with when='before'")

    def _source(self, model: nn.Module) -> Probe:
        attends = any(
            isinstance(getattr(module, "cls_token", None), nn.Parameter)
            for module in model.modules()
        )
        return ClassAttention(when="before") if attends else ClassActivation(upsampled=False)
