"""Layers of a model by name."""

from __future__ import annotations

from torch import nn

#: Names that families of networks give their stages; after the last of them only the head is left.
STAGES = (("layer1", "layer2", "layer3"), ("stages.0", "stages.1", "stages.2"))


def mixable_layers(model: nn.Module) -> tuple[str, ...]:
    """The earlier hidden layers of a model, where its samples may be mixed.

    A model may say so itself, by an attribute `mixable_layers`. Of ResNets and networks built like
    them it is the first three stages, of transformers the first third of the blocks, and of others
    the modules at the top but for the last.

    Returns:
        Names as in `model.named_modules()`, from the input on.
    """
    own = getattr(model, "mixable_layers", None)
    if own is not None:
        return tuple(own)
    names = {name for name, _ in model.named_modules()}
    for stages in STAGES:
        if names.issuperset(stages):
            return stages
    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks):
        return tuple(f"blocks.{block}" for block in range(-(-len(blocks) // 3)))
    # A list of modules is never called itself.
    called = [n for n, m in model.named_children() if not isinstance(m, nn.ModuleList)]
    return tuple(called[:-1])
