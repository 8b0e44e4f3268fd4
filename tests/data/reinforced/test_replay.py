"""Replaying a store: the pixels that the teacher saw, whatever the batch, order and process."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from tests.data.reinforced.ground import CLASSES, images, load, mixtures, views, write
from torch import Tensor
from torch.utils.data import DataLoader

from vicinal import Batch, Draws
from vicinal.core import registry
from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.data.reinforced import (
    ReinforcedDataset,
    ReinforcedStore,
    Replay,
    Teacher,
    reinforce,
)
from vicinal.mixers.choice import RandomChoice
from vicinal.mixers.interpolate import Mixup
from vicinal.mixers.paste import CutMix
from vicinal.mixers.with_partners import WithPartners
from vicinal.testing import samples
from vicinal.testing.comparison import difference
from vicinal.testing.network import Network
from vicinal.testing.subject import Subject
from vicinal.transforms.image.flip import HorizontalFlip


class Witness:
    """A teacher that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Tensor] = []

    def judge(self, x: Tensor) -> Tensor:
        self.shown.append(x)
        return torch.full((len(x), CLASSES), 1 / CLASSES)

    def by_row(self, folder: Path) -> dict[tuple[int, int], Tensor]:
        """The sample that was shown for each row of the dataset and record."""
        x = torch.cat(self.shown[1:])  # the first tells how many classes there are
        index, record = [], []
        for path in sorted(folder.glob("*.parquet")):
            table = pq.read_table(path, columns=["index", "record"])
            index += table["index"].to_pylist()
            record += table["record"].to_pylist()
        return {key: x[at] for at, key in enumerate(zip(index, record, strict=True))}


def seen_and_replayed(
    folder: Path, augmentation: Augmentation, data: Batch, **options: object
) -> None:
    """Write, read in another order, and hold every pixel against what the teacher saw."""
    witness = Witness()
    teacher = Teacher("a witness", "1", witness.judge)
    settings = {"records": 2, "top_k": 3, "shard_rows": 8} | options
    reinforce(data, folder, augmentation=augmentation, teacher=teacher, **settings)  # type: ignore[arg-type]
    shown = witness.by_row(folder)
    assert len(shown) == 2 * len(data)
    store = ReinforcedStore(folder)
    generator = torch.Generator().manual_seed(3)
    for some in torch.randperm(len(data), generator=generator).split(3):
        batch = data[some]  # partners are looked up in the whole
        for record in range(2):
            place = store.locate(batch.index, torch.full_like(some, record))
            again = store.augmentation.apply(batch, store.rows.params[place].to(data.index.device))
            wanted = torch.stack([shown[row, record] for row in batch.index.tolist()])
            assert difference(again.tensor, wanted, name="pixels") == ""


IMAGES = [
    component
    for kind in ("transform", "policy", "mixer")
    for component in registry.components(kind)
    if component.__module__.startswith("vicinal.") and component.card.suits("image")
]


@pytest.mark.parametrize("component", IMAGES, ids=lambda one: one.__name__)
def test_every_augmentation_of_images_is_replayed_bit_for_bit(
    component: type[Augmentation], tmp_path: Path
) -> None:
    augmentation, subject = component(), Subject(component(), "image")
    batch = subject.batch(19)
    asked = {"model": Network.of(batch)} if augmentation.probes else {}
    one_of_each = len(subject.params(batch)) == len(batch)
    batch = batch.replace(evidence={})
    if not one_of_each:
        with pytest.raises(ValueError, match="a store holds augmentations that make one of each"):
            seen_and_replayed(tmp_path, augmentation, batch, networks=asked)
        return
    seen_and_replayed(tmp_path, augmentation, batch, networks=asked)


