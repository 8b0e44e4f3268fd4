"""Models for small data, models by name, and what can be done at their layers."""

from vicinal.models.build import build_model, model_fingerprint
from vicinal.models.layers import layer_names, mixable_layers
from vicinal.models.mlp import MLP
from vicinal.models.names import model_names
from vicinal.models.small_resnet import SmallResNet
from vicinal.models.small_vit import SmallViT

__all__ = [
    "MLP",
    "SmallResNet",
    "SmallViT",
    "build_model",
    "layer_names",
    "mixable_layers",
    "model_fingerprint",
    "model_names",
]
