"""Any augmentation, applied to the output of a layer instead of the input."""

from __future__ import annotations

from torch import Tensor, nn

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.layer_output import replace_output
from vicinal.core.params import Params


class AtLayer:
    """Runs a model with an augmentation at one of its layers.

    Layers before it see the batch as it was, layers after it what the augmentation made of it.
    Gradients flow through all of it, partners included.

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
            batch: as it goes into the model.
            draws: of the batch's rows.

        Raises:
            InputError: there is no such layer.
            ValueError: it does not put out one tensor, once, with a row for each sample.
        """
        if not self.layer:
            mixed, params = self.augmentation.augment(batch, draws)
            return model(mixed.x), mixed, params
        made: list[tuple[Batch, Params]] = []

        def augment(output: Tensor) -> Tensor:
            if len(output) != len(batch):
                raise ValueError(f"layer {self.layer!r} does not put out a row a sample")
            result, params = self.augmentation.augment(batch.replace(x=output), draws)
            made.append((result, params))
            return result.tensor

        with replace_output(model, self.layer, augment):
            output: Tensor = model(batch.x)
        result, params = made[0]
        return output, batch.replace(target=result.target), params
