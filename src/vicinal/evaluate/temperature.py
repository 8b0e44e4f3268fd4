"""Temperature scaling: one number that makes a classifier as sure as it should be."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from torch import Tensor

from vicinal.evaluate.calibration import (
    Calibration,
    calibration,
    check_logits,
    slope_in_inverse_temperature,
)


@dataclass(frozen=True)
class TemperatureScaling:
    """Divide logits by a number that makes held-out labels likeliest; predictions stay.

    The negative log likelihood is convex in one over the temperature, so that it is fitted by
    finding where its slope is zero, in log T and between bounds: to the end, whatever the data are.
    Some steps of an optimiser are not a fit. The authors' below take one call of L-BFGS, which ends
    at 1.1 where the best temperature is 2.7.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2, and, for
    what it cannot do, Chidambaram and Ge, On the Limitations of Temperature Scaling for
    Distributions with Overlaps, ICLR 2024: the best it reaches where classes overlap is chance.

    lowest, highest: bounds of the temperature, > 0, with 1 between them. One is reached where there
        is no best temperature: the lowest if all rows are predicted right, the highest if logits
        tell nothing of the labels.
    temperature: what logits are divided by; 1 until it is fitted.

    Raises:
        ValueError: the bounds are not 0 < lowest <= 1 <= highest, or the temperature is outside.
    """

    lowest: float = 1e-4
    highest: float = 1e4
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= 1 <= self.highest < math.inf:
            raise ValueError(
                f"bounds must be 0 < lowest <= 1 <= highest, got {self.lowest} and {self.highest}"
            )
        if not self.lowest <= self.temperature <= self.highest:
            raise ValueError(
                f"temperature must be in [{self.lowest}, {self.highest}], got {self.temperature}"
            )

    def fit(self, logits: Tensor, labels: Tensor) -> TemperatureScaling:
        """The same with the temperature that makes the labels likeliest.

        Args:
            logits: (N, C) float, of rows that were not trained on, nor are judged.
            labels: (N,) int64.

        Raises:
            ValueError: shapes do not fit, a label is no class, or a logit is not finite.
        """
        from scipy.optimize import brentq

        check_logits(logits, labels)
        slope = slope_in_inverse_temperature(logits, labels)
        low, high = math.log(self.lowest), math.log(self.highest)
        # The slope falls as the temperature grows: where it has one sign, a bound is best.
        if slope(low) <= 0:
            best = self.lowest
        elif slope(high) >= 0:
            best = self.highest
        else:
            best = math.exp(brentq(slope, low, high, xtol=1e-12, rtol=1e-12))
        return dataclasses.replace(self, temperature=min(max(best, self.lowest), self.highest))

    def __call__(self, logits: Tensor) -> Tensor:
        """The logits over the temperature. logits: (N, C). Returns (N, C)."""
        return logits / self.temperature


@dataclass(frozen=True)
class TemperatureReport:
    """How well a model is calibrated as it is, and with a temperature.

    temperature: above 1 the model was too sure, below 1 not sure enough.
    raw, scaled: on the same rows, which the temperature was not fitted to.
    """

    temperature: float
    raw: Calibration
    scaled: Calibration


def with_and_without_temperature(
    logits: Tensor,
    labels: Tensor,
    *,
    fitting_logits: Tensor,
    fitting_labels: Tensor,
    scaling: TemperatureScaling | None = None,
) -> TemperatureReport:
    """Judge a model before and after temperature scaling.

    A comparison of training with mixup against temperature scaling has four entries: plain and
    mixup, each as it is and scaled. Ask for the report of either model.

    Args:
        logits: (N, C) float, of the rows that are judged.
        labels: (N,) int64.
        fitting_logits: (M, C) float, of held-out rows that the temperature is fitted to.
        fitting_labels: (M,) int64.
        scaling: its bounds; those of `TemperatureScaling` by default.

    Raises:
        ValueError: shapes do not fit, a label is no class, or a logit is not finite.
    """
    fitted = (scaling or TemperatureScaling()).fit(fitting_logits, fitting_labels)
    return TemperatureReport(
        temperature=fitted.temperature,
        raw=calibration(logits, labels),
        scaled=calibration(fitted(logits.double()), labels),
    )
