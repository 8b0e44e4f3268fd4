"""Objects and backgrounds of images, on disk: read by row, a few at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.errors import InputError
from vicinal.core.files import write_whole

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = "parts.json"
#: Of the layout of the files; another one is refused.
LAYOUT = 1


@dataclass(frozen=True)
class PartsManifest:
    """Everything that decides what is in a store.

    masks: name of the provider. editor: name of what edits objects; empty without edited ones.
    rows: how many images, and a hash of which rows of the dataset they are and what they show.
    shape: of an image. copies: edited objects of each. seed: of the edits. shard_rows: images in
        a file; the last may have fewer.
    """

    masks: str
    editor: str
    rows: tuple[int, str]
    shape: tuple[int, int, int]
    copies: int
    seed: int
    shard_rows: int
    layout: int = LAYOUT

    @property
    def shards(self) -> int:
        """How many files there are."""
        return -(-self.rows[0] // self.shard_rows)

    def identity(self) -> str:
        """A hash that every file carries."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def _json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def write(self, folder: Path) -> None:
        """Write it, all or nothing."""
        write_whole(folder / NAME, self._json().encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a folder. Raises InputError if there is none that can be used."""
        path = folder / NAME
        if not path.is_file():
            raise InputError(f"{folder} holds no objects and backgrounds: it has no {NAME}")
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            known = facts["layout"] == LAYOUT
            facts |= {"rows": tuple(facts["rows"]), "shape": tuple(facts["shape"])}
            if known:
                return cls(**facts)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} is damaged: make the store again") from error
        raise InputError(f"{folder} was written by another version of vicinal: make it again")


def shard_path(folder: Path, number: int) -> Path:
    """Where the file of some images lies."""
    return folder / f"parts-{number:05d}.safetensors"


class PartsStore:
    """The objects and backgrounds that `build_parts` wrote.

    Files are mapped into memory: what is not asked for is not read.

    Args:
        folder: that `build_parts` wrote.

    Attributes:
        index: (N,) int64, the rows of the dataset that it holds, ascending.
        usable: (N,) bool, whether an object was found and told from its background.

    Raises:
        InputError: the folder holds no store, or part of it is missing or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = PartsManifest.read(self.folder)
        self._shards = [self._opened(number) for number in range(self.manifest.shards)]
        self.index = torch.cat([shard["index"] for shard in self._shards])
        self.usable = torch.cat([shard["usable"] for shard in self._shards])

    def _opened(self, number: int) -> dict[str, Tensor]:
        from safetensors import SafetensorError, safe_open

        path = shard_path(self.folder, number)
        if not path.is_file():
            raise InputError(f"{path} is missing: make the store again, what is there is kept")
        try:
            with safe_open(path, framework="pt") as file:
                store = (file.metadata() or {}).get("store")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path} is damaged: remove it, and make the store again") from error
        if store != self.manifest.identity():
            raise InputError(f"{path} is of another store: remove it, and make the store again")
        return tensors

    def attach(self, data: Batch) -> Batch:
        """The samples with their parts as extras, read where they are used.

        Args:
            data: x (B, C, H, W) uint8, rows that the store holds.

        Returns:
            The batch with `object` (B, V, C + 1, H, W) uint8, its opacity as last channel, the
            edited versions behind the original; `background` (B, C, H, W) uint8, the hole of
            the object filled; and `usable` (B,) bool.

        Raises:
            InputError: the store does not hold a row, or images of another shape.
        """
        if tuple(data.tensor.shape[1:]) != self.manifest.shape:
            raise InputError(
                f"{self.folder} holds images {self.manifest.shape}, the data have "
                f"{tuple(data.tensor.shape[1:])}"
            )
        rows = data.index.cpu()
        at = torch.searchsorted(self.index, rows).clamp(max=len(self.index) - 1)
        if not torch.equal(self.index[at], rows):
            missing = int((self.index[at] != rows).sum())
            raise InputError(
                f"{self.folder} lacks {missing} of {len(rows)} rows: it was made of other data"
            )
        device = data.index.device
        extras = {
            "object": StoredColumn(self, "object", at, device),
            "background": StoredColumn(self, "background", at, device),
            "usable": self.usable[at].to(device),
        }
        return data.replace(extras={**data.extras, **extras})

    def read(self, name: str, at: Tensor, *inner: Tensor | int) -> Tensor:
        """Some rows of a column.

        Args:
            name: `object` or `background`.
            at: (...) int64, positions in the store.
            inner: positions along the axes behind, as in indexing a tensor; tensors are of the
                shape of `at`.

        Returns:
            (..., *what is left of the column's axes).
        """
        shard, place = at // self.manifest.shard_rows, at % self.manifest.shard_rows
        out: Tensor | None = None
        for number in torch.unique(shard).tolist() or [0]:
            rows = shard == number
            own = tuple(one[rows] if isinstance(one, Tensor) else one for one in inner)
            found = self._shards[number][name][(place[rows], *own)]
            if out is None:
                out = found.new_empty(*at.shape, *found.shape[1:])
            out[rows] = found
        assert out is not None
        return out


@dataclass(frozen=True, eq=False)
class StoredColumn:
    """A column of a store for the rows of a batch; it is indexed as a tensor is, and read then.

    at: (B,) int64, on the host: the rows' positions in the store.
    device: where what is read goes.
    """

    store: PartsStore
    name: str
    at: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.at)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the whole column."""
        channels, height, width = self.store.manifest.shape
        if self.name == "background":
            return (len(self), channels, height, width)
        return (len(self), 1 + self.store.manifest.copies, channels + 1, height, width)

    def __getitem__(self, where: Any) -> Tensor:
        """Some of it. where: positions, or a tuple of them, slices or masks of rows first."""
        rows, *inner = where if isinstance(where, tuple) else (where,)
        rows = rows.cpu() if isinstance(rows, Tensor) else rows
        own = [one.cpu() if isinstance(one, Tensor) else one for one in inner]
        return self.store.read(self.name, self.at[rows], *own).to(self.device)

    def map(self, function: Callable[[Any], Any]) -> Any:
        """What a batch does with all that it holds: some rows of it, or all on another device."""
        return function(self)

    def to(self, device: torch.device | str) -> StoredColumn:
        """The same, for another device."""
        return StoredColumn(self.store, self.name, self.at, torch.device(device))
