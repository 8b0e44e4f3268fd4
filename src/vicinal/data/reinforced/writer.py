"""Makes a reinforced dataset: many augmentations of every row, and what a teacher says of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from vicinal.core.augmentation import Augmentation
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.errors import InputError
from vicinal.core.probe import ask
from vicinal.core.version import VERSION
from vicinal.data.reinforced.manifest import NAME, Manifest, which_rows
from vicinal.data.reinforced.proof import prove
from vicinal.data.reinforced.recipe import described
from vicinal.data.reinforced.shards import StoredRows, checksums, shard_path, write_shard
from vicinal.data.reinforced.teacher import Teacher
from vicinal.data.reinforced.top_k import TopK


def reinforce(
    data: Batch,
    folder: str | Path,
    *,
    augmentation: Augmentation,
    teacher: Teacher,
    records: int = 20,
    top_k: int = 10,
    seed: int = 0,
    name: str = "",
    shard_rows: int = 512,
    batch_size: int = 256,
    networks: Mapping[str, nn.Module] = MappingProxyType({}),
    on_shard: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a store, or what is missing of one: every shard is there whole or not at all.

    Source: Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023, section 3, and the authors'
    reinforce.py. The dataset is gone through once, in random order, each row with all its records;
    a partner is any of the rows of the same shard. The teacher sees what the params make of raw
    samples, by the call that replays them later.

    Args:
        data: all rows to be reinforced, raw, in one tensor.
        folder: is made. If a store lies there that was begun with the same arguments, it is
            completed, with the rows that it would have had in one go.
        augmentation: draws params for raw samples, and applies them.
        teacher: judges the result.
        records: of each row of the dataset, at least 1.
        top_k: classes kept of each, at least 1.
        seed: of the params.
        name: of the data, for people.
        shard_rows: rows of the dataset in a shard, which are augmented together; at least 2.
        batch_size: rows that the teacher sees at a time.
        networks: that the augmentation asks, by name; they take raw samples.
        on_shard: called after each shard with the number of those that are there, and of all.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something else.
        TypeError: the augmentation cannot be described, or the samples are no tensor.
        ValueError: an argument is out of range, or the augmentation does not make one sample of
            each, or does not say which partners it needs.
    """
    for least, argument, value in (
        (1, "records", records),
        (1, "top_k", top_k),
        (2, "shard_rows", shard_rows),
        (1, "batch_size", batch_size),
    ):
        if value < least:
            raise ValueError(f"{argument} must be at least {least}, got {value}")
    folder = Path(folder)
    data = data[data.index.argsort()].replace(pool=None)
    manifest = Manifest(
        augmentation=described(augmentation),
        teacher=(teacher.name, teacher.fingerprint),
        data=name,
        rows=which_rows(data.index),
        shape=tuple(data.tensor.shape[1:]),
        dtype=str(data.tensor.dtype).removeprefix("torch."),
        classes=teacher.judge(data.tensor[:1]).shape[1],
        records=records,
        top_k=top_k,
        seed=seed,
        shard_rows=shard_rows,
        library=VERSION,
    )
    _begin(folder, manifest)
    fitted = augmentation.fit(data) if augmentation.unfitted else augmentation
    order = Draws(seed, data.index).within("reinforce").permutation("order")
    for number, places in enumerate(torch.split(order, shard_rows)):
        path = shard_path(folder, number)
        if not path.exists():
            batch = ask(augmentation.probes, networks, data[places.sort().values])
            rows = _records(batch, fitted, teacher, manifest, batch_size=batch_size)
            tried = _tried(augmentation, rows, manifest)
            write_shard(path, rows, store=manifest.identity(), proof=tried)
        if on_shard is not None:
            on_shard(number + 1, manifest.shards)
    return folder


def _begin(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, or hold it against the one that is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from None
    if (folder / NAME).exists():
        Manifest.read(folder).require_same(manifest, folder)
    elif any(folder.glob("[!.]*")):
        raise InputError(f"{folder} holds something else: choose an empty or a new folder")
    else:
        manifest.write(folder)
    for left in folder.glob(".*.parquet.*"):  # of a writer that was killed
        left.unlink(missing_ok=True)


def _tried(augmentation: Augmentation, rows: StoredRows, manifest: Manifest) -> list[float]:
    """The proof that a reader holds against what the params make there."""
    shape, dtype = manifest.shape, manifest.dtype
    try:
        return prove(augmentation, rows.params, rows.index, shape=shape, dtype=dtype)
    except LookupError as error:
        raise ValueError(
            f"{type(augmentation).__name__} does not say which partners it mixes in: "
            "use WithPartners(mixer, raw)"
        ) from error


def _records(
    batch: Batch,
    augmentation: Augmentation,
    teacher: Teacher,
    manifest: Manifest,
    *,
    batch_size: int,
) -> StoredRows:
    """All records of some rows, those of one row side by side."""
    count = manifest.records
    drawn = [
        augmentation.sample(
            batch.replace(epoch=record),
            Draws(manifest.seed, batch.index, record).within("reinforce"),
        )
        for record in range(count)
    ]
    if len(drawn[0]) != len(batch):
        raise ValueError(
            f"{type(augmentation).__name__} makes {len(drawn[0])} samples of {len(batch)}: a store "
            "holds augmentations that make one of each"
        )
    # From record after record to row after row.
    order = torch.arange(count * len(batch)).view(count, len(batch)).T.reshape(-1)
    params = type(drawn[0]).concatenate(drawn).detach().to("cpu")[order]
    place = torch.arange(len(batch)).repeat_interleave(count)
    said: list[Tensor] = []
    for some in torch.split(torch.arange(len(place)), batch_size):
        seen = augmentation.apply(batch[place[some]], params[some].to(batch.index.device))
        said.append(teacher.judge(seen.tensor).cpu())
    return StoredRows(
        index=batch.index.cpu()[place],
        record=torch.arange(count).repeat(len(batch)),
        picture=checksums(batch.tensor)[place],
        params=params,
        taught=TopK.of(torch.cat(said), manifest.top_k),
    )
