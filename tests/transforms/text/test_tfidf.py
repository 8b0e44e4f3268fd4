from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.transforms.text.statistics import WordStatistics
from vicinal.transforms.text.tfidf import ReplaceParams, TfIdfReplace, UniformReplace

GOLDEN = json.loads((Path(__file__).parent / "golden" / "tfidf.json").read_text())


def padded(documents: list[list[int]]) -> Tensor:
    length = max(map(len, documents))
    return torch.tensor([words + [0] * (length - len(words)) for words in documents])


def corpus(documents: int = 400, length: int = 12, seed: int = 0) -> Tensor:
    """Words as frequent as in language, one over their rank, in documents of unequal length."""
    generator = torch.Generator().manual_seed(seed)
    ranks = 1 / torch.arange(1, 201)
    ids = 1 + torch.multinomial(ranks, documents * length, replacement=True, generator=generator)
    ends = torch.randint(3, length + 1, (documents, 1), generator=generator)
    return ids.view(documents, length).masked_fill(torch.arange(length) >= ends, 0)


def sampled(transform: Any, ids: Tensor, seed: int = 0) -> ReplaceParams:
    batch = Batch.of(ids)
    params: ReplaceParams = transform.sample(batch, Draws(seed, batch.index))
    return params


# Against the authors' code.


def test_statistics_are_those_of_the_authors() -> None:
    found = WordStatistics.of(padded(GOLDEN["documents"]), padding=0)
    for name, values in (("idf", found.idf), ("score", found.score)):
        for word, expected in GOLDEN[name].items():
            assert values[int(word)].item() == pytest.approx(expected, abs=1e-12), (name, word)


def test_probabilities_of_replacement_are_those_of_the_authors() -> None:
    ids = padded(GOLDEN["documents"])
    transform = TfIdfReplace(GOLDEN["rate"])
    found = transform.chance(ids, WordStatistics.of(ids, padding=0))
    for row, expected in zip(found, GOLDEN["replaced"], strict=True):
        assert row[: len(expected)].tolist() == pytest.approx(expected, abs=1e-12)
        assert not row[len(expected) :].any()


def test_words_are_drawn_as_often_as_by_the_authors() -> None:
    ids = padded(GOLDEN["documents"])
    statistics = WordStatistics.of(ids, padding=0)
    weights = TfIdfReplace().weights(statistics)
    unit = (torch.arange(200_000) + 0.5) / 200_000
    drawn = statistics.draw(weights, unit).bincount(minlength=len(weights)) / 200_000
    for word, expected in GOLDEN["drawn"].items():
        assert drawn[int(word)].item() == pytest.approx(expected, abs=2e-5)
    assert drawn[0] == 0  # padding is no word


# What the sheet asks.


def test_the_most_telling_word_of_a_document_is_never_replaced() -> None:
    ids = corpus()
    transform = TfIdfReplace(0.9).fit(Batch.of(ids))
    statistics = WordStatistics.of(ids, padding=0)
    for seed in range(5):
        mask = sampled(transform, ids, seed).mask
        for row, replaced in zip(ids.tolist(), mask, strict=True):
            words = [word for word in row if word]
            tell = [words.count(w) / len(words) * statistics.idf[w].item() for w in words]
            highest = max(tell)
            for place, value in enumerate(tell):
                assert not (replaced[place] and value == highest)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_the_expected_share_of_replaced_words_is_the_rate_until_chances_reach_one(
    rate: float,
) -> None:
    ids = corpus(2000)
    transform = TfIdfReplace(rate)
    chance = transform.chance(ids, WordStatistics.of(ids, padding=0))
    words = (ids != 0).sum(dim=1)
    some = chance.sum(dim=1) > 0  # in a few all words tell as much
    torch.testing.assert_close(chance.sum(dim=1)[some], rate * words[some].double())
    below = some & (chance.amax(dim=1) <= 1)
    assert below.sum() > 100
    mask = sampled(transform.fit(Batch.of(ids)), ids).mask[below]
    assert (mask.sum() / words[below].sum()).item() == pytest.approx(rate, abs=0.02)


def test_words_that_come_in_tell_less_than_those_of_the_vocabulary_and_uniform_ones_do_not() -> (
    None
):
    ids = corpus()
    score = WordStatistics.of(ids, padding=0).score
    known = score[torch.unique(ids[ids > 0])]
    mean = float(known.mean())
    spread = float(known.std()) / math.sqrt(20_000)

    def mean_score(transform: Any) -> float:
        params = sampled(transform.fit(Batch.of(ids)), ids.repeat(10, 1))
        return float(score[params.word].mean())

    assert mean_score(TfIdfReplace()) < mean - 10 * spread
    assert mean_score(UniformReplace()) == pytest.approx(mean, abs=5 * spread)


