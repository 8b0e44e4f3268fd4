"""Learning from complementary labels: each says one class that its sample is not of."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper
from vicinal.core.complementary_target import ComplementaryTarget
from vicinal.core.draws import Draws
from vicinal.core.method import Learner, Setting
from vicinal.core.params import Params
from vicinal.core.target import ClassTarget
from vicinal.data.complementary import complementary_labels
from vicinal.methods.supervised import Supervised
from vicinal.objectives.complementary import ComplementaryLoss, Loss, check_transition

#: What all that learn from such labels share.
LOSS = Options(
    ("scl_nl", "scl_exp", "scl_lin", "forward", "lw"),
    "scl_nl",
    meaning="what probability of an excluded class costs",
)
NEEDS = (
    "classes, which it hides from itself: of each training row it sees one wrong class, drawn once",
)


class ComplementaryLabels(Supervised):
    """Hide every label, and learn from one class that the sample is not of.

    Each training row has one such class for good, drawn from the seed and the row. Labels that are
    complementary already are taken as they are. Held-out rows are judged by their true classes,
    so that what it costs to know so little shows beside the other arms.

    Source: Ishida et al., Learning from Complementary Labels, NeurIPS 2017, for the labels; Chou et
    al., Unbiased Risk Estimators Can Mislead, ICML 2020, for the losses but `forward` and `lw`.

    Args:
        loss: what probability of an excluded class costs, see `ComplementaryLoss`.
        transition: (C, C), the chance of each class (a column) to be the complementary label of
            samples of a class (a row), for the draw and the loss `forward`; every wrong class is
            as likely by default.
        prepared: applied to the inputs as the model sees them, and to these labels.

    Raises:
        ValueError: the loss is unknown, or the transition is none; before training: the task has
            no classes, or another number of them than the transition.
    """

    card = Card(
        name="complementary",
        kind="method",
        family="weak labels",
        modality=("any",),
        summary="Hides the labels: learns from one class a row that it is not of.",
        systems=("icm",),
        paper=Paper(
            "Unbiased Risk Estimators Can Mislead: A Case Study of Learning with Complementary "
            "Labels",
            authors="Chou, Niu, Lin, Sugiyama",
            venue="ICML",
            year=2020,
        ),
        parameters={"loss": LOSS},
        needs=NEEDS,
        targets=("classes",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.core.complementary_target import ComplementaryTarget\n"
            "from vicinal.objectives.complementary import ComplementaryLoss\n"
            "\n"
            "classes = int(y.max()) + 1\n"
            "wrong = (y + torch.randint(1, classes, y.shape)) % classes  # yours, known for good\n"
            "objective = ComplementaryLoss({loss})\n"
            "\n"
            "# in the training loop\n"
            "batch = vicinal.Batch.of(x, ComplementaryTarget(wrong[:, None]))\n"
            "loss = objective(model(batch.x), batch, None, {})"
        ),
    )

    def __init__(
        self,
        loss: Loss = "scl_nl",
        *,
        transition: Tensor | None = None,
        prepared: Augmentation | None = None,
    ) -> None:
        LOSS.check("loss", loss)
        if transition is not None:
            check_transition(transition)
        known = transition if loss == "forward" else None
        objective = ComplementaryLoss(loss, transition=known)
        super().__init__(prepared=prepared, objective=objective)
        self.loss = loss
        self.transition = transition

    def start(self, setting: Setting) -> Learner:
        if setting.kind != "classification" or setting.outputs < 2:
            raise ValueError("complementary labels need a task with at least 2 classes")
        if self.transition is not None and len(self.transition) != setting.outputs:
            raise ValueError(
                f"the transition is of {len(self.transition)} classes, the task has "
                f"{setting.outputs}"
            )
        return super().start(setting)

    def ready(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        return super().ready(learner, self.hidden(learner, batch))

    def hidden(self, learner: Learner, batch: Batch) -> Batch:
        """The batch with complementary labels in the place of its own, the same in every epoch."""
        target = batch.target
        if isinstance(target, ComplementaryTarget):
            return batch
        if not isinstance(target, ClassTarget) or target.weights is not None:
            raise ValueError("complementary labels are drawn for batches with one class a row")
        excluded = complementary_labels(
            target.labels[:, 0],
            num_classes=learner.setting.outputs,
            draws=Draws(learner.setting.seed, batch.index),
            transition=self.transition,
        )
        return batch.replace(target=ComplementaryTarget(excluded[:, None]))
