"""Where a vision transformer looks: the attention of its class token, heard while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.core.batch import Batch
from vicinal.core.errors import nearest
from vicinal.core.layer_output import is_compiled
from vicinal.core.probe import Probe, When, answered_by_listening

#: timm's attention layers, by the children that put out queries and keys. By name, since timm need
#: not be imported to see that a model is not its own. Others that look alike add biases or
#: rotations between these and the softmax, which would go unheard.
_LAYERS = {
    "timm.layers.attention.Attention": ("q_norm", "k_norm"),
    "timm.models.vision_transformer.Attention": ("q_norm", "k_norm"),  # where it was before
    "timm.models.cait.ClassAttn": ("q", "k"),  # XCiT's too
}


@dataclass(frozen=True)
class ClassAttention(Probe):
    """How the class token's attention is spread over the patches of each image.

    The mean over heads of the softmax over all tokens, of which the patches' part is taken and not
    scaled to sum to one, before attention dropout and without gradients. It is computed from the
    queries and keys that the layer computes anyway, O(B N D), so that fused kernels, which hand out
    no attention, may stay on.

    It is heard in timm's vision transformers with a class token that the head reads: ViT, DeiT
    (distilled as well), CaiT and XCiT.

    Source: Chen et al., TransMix: Attend to Mix for Vision Transformers, CVPR 2022, section 3.2,
    and the authors' vision_transformer.py.

    when: `during` the pass that trains, by default.
    block: the name of a block, such as `blocks.2`; the last one by default.
    """

    when: When = "during"
    block: str = ""

    def require(self, model: nn.Module) -> None:
        if any(is_compiled(name, module) for name, module in model.named_modules()):
            raise ValueError("class attention is not heard in compiled code: do not compile it")
        self._find(model)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, h, w) float32, of the grid of patches."""
        return answered_by_listening(self, model, batch)

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> Iterable[RemovableHandle]:
        owner, layer = self._find(model)
        query, key = (getattr(layer, name) for name in _LAYERS[full_name(layer)])
        heads: int = layer.num_heads  # type: ignore[assignment]
        # PiT's class token holds the distillation token too.
        prefix: int = getattr(owner, "num_prefix_tokens", len(owner.cls_token[0]))  # type: ignore
        queries: list[Tensor] = []

        def hear_query(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            queries[:] = [output.detach()]

        def hear_key(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            # The query has been heard: both kinds of layer ask for it first.
            attention = class_row(queries.pop(), output.detach(), heads=heads)
            patches = attention[:, prefix:]
            heard[self] = patches.reshape(-1, *grid(owner, patches.shape[1]))

        return [query.register_forward_hook(hear_query), key.register_forward_hook(hear_key)]

    def _find(self, model: nn.Module) -> tuple[nn.Module, nn.Module]:
        """The transformer in the model, and its attention layer. Raises ValueError."""
        owner = with_class_token(model)
        layers = {n: m for n, m in model.named_modules() if full_name(m) in _LAYERS}
        if not layers:
            raise ValueError(
                f"the class attention of {type(owner).__name__} is not heard: its layers are not "
                "those of timm's ViT, DeiT, CaiT or XCiT"
            )
        within = [n for n in layers if not self.block or f"{n}.".startswith(f"{self.block}.")]
        if not within:
            raise ValueError(f"no attention in block {self.block!r}: {nearest(self.block, layers)}")
        return owner, layers[within[-1]]


def with_class_token(model: nn.Module) -> nn.Module:
    """The vision transformer in a model, whose head reads the class token among all patches.

    Raises:
        ValueError: there is none.
    """
    owners = [
        module
        for module in model.modules()
        if isinstance(getattr(module, "cls_token", None), nn.Parameter)
    ]
    if not owners:
        raise ValueError(
            f"class attention needs a model with a class token, which {type(model).__name__} "
            "has not: try vit_tiny_patch16_224:patch_size=4"
        )
    owner = owners[0]
    pooling = getattr(owner, "global_pool", "token")
    if pooling != "token":
        raise ValueError(
            f"class attention needs a head that reads the class token, and this one has "
            f"global_pool={pooling!r}: set it to 'token'"
        )
    if getattr(getattr(owner, "patch_drop", None), "prob", 0) > 0:
        raise ValueError("class attention needs all patches: set patch_drop_rate to 0")
    return owner


def class_row(query: Tensor, key: Tensor, *, heads: int) -> Tensor:
    """The attention that a transformer's first token pays to each token, mean over heads.

    Args:
        query: (B, heads, N, d) of all tokens, or (B, heads * d) of the first.
        key: (B, heads, N, d), or (B, N, heads * d).
        heads: of the layer.

    Returns:
        (B, N) float32; a row sums to one.
    """
    first = query[:, :, 0] if query.dim() == 4 else query.view(len(query), heads, -1)
    if key.dim() == 3:
        key = key.view(*key.shape[:2], heads, -1).transpose(1, 2)
    # In float32 whatever the precision of training is: these are weights of labels.
    with torch.autocast(key.device.type, enabled=False):
        scores = (key.float() @ first.float().unsqueeze(-1)).squeeze(-1)  # (B, heads, N)
    return (scores / math.sqrt(key.shape[-1])).softmax(dim=-1).mean(dim=1)


def grid(owner: nn.Module, patches: int) -> tuple[int, int]:
    """Rows and columns of a transformer's patches.

    Raises:
        ValueError: it does not say, and they do not make a square.
    """
    known = getattr(getattr(owner, "patch_embed", None), "grid_size", None)
    if known is not None and math.prod(known) == patches:
        return (int(known[0]), int(known[1]))
    side = math.isqrt(patches)
    if side * side != patches:
        raise ValueError(f"{patches} patches of {type(owner).__name__} do not make a square grid")
    return (side, side)


def full_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
