"""Where a vision transformer looks when it merges tokens that are alike on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.core.attention import grid, with_class_token
from vicinal.core.attention_rollout import AttentionRollout
from vicinal.core.batch import Batch
from vicinal.core.probe import Probe


@dataclass(frozen=True)
class MergedAttention(Probe):
    """The class token's attention in the last block, after tokens that are alike were merged.

    Merged tokens share one score, so that objects stay whole. In every block the keys of each other
    token look for the most alike among the rest, and the most alike pairs become their mean. As
    many tokens as `share` says are merged, more of them in early blocks.

    Source: Bolya et al., Token Merging, ICLR 2023, section 3, with attention in proportion to the
    sizes of tokens; the merging schedule of Jin et al., MergeMix, in OpenMixup's merge.py.

    share: of the patches that are merged away in all, in [0, 1); 0 leaves plain attention. A block
        merges half of its tokens at most, so that few blocks may merge less.
    """

    share: float = 0.5

    def require(self, model: nn.Module) -> None:
        AttentionRollout().require(model)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, h, w) float32, of the grid of patches."""
        owner: Any = with_class_token(model)
        with torch.no_grad():
            x = owner.norm_pre(owner._pos_embed(owner.patch_embed(batch.x)))
            prefix: int = owner.num_prefix_tokens
            patches = x.shape[1] - prefix
            source = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
            size = x.new_ones(len(x), x.shape[1])
            *before, last = owner.blocks
            counts = schedule(int(self.share * patches), len(before))
            for block, count in zip(before, counts, strict=True):
                y, keys, _ = attended(block.attn, block.norm1(x), size)
                x = x + block.ls1(y)
                target = merge_targets(keys, count, prefix=prefix)
                x, size = merged(x, size, target)
                source = target.gather(1, source)
                x = x + block.ls2(block.mlp(block.norm2(x)))
            scores = attended(last.attn, last.norm1(x), size)[2]
        # Each patch has the score of the token that it was merged into.
        looked: Tensor = scores.gather(1, source)[:, prefix:].float()
        return looked.reshape(-1, *grid(owner, patches))

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> list[RemovableHandle]:
        raise ValueError("tokens are merged in a pass of its own: ask it with when='before'")


def schedule(total: int, blocks: int) -> list[int]:
    """How many tokens each block merges: a linear decrease to a third, first to last."""
    if not blocks:
        return []
    weights = [3 - 2 * block / max(1, blocks - 1) for block in range(blocks)]
    counts = [int(total * weight / sum(weights)) for weight in weights]
    counts[0] += total - sum(counts)
    return counts


def attended(layer: Any, x: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a layer of attention puts out where tokens count by their sizes.

    Args:
        layer: timm's.
        x: (B, N, D), normalised.
        size: (B, N), patches in each token.

    Returns:
        (B, N, D), the keys (B, N, d) as the mean of the heads, and the class token's attention on
        all tokens (B, N).
    """
    rows, tokens = x.shape[:2]
    parts = layer.qkv(x).reshape(rows, tokens, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = layer.q_norm(parts[0]), layer.k_norm(parts[1]), parts[2]
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
    attention = (scores + size.log()[:, None, None]).softmax(dim=-1)
    y = layer.proj((attention @ value).transpose(1, 2).reshape(rows, tokens, -1))
    return y, key.mean(dim=1), attention[:, :, 0].mean(dim=1)


def merge_targets(keys: Tensor, count: int, *, prefix: int) -> Tensor:
    """Where each token goes when the most alike pairs of tokens become one.

    Every second token after the prefix is paired with the most alike of the rest; of these pairs
    the most alike are merged. What is left keeps its order.

    Args:
        keys: (B, N, d).
        count: of pairs to merge; at most half of the tokens after the prefix.
        prefix: tokens at the start that stay.

    Returns:
        (B, N) int64: the new position of each token.
    """
    rows, tokens = keys.shape[:2]
    count = min(count, (tokens - prefix) // 2)
    away = torch.zeros(rows, tokens, dtype=torch.bool, device=keys.device)
    into = torch.arange(tokens, device=keys.device).expand(rows, -1).clone()
    if count > 0:
        unit = F.normalize(keys[:, prefix:].float(), dim=-1)
        alike = unit[:, 1::2] @ unit[:, ::2].transpose(1, 2)
        best, other = alike.max(dim=2)
        first = best.argsort(dim=1, descending=True, stable=True)[:, :count]
        leaving = prefix + 1 + 2 * first
        away.scatter_(1, leaving, True)
        into.scatter_(1, leaving, prefix + 2 * other.gather(1, first))
    position = (~away).cumsum(1) - 1
    return position.gather(1, into)


def merged(x: Tensor, size: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens that go to one place become their mean, by their sizes.

    Args:
        x: (B, N, D).
        size: (B, N).
        target: (B, N) int64, as `merge_targets` gives it.
    """
    count = int(target.max()) + 1
    total = size.new_zeros(len(x), count).scatter_add_(1, target, size)
    place = target[:, :, None].expand_as(x)
    summed = x.new_zeros(len(x), count, x.shape[2]).scatter_add_(1, place, x * size[:, :, None])
    return summed / total[:, :, None], total
