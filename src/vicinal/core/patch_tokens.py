"""What a vision transformer knows of each patch when it comes to classify."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.core.attention import grid, with_class_token
from vicinal.core.batch import Batch
from vicinal.core.probe import Probe, When, answered_by_listening


@dataclass(frozen=True)
class PatchTokens(Probe):
    """The patches' tokens after the last normalisation, which the class token's head can read.

    Gradients flow through them where the pass that is listened to has any.

    when: `during` the pass that trains, by default.
    """

    when: When = "during"

    def require(self, model: nn.Module) -> None:
        owner = with_class_token(model)
        if not isinstance(getattr(owner, "norm", None), nn.Module):
            raise ValueError(f"{type(owner).__name__} does not normalise its tokens in `norm`")

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, h, w, D), of the grid of patches."""
        return answered_by_listening(self, model, batch)

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> list[RemovableHandle]:
        owner = with_class_token(model)
        prefix: int = getattr(owner, "num_prefix_tokens", len(owner.cls_token[0]))  # type: ignore

        def hear(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            patches = output[:, prefix:]
            heard[self] = patches.reshape(len(patches), *grid(owner, patches.shape[1]), -1)

        return [owner.norm.register_forward_hook(hear)]  # type: ignore[union-attr]
