"""What each patch of a vision transformer contributes to its class token, through all blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.core.attention import full_name, grid, with_class_token
from vicinal.core.batch import Batch
from vicinal.core.layer_output import is_compiled
from vicinal.core.probe import Probe, When, answered_by_listening

#: timm's layers of attention among all tokens; others that look alike add to the scores.
_LAYERS = ("timm.layers.attention.Attention", "timm.models.vision_transformer.Attention")


@dataclass(frozen=True)
class AttentionRollout(Probe):
    """The shares of the class token's information that come from each patch.

    In every block a token keeps half of what it is and takes the other half from all tokens by the
    mean attention of the heads. What the class token has of itself at the end is missing from the
    shares: they sum to less than one. No gradients. Of the maps (B, N, N) one is made at a time,
    from the queries and keys that the layers compute anyway.

    Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020, section 4; the
    same as the labels of Xiao et al., Token-Label Alignment for Vision Transformers, ICCV 2023,
    take.

    when: `during` the pass that trains, by default.
    """

    when: When = "during"

    def require(self, model: nn.Module) -> None:
        if any(is_compiled(name, module) for name, module in model.named_modules()):
            raise ValueError("attention is not heard in compiled code: do not compile it")
        self._layers(model)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, h, w) float32, of the grid of patches."""
        return answered_by_listening(self, model, batch)

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> list[RemovableHandle]:
        owner, layers = with_class_token(model), self._layers(model)
        prefix: int = getattr(owner, "num_prefix_tokens", len(owner.cls_token[0]))  # type: ignore
        queries: list[Tensor] = []
        keys: list[Tensor] = []
        handles = []
        for layer in layers:
            for name, into in (("q_norm", queries), ("k_norm", keys)):

                def hear(
                    _module: nn.Module, _inputs: object, output: Tensor, into: list[Tensor] = into
                ) -> None:
                    into.append(output.detach())

                handles.append(getattr(layer, name).register_forward_hook(hear))

        def begin(_model: nn.Module, _inputs: object) -> None:
            queries.clear()
            keys.clear()

        def end(_model: nn.Module, _inputs: object, _output: object) -> None:
            shares = rollout(queries, keys)[:, prefix:]
            heard[self] = shares.reshape(-1, *grid(owner, shares.shape[1]))
            begin(_model, _inputs)

        handles += [owner.register_forward_pre_hook(begin), owner.register_forward_hook(end)]
        return handles

    def _layers(self, model: nn.Module) -> list[nn.Module]:
        """The attention layer of every block, in order. Raises ValueError."""
        owner = with_class_token(model)
        blocks = list(getattr(owner, "blocks", []))
        layers = [module for module in owner.modules() if full_name(module) in _LAYERS]
        if not layers or len(layers) != len(blocks):
            raise ValueError(
                f"attention cannot be followed through the blocks of {type(owner).__name__}: they "
                "are not those of timm's ViT or DeiT"
            )
        return layers


def rollout(queries: list[Tensor], keys: list[Tensor]) -> Tensor:
    """The first token's row of the product of all blocks' (A + I) / 2.

    Args:
        queries: (B, heads, N, d) of each block, first to last.
        keys: of the same shapes.

    Returns:
        (B, N) float32; rows sum to one.
    """
    last = queries[-1]
    row = last.new_zeros(len(last), last.shape[2], dtype=torch.float32)
    row[:, 0] = 1
    # In float32 whatever the precision of training is: these are weights of labels.
    with torch.autocast(last.device.type, enabled=False):
        # From the last block back, a row instead of a matrix is carried along.
        for query, key in zip(reversed(queries), reversed(keys), strict=True):
            scores = query.float() @ key.float().transpose(2, 3) / math.sqrt(query.shape[-1])
            attention = scores.softmax(dim=-1).mean(dim=1)  # (B, N, N)
            row = (row + (row[:, None] @ attention)[:, 0]) / 2
    return row
