"""Mixing within clusters of the data, two or three samples at a time."""

from __future__ import annotations

import torch

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Parameter, Range
from vicinal.core.draws import Draws
from vicinal.mixers.cluster_pairing import Features, Pool, SameCluster
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.mixers.k_way import KWayParams, Scope, mix_many
from vicinal.mixers.pairing import Pairing, PairMixer

#: Mixes two; its own draws are not used.
MIXUP = Mixup()
#: What ICM's mixer and method share.
PARAMETERS: dict[str, Parameter] = {
    "points": Range(
        2, 3, default=2, valid="[2, inf)", integer=True, meaning="samples in a mixture; 3 is MICM"
    ),
    "alpha": Range(
        0.1,
        4.0,
        default=0.2,
        scale="log",
        valid="(0, inf)",
        meaning="every concentration of the Dirichlet distribution of the weights",
    ),
    "clusters": Range(
        1,
        200,
        default=50,
        scale="log",
        valid="[1, inf)",
        integer=True,
        meaning="of k-means on the training rows; at 1 any sample meets any",
    ),
    "pool": Options(("dataset", "batch"), "dataset", meaning="where partners come from"),
    "scope": Options(("sample", "batch"), "sample", meaning="what shares one set of weights"),
}
PAPER = Paper(
    "Intra-Cluster Mixup: An Effective Data Augmentation Technique for Complementary-Label "
    "Learning",
    authors="Mai, Lin",
    venue="arXiv",
    year=2025,
    arxiv="2509.17971",
)
DIFFERS = (
    "one set of weights per sample, where the authors' code has one per batch",
    "partners come from the whole cluster, where the authors' code has those in the batch, and "
    "may be the same one twice",
    "clusters are of the samples' values by default, where the authors have features of a "
    "SimSiam encoder",
    "inputs and labels share their weights, where variants in the authors' code weigh labels by "
    "distance, and its newest version does not mix inputs at all",
)


class IntraClusterMixup(PairMixer):
    """Interpolate every sample with one or two of its own cluster, and their targets alike.

    Neighbours tend to be of one class, so that labels of any kind stay true: weak ones too, such as
    the complementary ones that it is made for (`vicinal.ICM` is the recipe).

    Source: Mai and Lin, Intra-Cluster Mixup, 2025, and the authors' cl_augmentation.py, with which
    mixtures agree for the same partners and weights, to 1e-6.

    Args:
        points: samples in a mixture, >= 2.
        alpha: every concentration of the Dirichlet distribution of the weights, > 0; of two
            samples, both shapes of the Beta distribution. Towards 0 one sample is kept as it is.
        clusters: of k-means on the training rows, >= 1; at 1 it is mixup.
        pool: where partners come from: the training rows, all of them, or the batch alone.
        scope: `sample` draws weights for every sample, `batch` one set for all of them.
        features: what is clustered, see `SameCluster`.

    Raises:
        ValueError: a value is out of range; when it samples: it is not fitted.
        TypeError: when it mixes: x is not floating point.
    """

    card = Card(
        name="intra_cluster_mixup",
        kind="mixer",
        family="interpolation",
        modality=("any",),
        summary="Interpolates samples of one cluster of the data, and their labels alike.",
        systems=("icm",),
        paper=PAPER,
        parameters=PARAMETERS,
        needs=("k-means on the training rows, once",),
        agrees="with the authors' code, to 1e-6, on mixtures and labels",
        labels="mixed",
        keeps_meaning=False,
        differs=DIFFERS,
        controls=("intra_cluster_mixup:clusters=1",),
        example=(
            "data = vicinal.Batch.of(x, y)  # all training rows\n"
            "mix = vicinal.IntraClusterMixup().fit(data)\n"
            "batch = mix(data[: len(x) // 2])\n"
            "loss = batch.target.loss(model(batch.x))"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        points: int = 2,
        *,
        alpha: float = 0.2,
        clusters: int = 50,
        pool: Pool = "dataset",
        scope: Scope = "sample",
        features: Features | None = None,
    ) -> None:
        self.card.check(points=points, alpha=alpha, clusters=clusters, pool=pool, scope=scope)
        pairing: Pairing = SameCluster(int(clusters), features=features, pool=pool)
        super().__init__(pairing)
        self.points = int(points)
        self.alpha = alpha
        self.clusters = int(clusters)
        self.pool = pool
        self.scope = scope
        self.features = features

    def sample(self, batch: Batch, draws: Draws) -> KWayParams:
        partner = [
            self.pairing.partner(batch, draws.within(f"partner {place}"))
            for place in range(1, self.points)
        ]
        source = draws.shared() if self.scope == "batch" else draws
        weights = source.dirichlet("weights", [self.alpha] * self.points)
        return KWayParams(torch.stack(partner, dim=1), weights)

    def apply(self, batch: Batch, params: KWayParams) -> Batch:
        if params.partner.shape[1] == 1:  # takes one pass over memory
            return MIXUP.apply(batch, MixupParams(params.partner[:, 0], params.weights[:, 0]))
        return mix_many(batch, params.partner, weights=params.weights)
