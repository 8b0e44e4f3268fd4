"""AugMix with its consistency loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.draws import Draws
from vicinal.core.method import Learner
from vicinal.methods.supervised import Supervised
from vicinal.objectives.consistency import jensen_shannon
from vicinal.policies.augmix import AugMix

VIEWS = 3


class AugMixConsistency(Supervised):
    """Train on clean images, and make the model agree with itself on two AugMix versions of each.

    Source: Hendrycks et al., AugMix, ICLR 2020, section 3 and the authors' cifar.py: cross-entropy
    of the clean view, plus `consistency` times the Jensen-Shannon divergence of the three
    predictions; the views go through the model as one batch.

    Args:
        consistency: weight of the divergence, >= 0.
        severity: strength of the operations, in [0, 10].
        width: chains that are mixed, >= 1.
        depth: operations of a chain, >= 1; -1 draws 1 to 3 for each.
        alpha: of the Dirichlet and the Beta distribution of the mixing weights, > 0.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="augmix",
        kind="method",
        family="policies",
        modality=("image",),
        summary="Mixes chains of image operations, and asks for equal predictions on all views.",
        systems=AugMix.card.systems,
        paper=AugMix.card.paper,
        parameters={
            "consistency": Range(
                0.0, 24.0, default=12.0, valid="[0, inf)", meaning="weight of the divergence"
            ),
            **AugMix.card.parameters,
        },
        needs=("three times the forward and backward pass",),
        targets=("classes", "soft"),
        result=AugMix.card.result,
        differs=AugMix.card.differs,
        controls=("augmix:consistency=0",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.objectives.consistency import jensen_shannon\n"
            "\n"
            "augmix = vicinal.AugMix(severity={severity}, width={width}, depth={depth}, "
            "alpha={alpha})\n"
            "\n"
            "# in the training loop, on uint8 images x; normalise is yours\n"
            "views = torch.cat([normalise(v) for v in (x, augmix(x), augmix(x))])\n"
            "outputs = model(views).view(3, len(x), -1)\n"
            "loss = vicinal.Target.of(y).loss(outputs[0])\n"
            "loss = loss + {consistency} * jensen_shannon(outputs).mean()"
        ),
    )

    def __init__(
        self,
        consistency: float = 12.0,
        *,
        severity: float = 3,
        width: int = 3,
        depth: int = -1,
        alpha: float = 1.0,
    ) -> None:
        self.card.check(consistency=consistency)
        super().__init__()
        self.consistency = consistency
        self.augmix = AugMix(severity=severity, width=width, depth=depth, alpha=alpha)

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch = self.based(learner, batches["train"])
        draws = learner.draws(batch).within("augmix")
        views = torch.cat([self._view(learner, batch, draws, at) for at in range(VIEWS)])
        if batch.target is None:
            raise ValueError("AugMix trains on labelled batches")
        with learner.setting.launcher.autocast():
            outputs = learner.model(views).unflatten(0, (VIEWS, len(batch)))
            loss = batch.target.loss(outputs[0])
            divergence = jensen_shannon(outputs).mean()
        learner.update(loss + self.consistency * divergence)
        return {**self.report(loss, outputs[0], batch), "divergence": divergence.detach()}

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, None]:
        """The first augmented view, for those who want to see what the model sees."""
        batch = self.based(learner, batch)
        draws = learner.draws(batch).within("augmix")
        return batch.replace(x=self._view(learner, batch, draws, 1)), None

    def _view(self, learner: Learner, batch: Batch, draws: Draws, at: int) -> Tensor:
        """The clean view for 0, an augmented one otherwise; as the model sees it."""
        if at:
            batch, _ = self.augmix.augment(batch, draws.within(f"view {at}"))
        prepared: Tensor = learner.setting.prepare(batch.tensor)
        return prepared
