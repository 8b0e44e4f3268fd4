"""AlignMixup: mixing the last features of two images, place by corresponding place."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.method import Learner, Setting
from vicinal.core.modes import in_mode
from vicinal.core.params import Params
from vicinal.latent.at_layer import AtLayer
from vicinal.methods.manifold_mixup import ManifoldMixup
from vicinal.mixers.align_mix import AlignMix
from vicinal.mixers.interpolate import Scope
from vicinal.models.feature_map import as_map

#: What the last feature map is called among a learner's layers.
LAST_MAP = "last map"


class AlignMixup(ManifoldMixup):
    """Mix the last features after aligning their places, or, as often, by manifold mixup.

    A coin for every step says which. The labels are mixed with the weight of the features.

    Source: Venkataramanan et al., AlignMixup: Improving Representations by Interpolating Aligned
    Features, CVPR 2022, section 3, as released in OpenMixup: each step is AlignMix or manifold
    mixup with equal probability. See `AlignMix`, the mixer.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        aligned: how often features are aligned, in [0, 1]; 0 is manifold mixup.
        epsilon: weight of the entropy in the transport, in squared units of the features; > 0.
        iterations: of the transport at most, >= 1.
        scope: `sample` draws a weight and a direction for every sample, `batch` one for all.

    Raises:
        ValueError: a value is out of range or the scope is unknown.
    """

    card = Card(
        name="alignmix",
        kind="method",
        family="transport",
        modality=("image",),
        summary="Mixes the last features of two images, with their places brought into line.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "AlignMixup: Improving Representations by Interpolating Aligned Features",
            authors="Venkataramanan, Kijak, Amsaleg, Avrithis",
            venue="CVPR",
            year=2022,
            arxiv="2103.15375",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=2.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the weight kept",
            ),
            "aligned": Range(
                0.0,
                1.0,
                default=0.5,
                valid="[0, 1]",
                meaning="how often features are aligned; manifold mixup otherwise",
            ),
            "epsilon": Range(
                0.01,
                1.0,
                default=0.1,
                scale="log",
                valid="(0, inf)",
                meaning="entropy of the transport, in squared units of the features; towards 0 "
                "each place goes to one",
            ),
            "iterations": Range(
                1,
                200,
                default=100,
                valid="[1, inf)",
                integer=True,
                meaning="of the transport at most",
            ),
            "scope": ManifoldMixup.card.parameters["scope"],
        },
        needs=("a convolutional network with named hidden layers",),
        cost="the transport between feature maps",
        agrees="with OpenMixup's code, to 1e-6 on plans and 1e-5 on mixtures",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one weight and direction per sample, where OpenMixup has one per batch",
            "the transport of each pair stops by itself, where OpenMixup stops all of a batch by "
            "their mean; pair by pair they agree to 1e-5",
            "manifold mixup at the input and all layers that the model offers for mixing",
        ),
        controls=("manifold_mixup",),
        example=(
            "import vicinal\n"
            "from vicinal.latent.at_layer import AtLayer\n"
            "from vicinal.methods.align_mix import last_map_layer\n"
            "from vicinal.mixers.align_mix import AlignMix\n"
            "\n"
            "align = AlignMix(\n"
            "    {alpha}, epsilon={epsilon}, iterations={iterations}, scope={scope})\n"
            "batch = vicinal.Batch.of(normalise(x), y)\n"
            "layer = last_map_layer(model, batch.x)  # once\n"
            "\n"
            "# in the training loop; in the other half of the steps, manifold mixup\n"
            "draws = vicinal.Draws.from_generator(None, batch.index)\n"
            "output, mixed, _ = AtLayer(align, layer).forward(model, batch, draws)\n"
            "loss = mixed.target.loss(output)"
        ),
    )

    def __init__(
        self,
        alpha: float = 2.0,
        *,
        aligned: float = 0.5,
        epsilon: float = 0.1,
        iterations: int = 100,
        scope: Scope = "sample",
    ) -> None:
        self.card.check(aligned=aligned, epsilon=epsilon, iterations=iterations)
        super().__init__(alpha, scope=scope)
        self.aligned = aligned
        self.align = AlignMix(alpha, epsilon=epsilon, iterations=int(iterations), scope=scope)

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        some = setting.prepare(setting.part("train")[:2].tensor)
        learner.layers[LAST_MAP] = last_map_layer(learner.model, some)
        return learner

    def forward(
        self, learner: Learner, batch: Batch, params: Params | None
    ) -> tuple[Tensor, Batch, Params | None]:
        if not learner.step_draws().bernoulli("aligned", self.aligned):
            return super().forward(learner, batch, params)
        draws = learner.draws(batch).within("align mix")
        return AtLayer(self.align, learner.layers[LAST_MAP]).forward(learner.model, batch, draws)


def last_map_layer(model: nn.Module, x: Tensor) -> str:
    """The name of the layer that puts out the last map of features, after which places are lost.

    Args:
        model: run once, in evaluation mode; left as it was.
        x: (B, C, H, W) some inputs.

    Raises:
        ValueError: there is none, as in networks that are not convolutional.
    """
    runs: Counter[str] = Counter()
    found: dict[str, Tensor] = {}

    def listen(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hear(_module: nn.Module, _inputs: object, output: Any) -> None:
            runs[name] += 1
            found.pop(name, None)
            if isinstance(output, Tensor) and output.shape[2:].numel() > 1:
                found[name] = output  # the last one to do so comes last

        return module.register_forward_hook(hear)

    handles = [listen(name, module) for name, module in model.named_modules() if name]
    try:
        with in_mode([model], training=False), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    once = [name for name in found if runs[name] == 1]
    # Elsewhere tokens have places too, in an order that is none of a map.
    if not once or not is_map(found[once[-1]], x):
        raise ValueError(
            "AlignMix aligns the places of a last feature map (B, C, h, w), as convolutional "
            "networks have; the model has none"
        )
    return once[-1]


def is_map(output: Tensor, x: Tensor) -> bool:
    """Whether a layer's output for images is a map of features, channels first."""
    return output.dim() == 4 and as_map(output, *x.shape[-2:]) is output
