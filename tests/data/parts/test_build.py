"""A store of parts: what it holds, and that it is made whole, once, and of one mould."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.errors import InputError
from vicinal.data.parts import GivenMasks, PartsStore, build_parts


class Darker:
    """Halves every colour, and a random channel once more."""

    name = "darker"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, objects: Tensor, batch: Batch, draws: Draws) -> Tensor:
        self.asked += 1
        made = objects.clone()
        made[:, :-1] //= 2
        made[:, 0] //= 1 + draws.below("channel", 3)[:, None, None].to(torch.uint8)
        return made


def data(count: int = 11) -> tuple[Batch, GivenMasks]:
    """Images of unordered rows; that of row 5 is all object, that of row 6 has none."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 12, 10), generator=generator, dtype=torch.uint8)
    index = torch.randperm(count, generator=generator)
    masks = torch.zeros(count, 12, 10, dtype=torch.bool)
    masks[:, 4:9, 3:8] = True
    masks[5], masks[6] = True, False
    return Batch.of(images, torch.arange(count) % 3).replace(index=index), GivenMasks(masks)


def built(folder: Path, copies: int = 2, **options: object) -> PartsStore:
    batch, masks = data()
    editor = Darker() if copies else None
    build_parts(batch, folder, masks=masks, editor=editor, copies=copies, shard_rows=4, **options)  # type: ignore[arg-type]
    return PartsStore(folder)


def test_parts_are_read_by_row_whatever_their_order(tmp_path: Path) -> None:
    store = built(tmp_path)
    batch, _ = data()
    attached = store.attach(batch)
    objects, background = attached.extras["object"], attached.extras["background"]
    assert objects.shape == (11, 3, 4, 12, 10)
    assert torch.equal(objects[torch.arange(11), 0, :3], batch.tensor)
    picked = torch.tensor([[9, 2], [2, 4]])
    variant = torch.tensor([[0, 1], [2, 0]])
    both = objects[picked, variant]
    assert torch.equal(both[0, 1], objects[torch.tensor([2])][0, 1])
    assert torch.equal(objects[picked, variant, -1], both[:, :, -1])
    assert background[torch.tensor([3])].shape == (1, 3, 12, 10)
    some = attached[torch.tensor([8, 1])]
    assert torch.equal(some.extras["background"], background[torch.tensor([8, 1])])


def test_an_image_without_an_object_of_its_own_is_all_object(tmp_path: Path) -> None:
    store = built(tmp_path)
    assert store.index[~store.usable].tolist() == [5, 6]
    batch, _ = data()
    attached = store.attach(batch)
    whole = (~attached.extras["usable"]).nonzero()[:, 0]
    assert (attached.extras["object"][whole, 0, -1] == 255).all()
    assert torch.equal(attached.extras["background"][whole], batch.tensor[whole])


def test_backgrounds_are_the_image_but_within_two_pixels_of_the_object(tmp_path: Path) -> None:
    store = built(tmp_path)
    batch, _ = data()
    attached = store.attach(batch)
    usable = attached.extras["usable"].nonzero()[:, 0]
    unlike = (attached.extras["background"][usable] != batch.tensor[usable]).any(dim=1)
    rows, columns = unlike.any(dim=2).any(dim=0), unlike.any(dim=1).any(dim=0)
    assert rows.nonzero()[:, 0].tolist() == list(range(2, 11))
    assert columns.nonzero()[:, 0].tolist() == list(range(1, 10))


def test_a_stopped_build_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    batch, masks = data()

    class Stopped(Exception):
        pass

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise Stopped

    editor = Darker()
    options = {"masks": masks, "editor": editor, "copies": 2, "shard_rows": 4}
    with pytest.raises(Stopped):
        build_parts(batch, tmp_path / "one", on_shard=stop, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"parts-00002\.safetensors is missing"):
        PartsStore(tmp_path / "one")
    (tmp_path / "one" / ".parts-00002.safetensors.x").write_bytes(b"half")
    asked = editor.asked
    build_parts(batch, tmp_path / "one", **options)  # type: ignore[arg-type]
    assert editor.asked == asked + 2  # one file of two copies
    build_parts(batch, tmp_path / "two", **options)  # type: ignore[arg-type]
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    store = built(tmp_path / "store")
    with pytest.raises(InputError, match="made with other seed"):
        built(tmp_path / "store", seed=4)
    batch, masks = data()
    with pytest.raises(InputError, match="lacks 1 of 1 rows: it was made of other data"):
        store.attach(batch[:1].replace(index=torch.tensor([77])))
    with pytest.raises(
        InputError, match=r"holds images \(3, 12, 10\), the data have \(1, 12, 10\)"
    ):
        store.attach(batch.replace(x=batch.tensor[:, :1]))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("hello")
    with pytest.raises(InputError, match="holds something else"):
        build_parts(batch, tmp_path / "other", masks=masks)
    with pytest.raises(InputError, match=r"has no parts\.json"):
        PartsStore(tmp_path / "other")
    with pytest.raises(ValueError, match="2 copies need an editor"):
        build_parts(batch, tmp_path / "new", masks=masks, copies=2)
    with pytest.raises(TypeError, match="uint8"):
        build_parts(batch.replace(x=batch.tensor.float()), tmp_path / "new", masks=masks)


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    built(tmp_path / "one")
    built(tmp_path / "two", copies=0)
    shard = tmp_path / "one" / "parts-00001.safetensors"
    shard.write_bytes((tmp_path / "two" / "parts-00001.safetensors").read_bytes())
    with pytest.raises(InputError, match="is of another store"):
        PartsStore(tmp_path / "one")
    shard.write_bytes(b"\x80\x04broken")
    with pytest.raises(InputError, match="is damaged"):
        PartsStore(tmp_path / "one")
