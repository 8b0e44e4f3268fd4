"""Any augmentation, applied to the output of a layer instead of the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.layer_output import replace_output
from vicinal.core.params import Params


class AtLayer:
    """Runs a model with an augmentation at one of its layers.

    Layers before it see the batch as it was, layers after it what the augmentation made of it.
    Gradients flow through all of it, partners included. Partners from elsewhere run through the
    layers before it too, in one pass with the batch, so that a normalisation there sees both; later
    layers see the batch alone, and none of them may look back at what came before.

    Source: Verma et al., Manifold Mixup, ICML 2019, section 2, for mixup; Yun et al., CutMix, ICCV
    2019, table 8, for CutMix.

    Args:
        augmentation: a mixer or transform that takes what the layer puts out.
        layer: the module's name, as in `model.named_modules()`; empty for the input.
    """

    def __init__(self, augmentation: Augmentation, layer: str) -> None:
        self.augmentation = augmentation
        self.layer = layer

    def forward(self, model: nn.Module, batch: Batch, draws: Draws) -> tuple[Tensor, Batch, Params]:
        """The output, the batch with the target that belongs to it, and the params drawn.

        Args:
            model: takes batch.x.
            batch: as it goes into the model, its pool too where partners come from there.
            draws: of the batch's rows.

        Raises:
            InputError: there is no such layer.
            ValueError: it does not put out one tensor, once, with a row for each sample.
        """
        if not self.layer:
            mixed, params = self.augmentation.augment(batch, draws)
            return model(mixed.x), mixed, params
        partners = self._partners(batch, draws)
        x = batch.x if partners is None else torch.cat([batch.tensor, partners.tensor])
        made: list[tuple[Batch, Params]] = []

        def augment(output: Tensor) -> Tensor:
            if len(output) != len(batch) + (0 if partners is None else len(partners)):
                raise ValueError(f"layer {self.layer!r} does not put out a row a sample")
            pool = None if partners is None else partners.replace(x=output[len(batch) :])
            hidden = batch.replace(x=output[: len(batch)], pool=pool)
            result, params = self.augmentation.augment(hidden, draws)
            made.append((result, params))
            return result.tensor

        with replace_output(model, self.layer, augment):
            output: Tensor = model(x)
        result, params = made[0]
        return output, batch.replace(target=result.target), params

    def _partners(self, batch: Batch, draws: Draws) -> Batch | None:
        """The partners from elsewhere, as they go into the model; None if there are none.

        What is sampled for the input is not what is sampled at the layer, whose maps are of another
        size; but the partners are the same, since equal draws have equal names.
        """
        mixer = self.augmentation
        if not (isinstance(mixer, Mixer) and mixer.pooled):
            return None
        return batch.take(mixer.partners(mixer.sample(batch, draws)))
