"""C-Mixup: mixup for numbers to predict, among samples whose numbers are close."""

from __future__ import annotations

from vicinal.core.card import Card, Options, Paper, Range
from vicinal.mixers.interpolate import Mixup, Scope
from vicinal.mixers.label_kernel import Kernel, LabelKernel, Pool


class CMixup(Mixup):
    """Interpolate every sample with one whose label is close, and their labels alike.

    Between samples with far labels the straight line is often wrong: the interpolated label does
    not belong to the interpolated input. So the partner is drawn with a chance that falls with the
    distance of the labels; all else is mixup. Partners come from all of the training rows: fit it
    to them, and give it batches whose pool they are, as `data[rows]` has. The authors mix hidden
    states on most data sets: `AtLayer(CMixup().fit(data), layer)` does, for `data[rows]` again.

    Source: Yao et al., C-Mixup: Improving Generalization in Regression, NeurIPS 2022, equation 6
    and algorithm 1.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        bandwidth: width of the kernel in the unit of the labels, > 0: towards 0 partners have the
            same label, for large values it is mixup. None takes a quarter of the standard deviation
            of the training labels.
        kernel: `gaussian`, or `tophat`: all labels within the bandwidth are as likely.
        pool: where partners come from: the training rows, all of them, or the batch alone.
        scope: `sample` draws a weight for every sample, `batch` one for all of them.

    Raises:
        ValueError: a value is out of range; when it samples: it is not fitted, or there are no
            labels.
        TypeError: when it is fitted or samples: the labels are no numbers.
    """

    card = Card(
        name="c_mixup",
        kind="mixer",
        family="interpolation",
        modality=("any",),
        summary="Interpolates samples whose numbers to predict are close, and these alike.",
        systems=("c-mixup",),
        paper=Paper(
            "C-Mixup: Improving Generalization in Regression",
            authors="Yao, Wang, Zhang, Zou, Finn",
            venue="NeurIPS",
            year=2022,
            arxiv="2210.05775",
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
            "bandwidth": Range(
                0.05,
                2.0,
                default=None,
                scale="log",
                valid="(0, inf)",
                meaning=(
                    "width of the kernel in the unit of the labels, which a comparison "
                    "standardises; by default a quarter of their standard deviation"
                ),
            ),
            "kernel": Options(
                ("gaussian", "tophat"), "gaussian", meaning="how chances fall with distance"
            ),
            "pool": Options(("dataset", "batch"), "dataset", meaning="where partners come from"),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one weight"),
        },
        needs=("labels",),
        targets=("regression",),
        agrees="with the authors' code, to 1e-6, on partners' chances and mixtures",
        labels="mixed",
        keeps_meaning=False,
        differs=(
            "one weight per sample, where the authors' code has one per batch",
            "partners are found by bisection, where the authors' code has a table of N x N",
            "partners from the batch are of the batch alone, where the authors' code doubles it",
            "a label just at the bandwidth is inside of tophat, where the authors' code has it out",
        ),
        controls=("mixup",),
        example=(
            "data = vicinal.Batch.of(x, vicinal.RegressionTarget(y.float()))  # all training rows\n"
            "mix = vicinal.CMixup().fit(data)\n"
            "batch = mix(data[: len(x) // 2])\n"
            "loss = (model(batch.x)[:, 0] - batch.target.barycentre).square().mean()"
        ),
        dtypes=("float32", "float16", "bfloat16", "float64"),
        differentiable=True,
        compiles=True,
        stage="prepared",
    )

    def __init__(
        self,
        alpha: float = 2.0,
        bandwidth: float | None = None,
        *,
        kernel: Kernel = "gaussian",
        pool: Pool = "dataset",
        scope: Scope = "sample",
    ) -> None:
        self.card.check(bandwidth=bandwidth, kernel=kernel, pool=pool)
        pairing = LabelKernel(bandwidth, kernel, pool)
        super().__init__(alpha, scope=scope, pairing=pairing)
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.pool = pool
