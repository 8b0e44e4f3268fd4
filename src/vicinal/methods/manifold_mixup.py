"""Manifold mixup: mixup at a layer drawn anew for every batch."""

from __future__ import annotations

from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.method import Learner, Setting
from vicinal.core.params import Params
from vicinal.latent.at_layer import AtLayer
from vicinal.methods.supervised import Supervised
from vicinal.mixers.interpolate import Mixup, Scope
from vicinal.models.layers import mixable_layers


class ManifoldMixup(Supervised):
    """Interpolate the samples at the input or at a hidden layer, and their labels with the same
    weight.

    Source: Verma et al., Manifold Mixup: Better Representations by Interpolating Hidden States,
    ICML 2019, section 2. The layer is drawn for the batch among the input and the model's earlier
    stages; the weight is drawn per sample, where the authors' code draws one for the batch.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        scope: `sample` draws a weight for every sample, `batch` one for all of them.

    Raises:
        ValueError: alpha is not positive, or the scope is unknown.
    """

    card = Card(
        name="manifold_mixup",
        kind="method",
        family="interpolation",
        modality=("any",),
        summary="Interpolates samples at a random layer of the model, and their labels alike.",
        systems=("openmixup", "openmixup-mixers"),
        paper=Paper(
            "Manifold Mixup: Better Representations by Interpolating Hidden States",
            authors="Verma, Lamb, Beckham, Najafi, Mitliagkas, Lopez-Paz, Bengio",
            venue="ICML",
            year=2019,
            arxiv="1806.05236",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=2.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the weight kept; the authors take "
                "2 for CIFAR, OpenMixup 0.2 for ImageNet",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one weight"),
        },
        needs=("a model with named hidden layers",),
        agrees="with OpenMixup's code, to 1e-5",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="CIFAR-10, PreActResNet-18, alpha 2",
            metric="test error, %",
            baseline=4.83,
            value=2.95,
            note="over 5 runs",
        ),
        differs=(
            "one weight per sample, where the authors' code has one per batch",
            "the layers are the input and all that the model offers for mixing, where OpenMixup "
            "has the input and the first two stages of a ResNet",
        ),
        controls=("mixup",),
        example=(
            "import random\n"
            "import vicinal\n"
            "from vicinal.latent.at_layer import AtLayer\n"
            "from vicinal.models import mixable_layers\n"
            "\n"
            "# in the training loop; draw the layer anew for every batch\n"
            'layer = random.choice(["", *mixable_layers(model)])\n'
            "batch = vicinal.Batch.of(x, y)\n"
            "draws = vicinal.Draws.from_generator(None, batch.index)\n"
            "mixup = vicinal.Mixup(alpha={alpha}, scope={scope})\n"
            "output, mixed, _ = AtLayer(mixup, layer).forward(model, batch, draws)\n"
            "loss = mixed.target.loss(output)"
        ),
    )

    def __init__(self, alpha: float = 2.0, *, scope: Scope = "sample") -> None:
        self.card.check(alpha=alpha, scope=scope)
        super().__init__()
        self.alpha = alpha
        self.mixup = Mixup(alpha, scope=scope)

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        if len(layers_of(learner.model)) < 2:
            raise ValueError("manifold mixup needs a model with named hidden layers")
        return learner

    def forward(
        self, learner: Learner, batch: Batch, params: Params | None
    ) -> tuple[Tensor, Batch, Params | None]:
        layers = layers_of(learner.model)
        layer = layers[int(learner.step_draws().below("layer", len(layers)))]
        draws = learner.draws(batch).within("manifold mixup")
        return AtLayer(self.mixup, layer).forward(learner.model, batch, draws)


def layers_of(model: nn.Module) -> tuple[str, ...]:
    """Where a model's samples may be mixed: its input, and its earlier hidden layers."""
    return ("", *mixable_layers(model))
