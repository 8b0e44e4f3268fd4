"""A reinforced dataset, opened."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.errors import InputError
from vicinal.core.target import ClassTarget
from vicinal.data.reinforced.manifest import Manifest
from vicinal.data.reinforced.proof import agree, prove
from vicinal.data.reinforced.recipe import rebuilt
from vicinal.data.reinforced.shards import StoredRows, checksums, read_shard, shard_path
from vicinal.data.reinforced.top_k import Densify


class ReinforcedStore:
    """The records of a store, in memory: about a hundred bytes each.

    The object is copied to another process by its path.

    Args:
        folder: that `reinforce` wrote.

    Raises:
        InputError: it is no store, it is incomplete, another version of the library wrote it, or
            its augmentation is not here any more or no longer does what it did.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)
        self.augmentation = rebuilt(self.manifest.augmentation)
        identity = self.manifest.identity()
        parts = []
        for number in range(self.manifest.shards):
            rows, proof = read_shard(shard_path(self.folder, number), store=identity)
            self._require_proof(rows, proof)
            parts.append(rows)
        rows = StoredRows.concatenate(parts)
        # By row of the dataset, and by record within a row, whatever order they were stored in.
        by_record = rows.record.argsort(stable=True)
        self.rows = rows[by_record[rows.index[by_record].argsort(stable=True)]]
        self.index = self.rows.index[:: self.manifest.records].clone()
        self._targets: dict[Densify, ClassTarget] = {}

    def __reduce__(self) -> tuple[type[ReinforcedStore], tuple[Path]]:
        return type(self), (self.folder,)

    def __len__(self) -> int:
        return len(self.rows)

    def locate(self, index: Tensor, record: Tensor) -> Tensor:
        """Where records lie in `rows`.

        Args:
            index: (B,) int64, rows of the dataset.
            record: (B,) int64, below the number of records of a row.

        Returns:
            (B,) int64.

        Raises:
            LookupError: a row of the dataset has no records here.
        """
        index = index.cpu()
        place = torch.searchsorted(self.index, index).clamp_(max=len(self.index) - 1)
        lost = index[self.index[place] != index]
        if len(lost):
            raise LookupError(f"rows {lost[:5].tolist()} are not in the store {self.folder}")
        return place * self.manifest.records + record.cpu()

    def targets(self, densify: Densify = "smooth") -> ClassTarget:
        """What the teacher said of all rows, as `TopK.target` says; made once."""
        if densify not in self._targets:
            taught = self.rows.taught
            self._targets[densify] = taught.target(self.manifest.classes, densify=densify)
        return self._targets[densify]

    def require(self, data: Batch) -> None:
        """Refuse data that the store was not made of.

        Args:
            data: all rows to be trained on, raw. Their partners must be among them.

        Raises:
            InputError: a row has no records here, is another sample than the one that has, or is
                mixed with one that is not among the data.
        """
        index = data.index.cpu()
        missing = index[~torch.isin(index, self.index)]
        if len(missing):
            raise InputError(
                f"{self.folder} has no records of {len(missing)} of the {len(index)} training "
                f"rows, such as {int(missing[0])}: make it of the same data and split"
            )
        first = self.locate(index, torch.zeros_like(index))
        same = checksums(data.tensor) == self.rows.picture[first]
        if not same.all():
            raise InputError(
                f"{self.folder} was made of other data: {int((~same).sum())} of the {len(index)} "
                "training rows are not the samples they were"
            )
        here = self.rows[torch.isin(self.rows.index, index)]
        away = ~torch.isin(partners_of(self, here), index)
        if away.any():
            raise InputError(
                f"{self.folder} mixes training rows with {int(away.sum())} partners that are not "
                "trained on here: make it of the same data and split"
            )

    def _require_proof(self, rows: StoredRows, wanted: list[float]) -> None:
        name = type(self.augmentation).__name__
        shape, dtype = self.manifest.shape, self.manifest.dtype
        try:
            found = prove(self.augmentation, rows.params, rows.index, shape=shape, dtype=dtype)
        except Exception as error:  # whatever an augmentation makes of params it does not know
            raise InputError(
                f"{self.folder}: {name} cannot apply the stored params any more: {error}"
            ) from error
        if not agree(found, wanted, dtype=dtype):
            raise InputError(
                f"{self.folder}: {name} does something else now than when the store was written: "
                "make it anew"
            )


def partners_of(store: ReinforcedStore, rows: StoredRows) -> Tensor:
    """The rows of the dataset that some records mix in. Returns (M,) int64."""
    if not isinstance(store.augmentation, Mixer):
        return torch.zeros(0, dtype=torch.int64)
    return store.augmentation.partners(rows.params)
