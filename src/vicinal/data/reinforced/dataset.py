"""A store for PyTorch's DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.data.reinforced.replay import Replay


class ReinforcedDataset(Dataset[Batch]):
    """The rows of a dataset, replayed where they are loaded.

    What a row looks like in an epoch depends on seed, epoch and row alone: not on the workers, nor
    on the order. For `DataLoader(dataset, batch_size=64, collate_fn=dataset.collate, ...)`.

    Args:
        load: some raw samples by their rows in the dataset (B,) int64; partners are loaded with it
            too. It must be picklable where workers are spawned.
        replay: what is done to them.
        rows: (N,) int64, the rows of the dataset to go through.
        seed: of the draws.
        epoch: make another one for every epoch; they share the store.
    """

    def __init__(
        self,
        load: Callable[[Tensor], Batch],
        replay: Replay,
        *,
        rows: Tensor,
        seed: int = 0,
        epoch: int = 0,
    ) -> None:
        self.load = load
        self.replay = replay
        self.rows = rows
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Batch:
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[int]) -> Batch:
        """The batch of some places, in one go; DataLoader asks for it."""
        rows = self.rows[torch.tensor(list(places))]
        batch = self.load(rows).replace(epoch=self.epoch)
        draws = Draws(self.seed, rows, self.epoch).within("replay")
        params = self.replay.sample(batch, draws)
        partners = torch.unique(self.replay.partners(params))
        if len(partners):
            batch = batch.replace(pool=self.load(partners))
        return self.replay.apply(batch, params).replace(pool=None)

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """What is loaded is a batch already."""
        return batch
