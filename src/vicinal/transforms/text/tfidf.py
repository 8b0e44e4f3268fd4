"""Word replacement: the words that tell little go, by tf-idf, or any."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.text.statistics import WordStatistics

if TYPE_CHECKING:
    from typing_extensions import Self

PAPER = Paper(
    "Unsupervised Data Augmentation for Consistency Training",
    authors="Xie, Dai, Hovy, Luong, Le",
    venue="NeurIPS",
    year=2020,
    arxiv="1904.12848",
)
PADDING = Range(
    0, 1, default=0, valid="[0, inf)", integer=True, meaning="the id that fills short documents"
)
#: Shorter documents are not replaced uniformly.
SHORTEST = 3


@dataclass(frozen=True)
class ReplaceParams(Params):
    """One row per document.

    mask: (B, L) bool, the places that are replaced.
    word: (B, L) int64, the ids that stand there then; drawn for the other places too.
    """

    mask: Tensor
    word: Tensor


class WordReplacement(Transform):
    """Replace words by others. A subclass says which go and which come.

    Args:
        rate: expected share of the words that are replaced, in [0, 1].
        padding: the id that fills up short documents; it is no word.
    """

    unfitted = True

    def __init__(self, rate: float, *, padding: int) -> None:
        self.card.check(rate=rate, padding=padding)
        self.rate = rate
        self.padding = padding
        self._statistics: WordStatistics | None = None

    def fit(self, data: Batch) -> Self:
        """The same, knowing the words. data: (N, L) int64 ids, all documents."""
        fitted = copy.copy(self)
        fitted._statistics = WordStatistics.of(_ids(data), padding=self.padding)
        fitted.unfitted = False
        return fitted

    def sample(self, batch: Batch, draws: Draws) -> ReplaceParams:
        statistics = self._statistics
        if statistics is None:
            raise ValueError(
                f"{type(self).__name__} has to know how often words are used: call fit(data) "
                "first, with a Batch of all training rows"
            )
        ids = _ids(batch)
        shape = ids.shape[1:]
        chance = self.chance(ids, statistics).masked_fill(ids == self.padding, 0)
        unit = draws.uniform("word", shape=shape)
        return ReplaceParams(
            mask=draws.uniform("replaced", shape=shape) < chance,
            word=statistics.draw(self.weights(statistics), unit),
        )

    def apply(self, batch: Batch, params: ReplaceParams) -> Batch:
        ids = _ids(batch)
        return batch.replace(x=torch.where(params.mask, params.word.to(ids.dtype), ids))

    @abstractmethod
    def chance(self, ids: Tensor, statistics: WordStatistics) -> Tensor:
        """The probability of each place to be replaced. ids: (B, L). Returns (B, L) float64."""

    @abstractmethod
    def weights(self, statistics: WordStatistics) -> Tensor:
        """How often each word comes in. Returns (V,) float64, at least 0."""


class TfIdfReplace(WordReplacement):
    """Replace words that tell little of a document by words that tell little of any.

    A word is replaced with a probability that rises as its tf-idf falls below the highest in its
    document; what comes is drawn the more often, the lower a word's tf-idf summed over all
    documents. Topic words stay, and new ones rarely come in, so that the label does too.

    Documents are ids (B, L) int64; tokenise words before.

    Source: Xie et al., UDA, NeurIPS 2020, appendix B, and word_level_augment.py of the authors.

    Args:
        rate: expected share of the words that are replaced, in [0, 1]. The probability of a word
            may come out above 1: then it is replaced always, and the share falls short.
        padding: the id that fills up short documents; it is no word.

    Raises:
        ValueError: a value is out of range; in `sample`, it was not fitted.
    """

    card = Card(
        name="tfidf_replace",
        kind="transform",
        family="words",
        modality=("text",),
        summary="Replaces words that say little of a text by others that say little.",
        systems=("uda",),
        paper=PAPER,
        parameters={
            "rate": Range(0.1, 0.9, default=0.7, valid="[0, 1]", meaning="share of words replaced"),
            "padding": PADDING,
        },
        needs=("the training rows, once, for how often words are used",),
        differs=(
            "a document in which all words tell as much is left as it is, where the authors' code "
            "divides by zero and leaves it too",
        ),
        example="x = vicinal.TfIdfReplace(rate=0.7).fit(vicinal.Batch.of(x))(x)",
        dtypes=("int64",),
    )

    def __init__(self, rate: float = 0.7, *, padding: int = 0) -> None:
        super().__init__(rate, padding=padding)

    def chance(self, ids: Tensor, statistics: WordStatistics) -> Tensor:
        relevance = statistics.relevance(ids, padding=self.padding)
        present = ids != self.padding
        below = (relevance.amax(dim=1, keepdim=True) - relevance) * present
        words = present.sum(dim=1, keepdim=True).double()
        total = below.sum(dim=1, keepdim=True)
        # Words of one score may differ in their last bit.
        flat = total <= 1e-12 * words
        return (self.rate * words * below / total.masked_fill(flat, 1)).masked_fill(flat, 0)

    def weights(self, statistics: WordStatistics) -> Tensor:
        score = statistics.score
        return score[statistics.documents > 0].amax() - score


class UniformReplace(WordReplacement):
    """Replace any word by any other; what `TfIdfReplace` is held against.

    Documents are ids (B, L) int64; those of fewer than three words stay.

    Source: `UnifRep` in word_level_augment.py of google-research/uda.

    Args:
        rate: probability of each word to be replaced, in [0, 1].
        padding: the id that fills up short documents; it is no word.

    Raises:
        ValueError: a value is out of range; in `sample`, it was not fitted.
    """

    card = Card(
        name="uniform_replace",
        kind="transform",
        family="words",
        modality=("text",),
        summary="Replaces random words of a text by random words.",
        systems=("uda",),
        paper=PAPER,
        parameters={
            "rate": Range(0.1, 0.9, default=0.3, valid="[0, 1]", meaning="share of words replaced"),
            "padding": PADDING,
        },
        needs=("the training rows, once, for the words there are",),
        keeps_meaning=False,
        differs=("words are those of the training rows, where the authors take BERT's vocabulary",),
        example="x = vicinal.UniformReplace(rate=0.3).fit(vicinal.Batch.of(x))(x)",
        dtypes=("int64",),
    )

    def __init__(self, rate: float = 0.3, *, padding: int = 0) -> None:
        super().__init__(rate, padding=padding)

    def chance(self, ids: Tensor, statistics: WordStatistics) -> Tensor:
        words = (ids != self.padding).sum(dim=1, keepdim=True)
        return (self.rate * (words >= SHORTEST).double()).expand(ids.shape)

    def weights(self, statistics: WordStatistics) -> Tensor:
        return torch.ones_like(statistics.score)


def _ids(batch: Batch) -> Tensor:
    """The documents. Raises TypeError or ValueError unless they are (B, L) int64."""
    ids = batch.tensor
    if ids.dtype != torch.int64:
        kind = str(ids.dtype).removeprefix("torch.")
        raise TypeError(f"documents must be word ids of int64, got {kind}")
    if ids.dim() != 2:
        raise ValueError(f"documents must be word ids (B, L), got shape {tuple(ids.shape)}")
    return ids
