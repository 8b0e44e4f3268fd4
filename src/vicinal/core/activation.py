"""Where a convolutional network sees a class: its last feature map, and class activation maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vicinal.core.batch import Batch
from vicinal.core.classifier import classifier_of
from vicinal.core.probe import Probe, answered_by_listening
from vicinal.core.target import (
    ClassTarget,
    MultiLabelTarget,
    RegressionTarget,
    SoftTarget,
    Target,
)


@dataclass(frozen=True)
class LastFeatureMap(Probe):
    """The last feature map of a network, of which its classifier reads the mean.

    That is what convolutional networks have, and transformers of windows such as Swin.

    layer: the module that puts it out, as in `model.named_modules()`. Where it is empty, the map is
        the last thing before the classifier that has places, and must have as many channels as the
        classifier has inputs.
    classifier: the linear layer; where it is empty, what `model.get_classifier()` says, as in timm,
        or else the last linear layer.
    """

    layer: str = ""
    classifier: str = ""

    def require(self, model: nn.Module) -> None:
        classifier_of(model, self.classifier)
        modules = dict(model.named_modules())
        if self.layer and self.layer not in modules:
            names = ", ".join(name for name, _ in model.named_children())
            raise ValueError(f"the model has no layer {self.layer!r}; its top layers are {names}")
        if not self.layer and not any(isinstance(one, nn.Conv2d) for one in modules.values()):
            raise ValueError("a feature map needs a convolutional network, the model has none")
        token = any(
            isinstance(getattr(one, "cls_token", None), nn.Parameter) for one in model.modules()
        )
        if not self.layer and token:
            raise ValueError(
                "a feature map needs a classifier that reads the mean of places, and "
                f"{type(model).__name__} has a class token: take a convolutional network"
            )

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, C, h, w)."""
        return answered_by_listening(self, model, batch)

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> list[RemovableHandle]:
        """The forward pass raises ValueError if what was heard is no feature map."""
        classifier = classifier_of(model, self.classifier)

        def hear(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # Of the layers in general only those count whose output has more than one place: after
            # the last of them comes the mean of all places. Tokens have places too, in an order
            # that the check below refuses.
            if isinstance(output, Tensor) and (self.layer or output.shape[2:].numel() > 1):
                heard[self] = output

        def check(_model: nn.Module, _inputs: Any, _output: Any) -> None:
            found = heard.get(self)
            if found is not None and found.dim() == 4 and found.shape[1] != classifier.in_features:
                found = heard[self] = found.movedim(3, 1)  # channels come last in Swin, say
            if (
                found is None
                or found.dim() != 4
                or found.shape[1] != classifier.in_features
                or found.shape[2:].numel() < 2
            ):
                came = "nothing" if found is None else f"shape {tuple(found.shape)}"
                raise ValueError(
                    f"the classifier has to read the mean of a feature map (B, "
                    f"{classifier.in_features}, h, w) of more than one place, as in convolutional "
                    f"networks; before it comes {came}"
                )

        if self.layer:
            layers = [model.get_submodule(self.layer)]
        else:
            layers = [one for one in model.modules() if one is not model and one is not classifier]
        return [
            *(layer.register_forward_hook(hear) for layer in layers),
            model.register_forward_hook(check),
        ]


@dataclass(frozen=True)
class ClassActivation(Probe):
    """Where each sample shows its own class: the classifier's weights over the last feature map.

    Maps are at least 0 and sum to 1; one without contrast is even. A sample with several labels has
    the map of their weighted sum, and a number to predict that of the only output.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, section
    2; cut at zero before the weights, enlarged and normalised as in Huang et al., SnapMix, AAAI
    2021, section 3.2, and the authors' utils/mixmethod.py.

    layer, classifier: as of `LastFeatureMap`.
    upsampled: to the size of the inputs, bilinearly; else of the feature map's size.
    """

    layer: str = ""
    classifier: str = ""
    upsampled: bool = True

    @property
    def features(self) -> LastFeatureMap:
        """What is asked first."""
        return LastFeatureMap(layer=self.layer, classifier=self.classifier)

    def require(self, model: nn.Module) -> None:
        self.features.require(model)

    def answer(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, H, W), or (B, h, w) if it is not upsampled, in float32."""
        if batch.target is None:
            raise ValueError(
                "class activation is of the samples' classes: the batch needs a target"
            )
        classifier = classifier_of(model, self.classifier)
        weights = own_weights(batch.target, classifier.weight.detach().float())
        features = self.features.answer(model, batch).float().relu()
        maps = torch.einsum("bchw,bc->bhw", features, weights)
        # The classifier's shift is the same at all places, and goes with the minimum. That is taken
        # away twice, since an even map is even to the last bit only before it is enlarged.
        maps = maps - maps.amin(dim=(1, 2), keepdim=True)
        if self.upsampled:
            size = batch.tensor.shape[-2:]
            maps = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
            maps = maps - maps.amin(dim=(1, 2), keepdim=True)
        total = maps.sum(dim=(1, 2), keepdim=True)
        return torch.where(total > 0, maps / total, 1 / maps[0].numel())

    def listen(self, model: nn.Module, heard: dict[Probe, Tensor]) -> list[RemovableHandle]:
        raise ValueError("class activation is of the batch's classes: ask it with when='before'")


def own_weights(target: Target, weight: Tensor) -> Tensor:
    """The classifier's weights for each sample's own classes.

    Args:
        target: of B samples; numbers to predict have the single output for their class.
        weight: (outputs, C) of the classifier.

    Returns:
        (B, C).

    Raises:
        TypeError: the target has no classes.
        ValueError: it has another number of outputs.
    """
    if isinstance(target, RegressionTarget):
        if len(weight) != 1:
            raise ValueError(f"one number to predict needs one output, the model has {len(weight)}")
        return weight.expand(len(target), -1)
    if not isinstance(target, ClassTarget | SoftTarget | MultiLabelTarget):
        raise TypeError(f"targets of kind {target.kind} have no classes to look for")
    return target.dense(len(weight)).to(weight.dtype) @ weight
