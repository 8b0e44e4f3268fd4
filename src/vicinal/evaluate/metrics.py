"""The metrics: which way is better, how they are written, how finely they move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Style = Literal["share", "score", "amount"]


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model is.

    name: as it is shown.
    higher_is_better: its direction. `overconfidence` has two: zero is best.
    meaning: one line, in a user's words.
    style: how it is written: a `share` in percent, a `score` with three decimals, an `amount` in
        units of the target with four significant digits.
    counted: it is a share of the rows, so that it moves in steps of one row.
    """

    name: str
    higher_is_better: bool
    meaning: str
    style: Style = "score"
    counted: bool = False

    def format(self, value: float) -> str:
        """The value as it is shown: `58.4 %`, `0.091`, `53.12`."""
        if self.style == "share":
            return f"{100 * value:.1f} %"
        return f"{value:.3f}" if self.style == "score" else f"{value:.4g}"

    def format_difference(self, value: float) -> str:
        """A difference of two values, with its sign; of shares, in percentage points: `+1.2 pp`."""
        if self.style == "share":
            return f"{100 * value:+.1f} pp"
        return f"{value:+.3f}" if self.style == "score" else f"{value:+.4g}"

    def granularity(self, rows: int) -> float:
        """The smallest step by which it can differ on so many held-out rows; 0 if there is none."""
        return 1 / rows if self.counted else 0.0


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "accuracy",
        higher_is_better=True,
        meaning="share of rows whose most likely class is the right one",
        style="share",
        counted=True,
    ),
    "macro_accuracy": Metric(
        "macro accuracy",
        higher_is_better=True,
        meaning="accuracy of each class, averaged over the classes, rare ones counting in full",
        style="share",
    ),
    "auc": Metric(
        "AUC",
        higher_is_better=True,
        meaning="how often a row of a class is given more of it than a row of another: each class "
        "against the rest, weighted by rows",
    ),
    "specificity": Metric(
        "specificity",
        higher_is_better=True,
        meaning="share of rows of other classes that are not taken for this one, mean over the "
        "classes; their mean sensitivity is the macro accuracy",
        style="share",
    ),
    "nll": Metric(
        "NLL",
        higher_is_better=False,
        meaning="negative log likelihood of the right class, in nats",
    ),
    "brier": Metric(
        "Brier score",
        higher_is_better=False,
        meaning="squared error of the predicted probabilities, summed over the classes: 0 to 2",
    ),
    "ece": Metric(
        "ECE",
        higher_is_better=False,
        meaning="expected calibration error: how far confidence lies from accuracy, over 15 bins",
    ),
    "adaptive_ece": Metric(
        "adaptive ECE",
        higher_is_better=False,
        meaning="expected calibration error over 15 bins of equally many rows",
    ),
    "classwise_ece": Metric(
        "class-wise ECE",
        higher_is_better=False,
        meaning="expected calibration error of the probability of each class, their mean",
    ),
    "miou": Metric(
        "mean IoU",
        higher_is_better=True,
        meaning="points that are rightly in a class, of those that are or should be: mean over the "
        "classes",
        style="share",
    ),
    "overconfidence": Metric(
        "overconfidence",
        higher_is_better=False,
        meaning="mean confidence minus accuracy: 0 is best, below 0 the model is too modest",
    ),
    "rmse": Metric(
        "RMSE",
        higher_is_better=False,
        meaning="root of the mean squared error, in units of the target",
        style="amount",
    ),
    "mae": Metric(
        "MAE",
        higher_is_better=False,
        meaning="mean absolute error, in units of the target",
        style="amount",
    ),
    "r2": Metric(
        "R²",
        higher_is_better=True,
        meaning="share of the target's variance that is explained; below 0, worse than its mean",
    ),
}

# R² divides the squared error by the variance of the held-out rows at hand. From fold to fold that
# variance changes for every method alike, which would add scatter to a paired comparison; RMSE says
# the same without it, and in units that the user knows.
_PRIMARY = {"classification": "accuracy", "regression": "rmse", "segmentation": "miou"}


def primary_metric(kind: Literal["classification", "regression", "segmentation"]) -> str:
    """The name of the metric that decides a comparison.

    Raises:
        ValueError: the kind is none of the three.
    """
    if kind not in _PRIMARY:
        raise ValueError(f"kind must be classification, regression or segmentation, got {kind!r}")
    return _PRIMARY[kind]
