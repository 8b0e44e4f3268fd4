"""Samples with a common or a rare feature of their class."""

from __future__ import annotations

import pytest
import torch

from vicinal.data.rare_features import make_rare_features


def test_features_are_orthonormal_and_noise_has_no_part_along_them() -> None:
    made = make_rare_features(50)
    features = torch.cat([made.common_features, made.rare_features])
    torch.testing.assert_close(features @ features.T, torch.eye(4), atol=1e-5, rtol=0)
    along = (made.x @ features.T).abs()  # (N, P, 4)
    kinds = (along > 0.01).sum(dim=2)
    # A feature, a distracting one, and two patches of noise.
    assert torch.equal(kinds.sum(dim=1), torch.full((50,), 2))
    noise = made.x[kinds == 0]
    assert len(noise) == 100
    assert noise.std().item() == pytest.approx(0.2 * (296 / 300) ** 0.5, rel=0.02)


def test_every_sample_shows_its_own_feature_once_and_another_faintly() -> None:
    made = make_rare_features(2000, dimensions=20, rare_share=0.3, feature_noise=0.25)
    features = torch.cat([made.common_features, made.rare_features])
    largest = (made.x @ features.T).amax(dim=1)  # (N, 4)
    own = made.labels + 2 * made.rare
    torch.testing.assert_close(
        largest.gather(1, own[:, None])[:, 0], torch.ones(2000), atol=1e-5, rtol=0
    )
    others = largest.scatter(1, own[:, None], 0.0)
    assert others.max().item() == pytest.approx(0.25, abs=1e-5)
    assert others[:, 2:].max().item() < 1e-5  # distractors are common features alone
    assert made.rare.double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert made.labels.double().mean().item() == pytest.approx(0.5, abs=0.04)


def test_features_come_first_or_anywhere() -> None:
    for shuffled in (False, True):
        made = make_rare_features(1000, dimensions=8, rare_share=0.0, shuffled=shuffled)
        place = (made.x @ made.common_features.T).amax(dim=2).argmax(dim=1)
        assert place.bincount(minlength=4).min() > 200 if shuffled else not place.any()


def test_other_samples_may_have_the_same_features() -> None:
    train, test = make_rare_features(20, seed=0), make_rare_features(20, seed=1, rare_share=1.0)
    assert torch.equal(train.rare_features, test.rare_features)
    assert not torch.equal(train.x, test.x)
    assert test.rare.all()
    other = make_rare_features(20, features_seed=1)
    assert not torch.equal(train.common_features, other.common_features)
    assert torch.equal(make_rare_features(20).x, train.x)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="distractors from 0 to less than patches"):
        make_rare_features(distractors=4)
    with pytest.raises(ValueError, match="dimensions at least 4"):
        make_rare_features(dimensions=3)
    with pytest.raises(ValueError, match=r"rare_share must be in \[0, 1\]"):
        make_rare_features(rare_share=1.1)