@pytest.mark.parametrize(
    "mixer",
    [one for one in IMAGES if issubclass(one, Mixer) and not one().probes],
    ids=lambda one: one.__name__,
)
def test_every_mixer_is_replayed_with_partners_that_have_views_of_their_own(
    mixer: type[Mixer], tmp_path: Path
) -> None:
    kind = mixer.card.targets[0]
    data = samples.make_batch("image", 19, kind=kind, dtype=torch.uint8, stage="raw")
    subject = Subject(mixer(), "image")
    if len(subject.params(subject.batch(19))) != 19:
        with pytest.raises(ValueError, match=r"makes \d+ samples of \d+: partners are transformed"):
            seen_and_replayed(tmp_path, WithPartners(mixer(), views()), data)
        return
    seen_and_replayed(tmp_path, WithPartners(mixer(), views()), data)


def test_one_of_two_mixers_is_replayed(tmp_path: Path) -> None:
    either = RandomChoice([Mixup(), CutMix()])
    seen_and_replayed(tmp_path, WithPartners(either, views()), images(19))


def test_a_mixed_record_needs_no_batch_but_its_partner(tmp_path: Path) -> None:
    store = ReinforcedStore(write(tmp_path, mixtures()))
    whole = store.augmentation.apply(
        images()[torch.arange(40).repeat_interleave(3)], store.rows.params
    )
    away = 0
    for place in range(0, 120, 7):
        params = store.rows.params[place : place + 1]
        row = store.rows.index[place : place + 1]
        alone = load(row).replace(pool=load(store.augmentation.partners(params)))
        away += int(row) not in alone.pool.index.tolist()  # type: ignore[union-attr]
        again = store.augmentation.apply(alone, params)
        assert torch.equal(again.tensor, whole.tensor[place : place + 1])
    assert away > 10


FRESH = """
import sys
import torch
from tests.data.reinforced.ground import images
from vicinal.data.reinforced import ReinforcedStore

store = ReinforcedStore(sys.argv[1])
batch = images()[torch.arange(40).repeat_interleave(3)]
torch.set_num_threads(1)
seen = store.augmentation.apply(batch, store.rows.params).tensor
sys.stdout.buffer.write(seen.contiguous().numpy().tobytes())
"""


def test_a_fresh_process_replays_the_same_pixels_from_shuffled_shards(tmp_path: Path) -> None:
    store = ReinforcedStore(write(tmp_path, mixtures()))
    batch = images()[torch.arange(40).repeat_interleave(3)]
    seen = store.augmentation.apply(batch, store.rows.params).tensor
    # The first shard and the last change places, and the rows within one are turned around.
    first, last = tmp_path / "shard-00000.parquet", tmp_path / "shard-00002.parquet"
    table = pq.read_table(first)
    backwards = table.take(list(reversed(range(len(table)))))
    last.rename(first)
    pq.write_table(backwards.replace_schema_metadata(table.schema.metadata), last)
    rewrite_proof(last)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        check=True,
    )
    assert done.stdout == seen.contiguous().numpy().tobytes()


def rewrite_proof(path: Path) -> None:
    """The proof is of the first rows of a shard, whichever they are."""
    from vicinal.data.reinforced import shards
    from vicinal.data.reinforced.manifest import Manifest
    from vicinal.data.reinforced.proof import prove

    store = Manifest.read(path.parent).identity()
    rows, _ = shards.read_shard(path, store=store)
    proof = prove(mixtures(), rows.params, rows.index, shape=(3, 8, 8), dtype="uint8")
    shards.write_shard(path, rows, store=store, proof=proof)


# Which record, and how often.


def epochs(replay: Replay, count: int) -> Tensor:
    """The places drawn for all images in that many epochs. Returns (count, 40)."""
    rows = images().index
    drawn = [
        replay.sample(images(), Draws(5, rows, epoch).within("replay")).place
        for epoch in range(count)
    ]
    return torch.stack(drawn)


