"""How sure a model is around the samples, not only at them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vicinal.core.draws import Draws


@dataclass(frozen=True)
class Neighbourhood:
    """What a model says of points on spheres about some samples, by radius.

    radii: (R,) float, in the unit of the samples.
    confidence: (R, N) float, mean probability of the sample's own class on its sphere.
    gap: (R, N) float, mean of the logit of its own class over the largest of the others.
    """

    radii: Tensor
    confidence: Tensor
    gap: Tensor


@dataclass(frozen=True)
class NeighbourhoodConfidence:
    """Ask a classifier about points on growing spheres around samples.

    One temperature rescales all logits alike. Where a model is as sure a long way from its data as
    at them, or its logits there tell nothing of the classes, none can mend it: that is what the
    curves show, and why mixtures, which lie between samples, are worth training on.

    Source: Chidambaram and Ge, On the Limitations of Temperature Scaling for Distributions with
    Overlaps, ICLR 2024, and the authors' analysis_utils.py; agrees with them to 1e-5 on the same
    directions.

    radii: of the spheres, >= 0, in the unit of the samples; 0 is the sample itself.
    samples: points on each sphere, >= 1. A sample has the same directions at all radii.
    rows: points that the model is given at a time, >= 1.

    Raises:
        ValueError: a value is out of range, or there is no radius.
    """

    radii: tuple[float, ...]
    samples: int = 500
    rows: int = 4096

    def __init__(self, radii: Sequence[float], samples: int = 500, *, rows: int = 4096) -> None:
        if not len(radii) or not all(0 <= radius < math.inf for radius in radii):
            raise ValueError(f"radii must be at least one number from 0 on, got {list(radii)}")
        for name, count in {"samples": samples, "rows": rows}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        object.__setattr__(self, "radii", tuple(float(radius) for radius in radii))
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "rows", rows)

    def __call__(
        self, model: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, *, draws: Draws
    ) -> Neighbourhood:
        """The curves of some samples. Without gradients; the model's mode is left as it is.

        Args:
            model: takes (B, ...) and gives (B, C) logits, C >= 2; in evaluation mode.
            x: (N, ...) floating point, as the model takes them.
            labels: (N,) int64, their classes.
            draws: of the rows of x: what a sample's directions come from.
        """
        noise = draws.normal("direction", shape=(self.samples, x[0].numel()))
        return around(model, x, labels, noise.to(x), radii=self.radii, rows=self.rows)


@torch.no_grad()
def around(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    directions: Tensor,
    *,
    radii: Sequence[float],
    rows: int = 4096,
) -> Neighbourhood:
    """The curves along given directions.

    Args:
        model: takes (B, ...) and gives (B, C) logits, C >= 2.
        x: (N, ...) float.
        labels: (N,) int64.
        directions: (N, S, D) float of any length but 0, D values of a sample.
        radii: of the spheres.
        rows: points that the model is given at a time.

    Raises:
        ValueError: shapes do not fit, or there are fewer than two classes.
    """
    if labels.shape != x.shape[:1] or directions.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"x, labels and directions must have equal lengths, got {len(x)}, {len(labels)} and "
            f"{len(directions)}"
        )
    unit = directions / directions.norm(dim=2, keepdim=True)
    own = labels.repeat_interleave(unit.shape[1])  # (N * S,)
    confidences, gaps = [], []
    for radius in radii:
        points = (x.flatten(1)[:, None] + radius * unit).view(-1, *x.shape[1:])
        logits = torch.cat([model(some) for some in points.split(rows)])
        if logits.dim() != 2 or logits.shape[1] < 2:
            raise ValueError(f"the model must give (B, C) logits, C >= 2, got {logits.shape}")
        given = logits.gather(1, own[:, None])
        others = logits.scatter(1, own[:, None], -math.inf).amax(dim=1)
        sure = logits.softmax(dim=1).gather(1, own[:, None])
        confidences.append(sure.view(len(x), -1).mean(dim=1))
        gaps.append((given[:, 0] - others).view(len(x), -1).mean(dim=1))
    return Neighbourhood(torch.tensor(radii), torch.stack(confidences), torch.stack(gaps))
