"""The layers of a model: their names, those at which samples may be mixed, the classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from vicinal.models.rehearsal import ROWS

#: Where the stages or blocks of a network are found, in torchvision, timm and here.
CONTAINERS = ("blocks", "stages", "layers", "features")
#: With more children than this a container holds blocks, else stages.
STAGES = 6


def layer_names(model: nn.Module) -> tuple[str, ...]:
    """The names of all modules in a model, outer ones before inner ones."""
    return tuple(name for name, _ in model.named_modules() if name)


def mixable_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers at which the samples of a batch may be mixed, from first to last.

    A model says so itself in an attribute `mixable_layers`, relative to the module that has it;
    `build_model` gives it to models that have none. For others the structure tells: all but the
    last of up to six stages, the first third of more blocks, else all but the last child. That is
    about as deep as Verma et al., Manifold Mixup, ICML 2019, go, who mix after the first two of
    four stages; deeper, and little of the network is left to learn from it.

    Args:
        model: bare, or wrapped by Fabric, DistributedDataParallel or torch.compile.

    Returns:
        Names as in `model.named_modules()`; empty if the model has one layer.
    """
    declared = declared_layers(model)
    return suggested_layers(model) if declared is None else declared


def declared_layers(model: nn.Module) -> tuple[str, ...] | None:
    """The layers that a model itself names, or None. Names as in `model.named_modules()`."""
    for prefix, module in model.named_modules():
        # Asked in this way, wrappers do not pass on the attribute of what they wrap.
        if "mixable_layers" in vars(module) or hasattr(type(module), "mixable_layers"):
            names: Any = module.mixable_layers
            return _below(prefix, names)
    return None


def suggested_layers(model: nn.Module) -> tuple[str, ...]:
    """The layers that the structure suggests. Names as in `model.named_modules()`."""
    for prefix, module in model.named_modules():
        children = dict(module.named_children())  # wrappers pass attributes on, but not children
        if {"layer1", "layer2", "layer3", "layer4"} <= children.keys():
            return _below(prefix, ("layer1", "layer2", "layer3"))
        for container in CONTAINERS:
            inside = children.get(container)
            if isinstance(inside, nn.ModuleList | nn.Sequential) and len(inside) > 1:
                names = [f"{container}.{name}" for name, _ in inside.named_children()]
                few = len(names) <= STAGES
                return _below(prefix, names[:-1] if few else names[: -(-len(names) // 3)])
    return _children(model)


def is_mixable(outputs: list[Any]) -> bool:
    """Whether a layer that returned these values ran once and gave a row for each sample."""
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
        return False
    return outputs[0].dim() > 1 and len(outputs[0]) == ROWS and outputs[0].is_floating_point()


def _children(model: nn.Module) -> tuple[str, ...]:
    # A list or a dictionary of modules is never called itself.
    names = [
        name
        for name, child in model.named_children()
        if not isinstance(child, nn.ModuleList | nn.ModuleDict)
    ]
    if len(names) == 1:  # a wrapper
        return _below(names[0], _children(model.get_submodule(names[0])))
    return tuple(names[:-1])


def _below(prefix: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" if prefix else name for name in names)
