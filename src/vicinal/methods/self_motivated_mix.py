"""SMMix's training: what is pasted, and what is left, are each to be recognised by their tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.attention import ClassAttention
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.classifier import classifier_of
from vicinal.core.method import Learner, Phase
from vicinal.core.patch_tokens import PatchTokens
from vicinal.core.probe import Probe, listening
from vicinal.core.target import ClassTarget
from vicinal.methods.supervised import Supervised
from vicinal.methods.transmix import TransMix
from vicinal.mixers.interpolate import Mixup, MixupParams, Scope
from vicinal.mixers.sm_mix import SMMix, SMMixParams
from vicinal.objectives.attention_labels import nearest_places
from vicinal.objectives.smoothing import SmoothedLoss


class SelfMotivatedMix(Supervised):
    """Train a vision transformer on images mixed by what it looks at itself.

    Besides the mixture, the mean token of each of its two regions is classified as its own image,
    and the prediction is held to the mixture of those for the two clean images. The pass over these
    gives the attention that places the windows. Other batches are mixup.

    Source: Chen et al., SMMix, ICCV 2023, and the authors' smmix.py and engine.py, with whose
    losses it agrees to 1e-5; theirs has a second head for the regions, of which they say that
    sharing one does as well.

    Args:
        share: of the batches that are mixed by attention, in [0, 1].
        min_side: shortest side of a window, in that of the image; in (0, 1].
        max_side: longest side, in (0, 1], at least `min_side`.
        mixup_alpha: shapes of the Beta distribution of mixup's weight, > 0.
        smoothing: share of every target that is spread evenly over all classes, in [0, 1).
        scope: `batch` draws one side or weight for a batch, `sample` one for every sample.

    Raises:
        ValueError: a value is out of range, or the scope is unknown.
    """

    card = Card(
        name="self_motivated_mix",
        kind="method",
        family="attention",
        modality=("image",),
        summary="SMMix with its losses: both regions are to be recognised by their own tokens.",
        systems=("openmixup-mixers",),
        paper=SMMix.card.paper,
        parameters={
            "share": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="of batches mixed by attention"
            ),
            "min_side": SMMix.card.parameters["min_side"],
            "max_side": SMMix.card.parameters["max_side"],
            "mixup_alpha": TransMix.card.parameters["mixup_alpha"],
            "smoothing": TransMix.card.parameters["smoothing"],
            "scope": TransMix.card.parameters["scope"],
        },
        needs=(*TransMix.card.needs,),
        cost="one more forward pass for batches mixed by attention",
        targets=("classes",),
        agrees="with the authors' code on the three losses",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one head for the mixture and its regions, where the authors' code has two",
            *SMMix.card.differs[1:],
        ),
        controls=("smmix", "transmix:area_share=1"),
        example=(
            "import timm\n"
            "import vicinal\n"
            "from vicinal.core.attention import ClassAttention\n"
            "from vicinal.core.probe import ask\n"
            "\n"
            "mix = vicinal.SMMix({min_side}, max_side={max_side}, probe=ClassAttention('before'))\n"
            "model = timm.create_model(\n"
            '    "deit_tiny_patch16_224", img_size=x.shape[-2:], patch_size=4, num_classes=10\n'
            ")\n"
            "\n"
            "# in the training loop; the paper adds losses for the tokens of both regions\n"
            'batch = mix(ask(mix.probes, {"model": model}, vicinal.Batch.of(x, y)))\n'
            "loss = batch.target.smooth({smoothing}).loss(model(batch.x))"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        share: float = 0.5,
        *,
        min_side: float = 0.25,
        max_side: float = 0.75,
        mixup_alpha: float = 0.8,
        smoothing: float = 0.1,
        scope: Scope = "batch",
    ) -> None:
        self.card.check(
            share=share,
            min_side=min_side,
            max_side=max_side,
            mixup_alpha=mixup_alpha,
            smoothing=smoothing,
            scope=scope,
        )
        super().__init__(objective=SmoothedLoss(smoothing))
        self.share = share
        self.smoothing = smoothing
        self.attention = ClassAttention()
        self.tokens = PatchTokens()
        before = ClassAttention(when="before")
        self.paste = SMMix(min_side, max_side=max_side, scope=scope, probe=before)
        self.mixup = Mixup(mixup_alpha, scope=scope)

    @property
    def probes(self) -> tuple[Probe, ...]:
        return (self.attention, self.tokens)

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        super().enter(learner, phase, steps)
        classifier_of(learner.model)

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, SMMixParams | MixupParams]:
        batch, _ = self.ready(learner, batch)
        draws = learner.draws(batch).within("prepared")
        if not bool(learner.step_draws().bernoulli("by attention", self.share)):
            interpolation = self.mixup.sample(batch, draws)
            return self.mixup.apply(batch, interpolation), interpolation
        hearing = listening([self.attention], learner.networks)
        with torch.no_grad(), learner.evaluating(), hearing as heard:
            clean = learner.model(batch.x)
        looked = {self.paste.probe: heard[self.attention]}
        batch = batch.replace(evidence=looked, extras={**batch.extras, "clean output": clean})
        params = self.paste.sample(batch, draws)
        return self.paste.apply(batch, params), params

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, params = self.augmented(learner, batches["train"])
        with learner.setting.launcher.autocast():
            with listening([self.tokens], learner.networks) as heard:
                output = learner.model(batch.x)
            loss = self.objective(output, batch, params, heard)
            if isinstance(params, SMMixParams):
                own, pasted = region_tokens(heard[self.tokens], batch, params)
                head = classifier_of(learner.model)
                loss = loss + recognition(head(own), head(pasted), batch, self.smoothing)
                loss = loss + consistency(output, batch, params)
        learner.update(loss)
        return self.report(loss, output, batch)


def region_tokens(tokens: Tensor, batch: Batch, params: SMMixParams) -> tuple[Tensor, Tensor]:
    """The mean token of what is left of each image, and of what is pasted. Returns (B, D) both.

    Args:
        tokens: (B, h, w, D), of the mixed batch.
        batch: mixed.
        params: of its windows.
    """
    share = params.partner_share(
        [
            nearest_places(size, cells, device=tokens.device)
            for size, cells in zip(batch.tensor.shape[2:], tokens.shape[1:3], strict=True)
        ]
    )  # (B, h, w)
    own, pasted = (
        torch.einsum("bhwd,bhw->bd", tokens.float(), part)
        / part.sum(dim=(1, 2)).clamp(min=1)[:, None]
        for part in (1 - share, share)
    )
    return own.to(tokens.dtype), pasted.to(tokens.dtype)


def recognition(own: Tensor, pasted: Tensor, batch: Batch, smoothing: float) -> Tensor:
    """The mean loss of each region's prediction against its own image's label.

    Args:
        own: (B, C) logits of what is left of the own images.
        pasted: (B, C) logits of what is pasted.
        batch: mixed, of two class labels.
        smoothing: of the labels, in [0, 1).

    Raises:
        TypeError: the target is no mixture of two class labels.
    """
    target = batch.target
    if not isinstance(target, ClassTarget) or target.labels.shape[1] != 2:
        raise TypeError("regions are recognised by one class label each")
    losses = [
        ClassTarget(target.labels[:, place, None]).smooth(smoothing).loss(output)
        for place, output in enumerate((own, pasted))
    ]
    return (losses[0] + losses[1]) / 2


def consistency(output: Tensor, batch: Batch, params: SMMixParams) -> Tensor:
    """How far the prediction is from that of the mixed logits of both clean images.

    Args:
        output: (B, C) logits of the mixed batch.
        batch: mixed, with `clean output` among its extras.
        params: whose partners are in the batch.

    Returns:
        The mean Kullback-Leibler divergence.
    """
    clean = batch.extras["clean output"].float()
    _, at = batch.replace(pool=None).partners(params.partner)
    assert isinstance(batch.target, ClassTarget)
    assert batch.target.weights is not None
    own, given = batch.target.weights[:, :, None].unbind(1)
    wanted = (own * clean + given * clean[at]).softmax(dim=1)
    return F.kl_div(output.float().log_softmax(dim=1), wanted, reduction="batchmean")
