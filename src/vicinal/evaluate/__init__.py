"""Judging a model on rows that it was not trained on."""

from vicinal.evaluate.evaluation import Evaluation, ReliabilityBin
from vicinal.evaluate.held_out import evaluate
from vicinal.evaluate.metrics import METRICS, Metric, primary_metric

__all__ = ["METRICS", "Evaluation", "Metric", "ReliabilityBin", "evaluate", "primary_metric"]
