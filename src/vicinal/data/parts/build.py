"""Takes images apart, once: the object with its opacity, edited versions of it, the background."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.errors import InputError
from vicinal.core.files import write_whole
from vicinal.data.parts.fill import filled
from vicinal.data.parts.masks import MaskProvider, feathered, grown
from vicinal.data.parts.store import NAME, PartsManifest, shard_path

#: A mask that covers less or more of its image tells no object from its background.
LEAST, MOST = 0.01, 0.9
#: How far beyond the mask the background is filled, in pixels: its edge has colours of both.
MARGIN = 2


class Editor(Protocol):
    """Makes other versions of objects that are still what they were.

    name: with all settings; a store that was begun with another is not gone on with.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, objects: Tensor, batch: Batch, draws: Draws) -> Tensor:
        """One version of each.

        Args:
            objects: (B, C + 1, H, W) uint8, opacity as last channel.
            batch: of the images that they are from, with targets if there are any.
            draws: for its rows.

        Returns:
            (B, C + 1, H, W) uint8.
        """
        ...


def build_parts(
    data: Batch,
    folder: str | Path,
    *,
    masks: MaskProvider,
    editor: Editor | None = None,
    copies: int = 0,
    seed: int = 0,
    shard_rows: int = 256,
    on_shard: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a store of objects and backgrounds, or what is missing of one.

    Every file is there whole or not at all. An image whose mask is empty or nearly full is its own
    object, all of it opaque, and lends no background.

    Source: De-DA (2024), sections on class-dependent and class-independent parts.

    Args:
        data: all images, (N, C, H, W) uint8.
        folder: is made. A store there that was begun with the same arguments is completed, with
            what it would have had in one go.
        masks: says where objects are.
        editor: makes the edited versions.
        copies: edited versions of each object, >= 0.
        seed: of the edits.
        shard_rows: images in a file, >= 1.
        on_shard: called after each file with the number of those that are there, and of all.

    Returns:
        The folder.

    Raises:
        InputError: the folder holds something else, or cannot be made.
        TypeError: the images are not uint8.
        ValueError: a value is out of range, or there are copies and no editor.
    """
    if copies < 0 or shard_rows < 1:
        raise ValueError(
            f"copies must be at least 0 and shard_rows at least 1, got {copies} and {shard_rows}"
        )
    if copies and editor is None:
        raise ValueError(f"{copies} copies need an editor")
    if data.tensor.dtype != torch.uint8 or data.tensor.dim() != 4:
        raise TypeError(
            f"x must be images (N, C, H, W) uint8, got {data.tensor.dtype} "
            f"{tuple(data.tensor.shape)}"
        )
    folder = Path(folder)
    data = data[data.index.argsort()].replace(pool=None)
    channels, height, width = data.tensor.shape[1:]
    manifest = PartsManifest(
        masks=masks.name,
        editor=editor.name if editor is not None and copies else "",
        rows=(len(data), _content(data)),
        shape=(channels, height, width),
        copies=copies,
        seed=seed,
        shard_rows=shard_rows,
    )
    _begin(folder, manifest)
    for number, rows in enumerate(torch.split(torch.arange(len(data)), shard_rows)):
        path = shard_path(folder, number)
        if not path.exists():
            _write(path, _parts(data[rows], masks, editor, manifest), manifest)
        if on_shard is not None:
            on_shard(number + 1, manifest.shards)
    return folder


def _parts(
    batch: Batch, masks: MaskProvider, editor: Editor | None, manifest: PartsManifest
) -> dict[str, Tensor]:
    """What a file holds."""
    images = batch.tensor
    found = masks(images, batch.index)
    if found.shape != (len(images), *images.shape[2:]) or found.dtype != torch.bool:
        raise ValueError(
            f"masks {masks.name} must give (B, H, W) bool for {tuple(images.shape)}, "
            f"got {found.dtype} {tuple(found.shape)}"
        )
    covered = found.float().mean(dim=(1, 2))
    usable = (covered >= LEAST) & (covered <= MOST)
    found = found | ~usable[:, None, None]
    opacity = (feathered(found) * 255 + 0.5).to(torch.uint8)[:, None]
    versions = [torch.cat([images, opacity], dim=1)]
    draws = Draws(manifest.seed, batch.index).within("edit")
    for copy in range(manifest.copies):
        assert editor is not None
        versions.append(editor(versions[0], batch, draws.within(str(copy))))
    background = filled(images, grown(found, MARGIN) & usable[:, None, None])
    return {
        "index": batch.index.cpu(),
        "usable": usable.cpu(),
        "object": torch.stack(versions, dim=1).cpu(),
        "background": background.cpu(),
    }


def _write(path: Path, parts: dict[str, Tensor], manifest: PartsManifest) -> None:
    from safetensors.torch import save

    whole = {name: tensor.contiguous() for name, tensor in parts.items()}
    write_whole(path, save(whole, metadata={"store": manifest.identity()}))


def _begin(folder: Path, manifest: PartsManifest) -> None:
    """Write the manifest, or hold it against the one that is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from None
    if (folder / NAME).exists():
        before = PartsManifest.read(folder)
        unlike = [name for name in vars(manifest) if getattr(before, name) != vars(manifest)[name]]
        if unlike:
            raise InputError(
                f"{folder} holds parts made with other {', '.join(unlike)}: choose a new folder"
            )
    elif any(folder.glob("[!.]*")):
        raise InputError(f"{folder} holds something else: choose an empty or a new folder")
    else:
        manifest.write(folder)
    for left in folder.glob(".parts-*"):  # of a writer that was killed
        left.unlink(missing_ok=True)


def _content(data: Batch) -> str:
    """A hash of which rows of the dataset there are, and of their images."""
    digest = hashlib.sha256(data.index.cpu().numpy().tobytes())
    for some in torch.split(data.tensor, 1024):
        digest.update(some.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
