"""Samples most of which show a common feature of their class, and a few a rare one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RareFeatures:
    """Samples of two classes, each a few patches.

    x: (N, P, D) float32.
    labels: (N,) int64, 0 and 1.
    rare: (N,) bool, whether the sample shows the rare feature of its class.
    common_features, rare_features: (2, D) float32, of each class; the four are orthonormal.
    """

    x: Tensor
    labels: Tensor
    rare: Tensor
    common_features: Tensor
    rare_features: Tensor


def make_rare_features(
    count: int = 200,
    *,
    dimensions: int = 300,
    patches: int = 4,
    rare_share: float = 0.05,
    feature_noise: float = 0.1,
    noise: float = 0.2,
    distractors: int = 1,
    shuffled: bool = False,
    seed: int = 0,
    features_seed: int = 0,
) -> RareFeatures:
    """Samples whose class a network can learn from a common feature and from a rare one.

    One patch of a sample is a feature of its class, the rare one with probability `rare_share`;
    `distractors` patches are a common feature of either class, faint; the others are noise, which
    has no part along the features. Plain training learns the common features, and the noise of the
    rare samples by heart; mixtures of rare samples with common ones go on to teach the rare
    features.

    Source: Zou, Cao, Li, Gu, The Benefits of Mixup for Feature Learning, ICML 2023, the data model
    of feature noise; constants that it leaves open are chosen here.

    Args:
        count: samples, >= 1.
        dimensions: values of a patch, >= 4.
        patches: of a sample, more than the distractors.
        rare_share: probability of the rare feature, in [0, 1]; at 1 all samples show it, as rows to
            judge by.
        feature_noise: length of a distracting feature, in [0, 1).
        noise: standard deviation of a value of the other patches, >= 0.
        distractors: patches with a faint common feature, >= 0.
        shuffled: whether patches come in random order. In the same order, features first, a mixture
            lays the features of two samples over each other; in random order mostly a feature over
            noise, and mixtures teach rare features two to four times more slowly.
        seed: of the samples.
        features_seed: of the features: equal for samples that are to be trained on and judged by.

    Raises:
        ValueError: a number is out of range.
    """
    if count < 1 or dimensions < 4 or not 0 <= distractors < patches:
        raise ValueError(
            "count must be at least 1, dimensions at least 4, and distractors from 0 to less than "
            f"patches, got {count}, {dimensions}, {distractors} and {patches}"
        )
    if not (0 <= rare_share <= 1 and 0 <= feature_noise < 1 and noise >= 0):
        raise ValueError(
            "rare_share must be in [0, 1], feature_noise in [0, 1) and noise at least 0, got "
            f"{rare_share}, {feature_noise} and {noise}"
        )
    directions = np.random.default_rng(features_seed).standard_normal((dimensions, 4))
    features = np.linalg.qr(directions)[0].T.astype(np.float32)  # (4, D)
    generator = np.random.default_rng([seed, 1])
    labels = generator.integers(2, size=count)
    rare = generator.uniform(size=count) < rare_share
    x = noise * generator.standard_normal((count, patches, dimensions)).astype(np.float32)
    x -= (x @ features.T) @ features
    x[:, 0] = features[labels + 2 * rare]
    x[:, 1 : 1 + distractors] = (
        feature_noise * features[generator.integers(2, size=(count, distractors))]
    )
    if shuffled:
        order = generator.permuted(np.tile(np.arange(patches), (count, 1)), axis=1)
        x = np.take_along_axis(x, order[:, :, None], axis=1)
    return RareFeatures(
        x=torch.from_numpy(x),
        labels=torch.from_numpy(labels),
        rare=torch.from_numpy(rare),
        common_features=torch.from_numpy(features[:2].copy()),
        rare_features=torch.from_numpy(features[2:].copy()),
    )