def test_every_record_of_an_image_is_drawn_as_often(tmp_path: Path) -> None:
    replay = Replay(ReinforcedStore(write(tmp_path)), prob=1)
    place = epochs(replay, 300)
    assert torch.equal(place // 3, torch.arange(40).expand(300, 40))  # each image its own
    for image in range(40):
        counts = torch.bincount(place[:, image] % 3, minlength=3)
        assert counts.sum() == 300
        assert stats.chisquare(counts.numpy()).pvalue > 1e-5
    assert stats.chisquare(torch.bincount((place % 3).flatten()).numpy()).pvalue > 1e-3


def test_the_share_that_is_replayed_is_the_one_asked_for(tmp_path: Path) -> None:
    store = ReinforcedStore(write(tmp_path))
    batch = images()
    for prob in (0.5, 0.99):
        replay = Replay(store, prob=prob)
        drawn = [replay.sample(batch, Draws(5, batch.index, epoch)) for epoch in range(300)]
        replayed = sum(int(one.replayed.sum()) for one in drawn)
        assert stats.binomtest(replayed, 300 * 40, prob).pvalue > 1e-3
    with pytest.raises(ValueError, match=r"prob must be in \[0, 1\], got 1.5"):
        Replay(store, prob=1.5)


def test_what_is_not_replayed_gets_the_ordinary_augmentation_and_its_label(tmp_path: Path) -> None:
    store = ReinforcedStore(write(tmp_path, mixtures()))
    replay = Replay(store, prob=0.5, ordinary=HorizontalFlip(prob=1.0))
    batch = images()
    params = replay.sample(batch, Draws(1, batch.index))
    result = replay.apply(batch, params)
    dense = result.target.dense(CLASSES)  # type: ignore[union-attr]
    told = store.rows.taught[params.place].target(CLASSES).dense(CLASSES)
    again = store.augmentation.apply(batch, store.rows.params[params.place])
    assert set(params.replayed.tolist()) == {True, False}
    for at, replayed in enumerate(params.replayed.tolist()):
        if replayed:
            assert torch.equal(result.tensor[at], again.tensor[at])
            assert torch.equal(dense[at], told[at])
        else:
            assert torch.equal(result.tensor[at], batch.tensor[at].flip(-1).float())
            assert dense[at].nonzero().flatten().tolist() == [at % CLASSES]
    assert torch.equal(result.index, batch.index)


def test_without_a_store_nothing_is_replayed_and_with_all_of_it_no_label_is_read(
    tmp_path: Path,
) -> None:
    store, batch = ReinforcedStore(write(tmp_path)), images()
    never = Replay(store, prob=0).augment(batch, Draws(0, batch.index))[0]
    assert torch.equal(never.tensor, batch.tensor)
    always = Replay(store, prob=1).augment(batch.replace(target=None), Draws(0, batch.index))[0]
    assert always.target is not None


# Another number of workers, another order.


def loaded(dataset: ReinforcedDataset, **options: object) -> dict[int, tuple[Tensor, Tensor]]:
    """Every row's pixels and label, as a DataLoader delivers them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            collate_fn=dataset.collate,
            generator=torch.Generator().manual_seed(0),
            **options,  # type: ignore[arg-type]
        )
        found = {}
        for batch in loader:
            dense = batch.target.dense(CLASSES)
            found |= {
                row: (batch.tensor[at], dense[at]) for at, row in enumerate(batch.index.tolist())
            }
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 40},
        {"batch_size": 7, "shuffle": True},
        {"batch_size": 7, "num_workers": 1},
        {"batch_size": 3, "num_workers": 4, "shuffle": True},
    ],
    ids=str,
)
def test_workers_and_order_make_no_difference(tmp_path: Path, options: dict[str, object]) -> None:
    replay = Replay(ReinforcedStore(write(tmp_path, mixtures())), prob=0.7)
    rows = images().index
    for epoch in (0, 1):
        dataset = ReinforcedDataset(load, replay, rows=rows, seed=4, epoch=epoch)
        wanted = {int(row): dataset[at] for at, row in enumerate(rows)}
        found = loaded(dataset, **options)
        assert found.keys() == wanted.keys()
        for row, (x, dense) in found.items():
            assert torch.equal(x, wanted[row].tensor[0])
            assert torch.equal(dense, wanted[row].target.dense(CLASSES)[0])  # type: ignore[union-attr]


def test_a_store_travels_to_another_process_by_its_path(tmp_path: Path) -> None:
    import pickle

    store = ReinforcedStore(write(tmp_path))
    sent = pickle.dumps(store)
    assert len(sent) < 500
    assert pickle.loads(sent).rows.params.equal(store.rows.params)
