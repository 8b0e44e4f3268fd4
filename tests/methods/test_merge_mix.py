"""MergeMix: merging of tokens, and what is kept by its attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.methods.ground import ConvNet, run
from tests.objectives.test_token_labels import filled, transformer

from vicinal import Batch, ClassTarget, Draws
from vicinal.core.attention import ClassAttention
from vicinal.core.merged_attention import (
    MergedAttention,
    merge_targets,
    merged,
    schedule,
)
from vicinal.core.probe import ask
from vicinal.methods.merge_mix import MergeMix
from vicinal.mixers.merge_mix import KeepMerged

IMAGES = Batch.of(filled(6, 1, 8, 8, phase=2.0), torch.arange(6))


def test_without_merging_the_attention_is_the_plain_one() -> None:
    model = transformer().eval()
    plain, unmerged = ClassAttention(when="before"), MergedAttention(share=0.0)
    found = ask([plain, unmerged], {"model": model}, IMAGES).evidence
    torch.testing.assert_close(found[unmerged], found[plain], atol=1e-6, rtol=0)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_merged_tokens_share_a_score(share: float) -> None:
    probe = MergedAttention(share=share)
    found = ask([probe], {"model": transformer().eval()}, IMAGES).evidence[probe]
    assert found.shape == (6, 4, 4)
    for one in found:
        assert len(one.unique()) == 16 - int(16 * share)


def test_alike_tokens_are_merged_and_the_prefix_stays() -> None:
    # After a prefix of one, token 4 is most like 1, and 2 like 3; 5 is alike to none.
    angle = torch.tensor([9.0, 0.0, 1.5, 1.7, 0.01, 3.0])
    keys = torch.stack([angle.cos(), angle.sin()], dim=1)[None]
    assert merge_targets(keys, 1, prefix=1).tolist() == [[0, 1, 2, 3, 1, 4]]
    assert merge_targets(keys, 2, prefix=1).tolist() == [[0, 1, 2, 2, 1, 3]]
    assert merge_targets(keys, 0, prefix=1).tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("count", "authors"),
    [
        (1, [[0, 4, 1, 5, 5, 6, 2, 7, 3], [0, 4, 1, 5, 2, 6, 3, 7, 4]]),
        (3, [[0, 2, 1, 3, 3, 4, 2, 5, 3], [0, 2, 5, 3, 4, 4, 1, 5, 2]]),
    ],
)
def test_those_are_merged_that_the_authors_code_merges(
    count: int, authors: list[list[int]]
) -> None:
    # bipartite_soft_matching of OpenMixup's merge.py, which puts tokens in another order.
    keys = filled(2, 9, 4)
    keys = keys + (torch.arange(72) * 1.3 + 1).sin().view(2, 9, 4)
    found = merge_targets(keys, count, prefix=1)
    together = found[:, :, None] == found[:, None]
    expected = torch.tensor(authors)
    assert torch.equal(together, expected[:, :, None] == expected[:, None])


def test_merged_tokens_are_the_mean_by_their_sizes() -> None:
    x = torch.tensor([[[1.0], [2.0], [4.0]]])
    size = torch.tensor([[1.0, 1.0, 3.0]])
    mean, total = merged(x, size, torch.tensor([[0, 1, 1]]))
    assert mean.tolist() == [[[1.0], [3.5]]]
    assert total.tolist() == [[1.0, 4.0]]


@pytest.mark.parametrize(("total", "blocks"), [(98, 11), (7, 3), (0, 2), (5, 1)])
def test_the_schedule_falls_and_adds_up(total: int, blocks: int) -> None:
    counts = schedule(total, blocks)
    assert sum(counts) == total
    assert counts == sorted(counts, reverse=True)


def test_the_share_of_tokens_kept_is_rounded_down_and_they_are_the_first_by_score() -> None:
    mix = KeepMerged(tokens=4)
    batch = ask(mix.probes, {"model": transformer().eval()}, IMAGES)
    draws = Draws(1, batch.index)
    params = mix.sample(batch, draws)
    share = draws.beta("share kept", 1.0, 1.0)
    assert torch.equal(params.cells.flatten(1).sum(1), (share.double() * 16).long())
    scores = batch.evidence[mix.probe]
    least = scores.where(params.cells, torch.inf).amin((1, 2))
    assert (least >= scores.where(~params.cells, -torch.inf).amax((1, 2))).all()
    mixed = mix.apply(batch, params)
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    area = params.cells.flatten(1).float().mean(1)
    torch.testing.assert_close(mixed.target.weights[:, 0], area)


def test_it_trains_and_a_model_that_cannot_say_is_refused_before() -> None:
    learner, _ = run(MergeMix(tokens=4), epochs=1, network=transformer)
    assert all(parameter.isfinite().all() for parameter in learner.model.parameters())
    with pytest.raises(ValueError, match="needs a model with a class token") as refusal:
        run(MergeMix(), network=ConvNet)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"merged": 1.0}, {"share": 2}, {"tokens": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be"):
        MergeMix(**settings)
