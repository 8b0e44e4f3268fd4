"""Intra-cluster mixup: complementary labels of neighbours, shared."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.card import Card
from vicinal.methods.complementary import LOSS, NEEDS, ComplementaryLabels
from vicinal.mixers.cluster_pairing import Features, Pool
from vicinal.mixers.intra_cluster import DIFFERS, PAPER, PARAMETERS, IntraClusterMixup
from vicinal.mixers.k_way import Scope
from vicinal.objectives.complementary import Loss


class ICM(ComplementaryLabels):
    """Hide the labels, learn from a class that each sample is not of, and mix within clusters.

    Two samples of one class are neither of the class that the one excludes nor of the other's: a
    mixture of neighbours inherits two labels that are true. Ordinary mixup joins samples of two
    classes, and one of them is often what the other excludes.

    Source: Mai and Lin, Intra-Cluster Mixup, 2025, section 4, and the authors' train.py.

    Args:
        points: samples in a mixture: 2 is ICM, 3 is MICM.
        alpha: every concentration of the Dirichlet distribution of the weights, > 0.
        clusters: of k-means on the training rows, >= 1; at 1 it is ordinary mixup.
        loss: what probability of an excluded class costs, see `ComplementaryLoss`.
        pool: where partners come from: the training rows, all of them, or the batch alone.
        scope: `sample` draws weights for every sample, `batch` one set for all of them.
        transition: see `ComplementaryLabels`.
        features: what is clustered, see `SameCluster`.

    Raises:
        ValueError: a value is out of range; before training: the task has no classes.
    """

    card = Card(
        name="icm",
        kind="method",
        family="weak labels",
        modality=("any",),
        summary="Hides the labels: learns from a wrong class a row, mixing rows of one cluster.",
        systems=("icm",),
        paper=PAPER,
        parameters={**PARAMETERS, "loss": LOSS},
        needs=(*NEEDS, "k-means on the training rows, once"),
        targets=("classes",),
        agrees="with the authors' code, to 1e-5, on losses and mixtures",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            *DIFFERS,
            "forward mixes both labels, where the authors' code has the first one twice in its "
            "branch for two labels",
            "classes are not reweighted for imbalanced data in the last epochs",
        ),
        controls=("complementary", "icm:clusters=1"),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.core.complementary_target import ComplementaryTarget\n"
            "from vicinal.objectives.complementary import ComplementaryLoss\n"
            "\n"
            "# once, with all training rows and the class that each is not of, known for good\n"
            "classes = int(y_train.max()) + 1\n"
            "wrong = (y_train + torch.randint(1, classes, y_train.shape)) % classes\n"
            "data = vicinal.Batch.of(x_train, ComplementaryTarget(wrong[:, None]))\n"
            "mix = vicinal.IntraClusterMixup({points}, alpha={alpha}, clusters={clusters}, "
            "pool={pool}, scope={scope}).fit(data)\n"
            "objective = ComplementaryLoss({loss})\n"
            "\n"
            "# in the training loop, with some rows of the data, (B,) int64\n"
            "batch = mix(data[rows])\n"
            "loss = objective(model(batch.x), batch, None, {})"
        ),
        stage="prepared",
    )

    def __init__(
        self,
        points: int = 2,
        *,
        alpha: float = 0.2,
        clusters: int = 50,
        loss: Loss = "scl_nl",
        pool: Pool = "dataset",
        scope: Scope = "sample",
        transition: Tensor | None = None,
        features: Features | None = None,
    ) -> None:
        mixer = IntraClusterMixup(
            points, alpha=alpha, clusters=clusters, pool=pool, scope=scope, features=features
        )
        super().__init__(loss, transition=transition, prepared=mixer)
