"""Mixing by interpolation: every value of a sample is moved towards another sample's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.mixers.blend import interpolated
from vicinal.mixers.pairing import PERMUTATION, Pairing, PairMixer

Scope = Literal["sample", "batch"]


@dataclass(frozen=True)
class MixupParams(Params):
    """One row per output sample.

    partner: (B,) int64, the row of the dataset that is mixed in.
    kept: (B,) float32, the weight of the own sample, in [0, 1].
    """

    partner: Tensor
    kept: Tensor

    def partner_share(self, places: Sequence[Tensor]) -> Tensor:
        """The same at every place, as `vicinal.core.partner_share` has it."""
        sizes = [len(along) for along in places]
        return (1 - self.kept).view(-1, *(1 for _ in sizes)).expand(-1, *sizes)


class Mixup(PairMixer):
    """Interpolate every sample with another, and their labels with the same weight.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, section 2. Weight
    and partner are drawn per sample; the authors' code draws one weight for the whole batch.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0. At 1 every weight is
            equally likely, towards 0 one of the two samples is kept as it is.
        scope: `sample` draws a weight for every sample, `batch` one for all of them.
        pairing: who is mixed with whom.

    Raises:
        TypeError: the pairing is none.
        ValueError: alpha is not positive, or the scope is unknown.
    """

    card = Card(
        name="mixup",
        kind="mixer",
        family="interpolation",
        modality=("any",),
        summary="Interpolates two samples and their labels with one random weight.",
        systems=("openmixup", "openmixup-mixers", "mixup-calibration"),
        paper=Paper(
            "mixup: Beyond Empirical Risk Minimization",
            authors="Zhang, Cisse, Dauphin, Lopez-Paz",
            venue="ICLR",
            year=2018,
            arxiv="1710.09412",
        ),
        parameters={
            "alpha": Range(
                0.1,
                4.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the weight kept",
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one weight"),
        },
        targets=("classes", "soft", "multilabel", "regression", "masks", "boxes"),
        agrees="with OpenMixup's code, to 1e-6",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="ImageNet-1k, ResNet-50, 200 epochs, alpha 0.2",
            metric="top-1 error, %",
            baseline=23.6,
            value=22.1,
        ),
        differs=("one weight per sample, where the authors' code has one per batch",),
        example="x, target = vicinal.Mixup()(x, y); loss = target.loss(model(x))",
        dtypes=("float32", "float16", "bfloat16", "float64", "uint8"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    writes_out = True

    def __init__(
        self, alpha: float = 1.0, *, scope: Scope = "sample", pairing: Pairing = PERMUTATION
    ) -> None:
        self.card.check(alpha=alpha, scope=scope)
        super().__init__(pairing)
        self.alpha = alpha
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        partner = self.pairing.partner(batch, draws)
        source = draws.shared() if self.scope == "batch" else draws
        return MixupParams(partner, source.beta("kept", self.alpha, self.alpha))

    def apply(self, batch: Batch, params: MixupParams) -> Batch:
        pool, at = batch.partners(params.partner)
        target = batch.target
        if target is not None and pool.target is not None:
            target = target.mix(pool.target[at], params.kept)
        mixed = interpolated(batch.tensor, pool.tensor, at, params.kept, out=batch.out)
        return batch.replace(x=mixed, target=target)
