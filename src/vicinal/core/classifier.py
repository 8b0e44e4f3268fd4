"""The layer that a model's output comes from."""

from __future__ import annotations

from typing import Any

from torch import nn


def classifier_of(model: nn.Module, name: str = "") -> nn.Linear:
    """The linear layer that a model ends in.

    Args:
        model: asked by `get_classifier()` where it has that, as models of timm do.
        name: of the layer, as in `model.named_modules()`; the last linear one if it is empty.

    Raises:
        ValueError: there is none, or the layer named is not linear.
    """
    modules = dict(model.named_modules())
    if name:
        found = modules.get(name)
        if not isinstance(found, nn.Linear):
            came = "not there" if found is None else f"a {type(found).__name__}"
            raise ValueError(f"the classifier {name!r} must be a linear layer, it is {came}")
        return found
    # Asked in this way, wrappers do not pass on the method of what they wrap.
    telling: Any = next((m for m in modules.values() if hasattr(type(m), "get_classifier")), None)
    linear = (module for module in reversed(modules.values()) if isinstance(module, nn.Linear))
    found = next(linear, None) if telling is None else telling.get_classifier()
    if not isinstance(found, nn.Linear):
        raise ValueError("the model does not end in a linear classifier")
    return found
