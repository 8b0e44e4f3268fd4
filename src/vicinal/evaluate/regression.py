"""How far predicted numbers lie from the true ones."""

from __future__ import annotations

import math

from torch import Tensor

from vicinal.evaluate.evaluation import Evaluation


def evaluate_regression(output: Tensor, y: Tensor) -> Evaluation:
    """The metrics of held-out predictions, in units of the target.

    Args:
        output: (N,) or (N, 1) float, in the units of y: not standardised.
        y: (N,) float.

    Raises:
        ValueError: shapes do not fit.
        FloatingPointError: a prediction is not finite.
    """
    # Checked first, because (N, 1) less (N,) would quietly become (N, N).
    if y.dim() != 1 or not len(y) or output.shape not in ((len(y),), (len(y), 1)):
        raise ValueError(
            f"output must be (N,) or (N, 1) with N > 0, for y of shape {tuple(y.shape)}, got "
            f"{tuple(output.shape)}"
        )
    predicted, true = output.double().view(-1), y.double()
    strange = int((~predicted.isfinite()).sum())
    if strange:
        raise FloatingPointError(
            f"the outputs of {strange} of {len(y)} rows are not finite: training diverged"
        )
    error = predicted - true
    squared = float(error.square().sum())
    spread = float((true - true.mean()).square().sum())
    return Evaluation(
        metrics={
            "rmse": math.sqrt(squared / len(y)),
            "mae": float(error.abs().mean()),
            # Undefined where all held-out targets are alike, a single row among them.
            "r2": 1 - squared / spread if spread > 0 else math.nan,
        }
    )