@pytest.mark.parametrize("transform", [TfIdfReplace(), UniformReplace()], ids=repr)
def test_equal_seeds_give_equal_words_and_what_is_not_replaced_stays(transform: Any) -> None:
    ids = corpus()
    fitted, batch = transform.fit(Batch.of(ids)), Batch.of(ids)
    results = [fitted(batch, draws=Draws(seed, batch.index)).tensor for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    params = sampled(fitted, ids, seed=1)
    assert torch.equal(results[0][~params.mask], ids[~params.mask])
    assert torch.equal(results[0][params.mask], params.word[params.mask])
    assert ((results[0] == 0) == (ids == 0)).all()  # padding stays, and none comes in


# At the edges.


@given(
    documents=st.lists(st.lists(st.integers(1, 6), max_size=6).filter(len), min_size=1, max_size=8),
    rate=st.floats(0, 1),
)
def test_any_corpus_gives_probabilities_and_known_words(
    documents: list[list[int]], rate: float
) -> None:
    ids = padded(documents)
    transform = TfIdfReplace(rate).fit(Batch.of(ids))
    chance = transform.chance(ids, WordStatistics.of(ids, padding=0))
    assert torch.isfinite(chance).all()
    assert (chance >= 0).all()
    params = sampled(transform, ids)
    assert set(params.word.flatten().tolist()) <= set(ids[ids > 0].tolist())


def test_words_that_were_not_met_count_as_rare_and_do_not_come_in() -> None:
    seen, ids = padded([[1, 2], [1, 3], [1, 9]]), padded([[1, 5, 70], [1, 1, 2]])
    transform = TfIdfReplace(1.0).fit(Batch.of(seen))
    chance = transform.chance(ids, WordStatistics.of(seen, padding=0))
    assert chance[0, 1] == chance[0, 2] == 0
    assert chance[0, 0] == pytest.approx(3.0)
    assert set(sampled(transform, ids.repeat(50, 1)).word.flatten().tolist()) <= {1, 2, 3, 9}


def test_a_document_gets_the_same_words_however_long_the_others_of_its_batch_are() -> None:
    ids = corpus()
    transform = TfIdfReplace().fit(Batch.of(ids))
    wide = torch.cat([ids, ids.new_zeros(len(ids), 5)], dim=1)
    short, long = (sampled(transform, some) for some in (ids, wide))
    assert torch.equal(short.mask, long.mask[:, : ids.shape[1]])
    assert torch.equal(short.word, long.word[:, : ids.shape[1]])


def test_documents_of_less_than_three_words_are_not_replaced_uniformly() -> None:
    ids = padded([[1, 2], [3, 4, 5]]).repeat(50, 1)
    mask = sampled(UniformReplace(1.0).fit(Batch.of(ids)), ids).mask
    assert mask.sum(dim=1).tolist() == [0, 3] * 50


def test_uniform_replacement_is_as_frequent_as_said_and_reaches_every_word() -> None:
    ids = corpus(4000)
    params = sampled(UniformReplace(0.3).fit(Batch.of(ids)), ids)
    assert params.mask[ids > 0].float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert set(params.word.flatten().tolist()) == set(torch.unique(ids[ids > 0]).tolist())


def test_other_paddings_are_no_words_either() -> None:
    ids = torch.tensor([[0, 4, 7, 7], [0, 2, 5, 7]])
    params = sampled(TfIdfReplace(0.9, padding=7).fit(Batch.of(ids)), ids.repeat(100, 1))
    assert not params.mask[ids.repeat(100, 1) == 7].any()
    assert 7 not in params.word
    assert params.mask[:, 0].any()


def test_what_cannot_be_is_refused() -> None:
    ids = corpus()
    with pytest.raises(ValueError, match=r"call fit\(data\) first"):
        sampled(TfIdfReplace(), ids)
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\], got 1\.2"):
        TfIdfReplace(1.2)
    with pytest.raises(TypeError, match="must be word ids of int64, got float32"):
        TfIdfReplace().fit(Batch.of(ids.float()))
    with pytest.raises(ValueError, match="no word in the documents"):
        TfIdfReplace().fit(Batch.of(torch.zeros(3, 4, dtype=torch.int64)))
