"""What is known of words once a corpus was read: how rare they are, how much they tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class WordStatistics:
    """Of the words 0 to V - 1.

    documents: (V,) int64, in how many documents a word stands.
    idf: (V + 1,) float64, log(N / documents); a word that was not met, and the last entry, which
        stands for all words beyond, count as met in one document.
    score: (V,) float64, the sum of tf-idf over all documents; 0 where a word was not met.
    """

    documents: Tensor
    idf: Tensor
    score: Tensor

    @classmethod
    def of(cls, ids: Tensor, *, padding: int) -> WordStatistics:
        """Count the words of a corpus.

        Source: `get_data_stats` of google-research/uda.

        Args:
            ids: (N, L) int64, a document a row.
            padding: the id that is no word.

        Raises:
            ValueError: there is no word.
        """
        present = ids != padding
        if not present.any():
            raise ValueError("there is no word in the documents, only padding")
        vocabulary = int(ids.max()) + 1
        row = torch.arange(len(ids), device=ids.device)[:, None]
        pairs, counts = torch.unique((row * vocabulary + ids)[present], return_counts=True)
        word = pairs % vocabulary
        length = present.sum(dim=1)[pairs // vocabulary]
        documents = word.bincount(minlength=vocabulary)
        met = torch.cat([documents, documents.new_ones(1)]).clamp(min=1)
        idf = torch.log(len(ids) / met.double())
        share = word.bincount(counts.double() / length, minlength=vocabulary)
        return cls(documents, idf, share * idf[:-1])

    def relevance(self, ids: Tensor, *, padding: int) -> Tensor:
        """The tf-idf of the word at each place of a document, 0 at padding.

        Args:
            ids: (B, L) int64.
            padding: the id that is no word.

        Returns:
            (B, L) float64.
        """
        present = ids != padding
        row = torch.arange(len(ids), device=ids.device)[:, None]
        span = int(ids.max()) + 1 if ids.numel() else 1
        _, inverse, counts = torch.unique(row * span + ids, return_inverse=True, return_counts=True)
        length = present.sum(dim=1, keepdim=True).clamp(min=1)
        rarity = self.idf.to(ids.device)[ids.clamp(max=len(self.idf) - 1)]
        found: Tensor = counts[inverse].double() / length * rarity * present
        return found

    def draw(self, weights: Tensor, unit: Tensor) -> Tensor:
        """Words that were met, as often as their weights say; all alike if these are all zero.

        Args:
            weights: (V,) float64, at least 0.
            unit: uniform in [0, 1).

        Returns:
            int64, of the shape of `unit`.
        """
        weights = weights * (self.documents > 0)
        if not weights.sum() > 0:
            weights = (self.documents > 0).double()
        edges = weights.cumsum(0)
        places = torch.searchsorted(
            (edges / edges[-1]).to(unit.device), unit.double().contiguous(), right=True
        )
        return places.clamp_(max=len(weights) - 1)
