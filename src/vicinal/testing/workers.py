"""Augmenting in the workers of a DataLoader gives what the main process gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch.utils.data import DataLoader, Dataset

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.testing.failure import expect_same, given
from vicinal.testing.subject import Named, Subject

Context = Literal["fork", "spawn"]
CONTEXTS: tuple[Context, ...] = ("fork", "spawn")


class AugmentedBatches(Dataset[Batch]):
    """Item i is the i-th batch, augmented where the item is asked for."""

    def __init__(self, work: Sequence[tuple[Augmentation, Batch]], seed: int) -> None:
        self.work = list(work)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, place: int) -> Batch:
        augmentation, batch = self.work[place]
        return augmentation.augment(batch, Draws(self.seed, batch.index))[0]


def augmented_in_workers(
    work: Sequence[tuple[Augmentation, Batch]], context: Context, *, seed: int = 0
) -> list[Batch]:
    """Each batch augmented by a worker: one of two that are forked, or one that is spawned.

    Args:
        work: augmentations, each with its batch.
        context: how the workers are started; a spawned one imports everything anew, and takes
            seconds.
        seed: of the draws.
    """
    loader = DataLoader(
        AugmentedBatches(work, seed),
        batch_size=None,
        num_workers=2 if context == "fork" else 1,
        multiprocessing_context=context,
        # The base seed of the workers would come from torch's global generator.
        generator=torch.Generator().manual_seed(0),
    )
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads, and torch has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        # torch warns of more workers than processors.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        return list(loader)


def works_in_workers(subject: Subject, *, context: Context) -> None:
    batch = subject.batch()
    with given(f"a DataLoader whose workers are started by {context}"):
        # A second batch, for the second worker.
        work = [(subject.ready(some), some) for some in (batch, subject.batch(5))]
        results = augmented_in_workers(work, context)
        for (_, own), result in zip(work, results, strict=True):
            expect_same(result, subject.result(own), "what the main process gives")


def checks(subject: Subject) -> Iterator[Named]:
    """A check for each way to start a worker that this system has."""
    for context in CONTEXTS:
        if context in torch.multiprocessing.get_all_start_methods():
            yield f"works_in_workers_by_{context}", partial(works_in_workers, context=context)
