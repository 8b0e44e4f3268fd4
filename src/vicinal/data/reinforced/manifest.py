"""What a store holds and how it was made, as JSON beside the shards."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vicinal.core.errors import InputError
from vicinal.core.files import write_whole
from vicinal.core.version import VERSION

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = "manifest.json"
#: Of the layout of the files; another one is refused.
LAYOUT = 1


@dataclass(frozen=True)
class Manifest:
    """Everything that decides a store's rows.

    augmentation: as `described` writes it, with its card.
    teacher: name, and what tells teachers apart.
    data: name of the data, for people.
    rows: how many rows of the dataset have records, and a hash of which.
    shape, dtype: of a raw sample.
    classes: that the teacher knows.
    records: of each row of the dataset. top_k: classes kept of each.
    seed: of the params.
    shard_rows: rows of the dataset in a shard; the last may have fewer.
    library: version of vicinal that wrote the store. layout: of the files.
    """

    augmentation: Mapping[str, Any]
    teacher: tuple[str, str]
    data: str
    rows: tuple[int, str]
    shape: tuple[int, ...]
    dtype: str
    classes: int
    records: int
    top_k: int
    seed: int
    shard_rows: int
    library: str
    layout: int = LAYOUT

    @property
    def shards(self) -> int:
        """How many files hold the rows."""
        return -(-self.rows[0] // self.shard_rows)

    def identity(self) -> str:
        """A hash that every shard carries, so that none of another store is taken for its own."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def _json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    def write(self, folder: Path) -> None:
        """Write it, all or nothing."""
        write_whole(folder / NAME, self._json().encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a folder.

        Raises:
            InputError: there is none, it is none, or another version of the library wrote it.
        """
        path = folder / NAME
        if not path.is_file():
            raise InputError(f"{folder} is no reinforced dataset: it has no {NAME}")
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            wrote = facts["library"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} is not the manifest of a reinforced dataset") from error
        if wrote != VERSION or facts.get("layout") != LAYOUT:
            raise InputError(
                f"{folder} was written by vicinal {wrote}, and this is {VERSION}: its "
                "augmentations may do something else; use that version, or make the store anew"
            )
        lists = {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
        try:
            return cls(**facts | lists)
        except TypeError as error:
            raise InputError(f"{path} is not the manifest of a reinforced dataset") from error

    def require_same(self, other: Manifest, folder: Path) -> None:
        """Refuse to go on with a store that was begun otherwise.

        Raises:
            InputError: the two differ; the first difference is named.
        """
        for name, mine in json.loads(self._json()).items():
            if json.loads(other._json())[name] != mine:
                raise InputError(
                    f"{folder} holds a store of another {name}: choose another folder, or remove it"
                )


def which_rows(index: Tensor) -> tuple[int, str]:
    """How many rows of a dataset there are, and a hash of which. index: (N,) int64, ascending."""
    return len(index), hashlib.sha256(index.cpu().numpy().tobytes()).hexdigest()
