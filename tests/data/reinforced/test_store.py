"""Writing a store, going on with one, and refusing what is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from tests.data.reinforced.ground import images, judge, mixtures, views, write

import vicinal
from vicinal.core.errors import InputError
from vicinal.data.reinforced import ReinforcedStore, Teacher, reinforce, writer
from vicinal.mixers.paste import CutMix
from vicinal.policies.randaugment import RandAugment
from vicinal.transforms.image import operations
from vicinal.transforms.image.crop import PadCrop
from vicinal.transforms.sequence import Sequence


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_store_holds_every_record_of_every_row(tmp_path: Path) -> None:
    store = ReinforcedStore(write(tmp_path))
    assert len(store) == 40 * 3
    assert store.index.tolist() == images().index.tolist()
    assert store.rows.index.tolist() == images().index.repeat_interleave(3).tolist()
    assert store.rows.record.tolist() == [0, 1, 2] * 40
    # No two records of a row are the same augmentation.
    crops = store.rows.params.parts[0].corner.view(40, 3, 2)
    assert (crops[:, 0] != crops[:, 1]).any()


def test_what_the_teacher_said_is_of_what_the_params_make(tmp_path: Path) -> None:
    for name, augmentation in (("plain", views()), ("mixed", mixtures())):
        store = ReinforcedStore(write(tmp_path / name, augmentation))
        batch = images()[torch.arange(40).repeat_interleave(3)]
        seen = augmentation.apply(batch, store.rows.params)
        said = judge(seen.tensor).float().topk(5)
        assert torch.equal(store.rows.taught.label, said.indices)
        assert torch.equal(store.rows.taught.probability, said.values.half())


def test_rows_are_columns_that_anybody_can_read(tmp_path: Path) -> None:
    write(tmp_path, mixtures())
    table = pq.read_table(tmp_path / "shard-00000.parquet")
    names = set(table.column_names)
    assert names >= {"index", "record", "topk_id", "topk_p", "rest"}
    assert names >= {"params.mixing.partner", "params.others.0.parts.2.operation"}
    kept = table.schema.field("topk_p").type
    assert (str(kept.value_type), kept.list_size) == ("halffloat", 5)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["library"] == vicinal.__version__
    assert manifest["teacher"] == ["a fixed one", "1"]
    assert manifest["shape"] == [3, 8, 8]
    raw = manifest["augmentation"]["settings"]["raw"]
    assert [part["card"]["name"] for part in raw["settings"]["parts"]] == [
        "pad_crop",
        "horizontal_flip",
        "randaugment",
    ]
    assert raw["settings"]["parts"][2]["settings"]["magnitude"] == 9


def test_nothing_is_pickled(tmp_path: Path) -> None:
    write(tmp_path, mixtures())
    for name, content in files(tmp_path).items():
        assert name == "manifest.json" or content[:4] == content[-4:] == b"PAR1"


def test_a_seed_gives_the_same_files_and_another_seed_other_rows(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", mixtures()), write(tmp_path / "b", mixtures())
    assert files(first) == files(second)
    other = ReinforcedStore(write(tmp_path / "c", mixtures(), seed=1))
    assert not other.rows.params.equal(ReinforcedStore(first).rows.params)


def test_a_writer_that_is_stopped_between_shards_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "whole", mixtures())

    def stop(done: int, _shards: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "parts", mixtures(), on_shard=stop)
    assert "shard-00002.parquet" not in files(tmp_path / "parts")
    with pytest.raises(InputError, match=r"shard-00002.parquet is missing: make the store again"):
        ReinforcedStore(tmp_path / "parts")
    made: list[int] = []
    original = writer.write_shard
    monkeypatch.setattr(
        writer,
        "write_shard",
        lambda path, *a, **b: (made.append(path.name), original(path, *a, **b)),
    )
    write(tmp_path / "parts", mixtures())
    assert made == ["shard-00002.parquet"]
    assert files(tmp_path / "parts") == files(whole)


KILLED = """
import os, signal, sys
from tests.data.reinforced.ground import mixtures, write
from vicinal.core import files

# The second shard is half written when the process is killed.
written = []
sync = os.fsync
def kill(handle):
    written.append(handle)
    if len(written) == 3:  # after the manifest and the first shard
        os.kill(os.getpid(), signal.SIGKILL)
    sync(handle)
files.os.fsync = kill
write(__import__("pathlib").Path(sys.argv[1]), mixtures())
"""


def test_a_writer_that_is_killed_in_the_middle_of_a_shard_is_taken_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": "."},
    )
    assert done.returncode == -signal.SIGKILL
    left = files(tmp_path / "killed")
    assert {"manifest.json", "shard-00000.parquet"} < set(left)
    assert any(name.startswith(".shard-00001.parquet.") for name in left)
    assert "shard-00001.parquet" not in left
    write(tmp_path / "killed", mixtures())
    assert files(tmp_path / "killed") == files(write(tmp_path / "whole", mixtures()))


@pytest.mark.parametrize(
    "options, differs",
    [
        ({"seed": 1}, "seed"),
        ({"records": 4}, "records"),
        ({"teacher": Teacher("another", "2", judge)}, "teacher"),
        ({"augmentation": RandAugment(magnitude=3)}, "augmentation"),
    ],
)
def test_a_store_is_not_completed_by_another(
    tmp_path: Path, options: dict[str, object], differs: str
) -> None:
    write(tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match=f"holds a store of another {differs}: choose another"):
        write(tmp_path, **options)
    assert files(tmp_path) == before


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter one")
    with pytest.raises(InputError, match="holds something else: choose an empty or a new folder"):
        write(tmp_path)
    assert list(files(tmp_path)) == ["thesis.tex"]


# What a reader refuses.


def edited(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        ReinforcedStore(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_another_version_of_the_library_is_refused(tmp_path: Path) -> None:
    folder = edited(write(tmp_path), lambda manifest: manifest.update(library="0.0.9"))
    assert f"was written by vicinal 0.0.9, and this is {vicinal.__version__}" in refusal(folder)


def test_an_augmentation_that_is_not_there_is_refused(tmp_path: Path) -> None:
    def lose(manifest: dict[str, object]) -> None:
        manifest["augmentation"]["settings"]["parts"][2]["class"] = "vicinal.policies.Lost"  # type: ignore[index]

    assert "there is no vicinal.policies.Lost here any more" in refusal(
        edited(write(tmp_path), lose)
    )


def test_settings_that_are_refused_now_are_named(tmp_path: Path) -> None:
    def stronger(manifest: dict[str, object]) -> None:
        parts = manifest["augmentation"]["settings"]["parts"]  # type: ignore[index]
        parts[2]["settings"]["magnitude"] = 99

    assert "magnitude must be below num_bins" in refusal(edited(write(tmp_path), stronger))


def test_operations_that_are_renumbered_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path)
    bank = list(operations.OPERATIONS)
    swapped = operations.NUMBER["rotate"], operations.NUMBER["shear_x"]
    bank[swapped[0]], bank[swapped[1]] = bank[swapped[1]], bank[swapped[0]]
    monkeypatch.setattr(operations, "OPERATIONS", tuple(bank))
    assert "Sequence does something else now than when the store was written" in refusal(folder)


def test_an_operation_that_is_missing_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path)
    monkeypatch.setattr(operations, "_RANK", operations._RANK[:-1])
    assert "Sequence cannot apply the stored params any more" in refusal(folder)


def test_settings_that_were_changed_are_noticed(tmp_path: Path) -> None:
    def pad_more(manifest: dict[str, object]) -> None:
        parts = manifest["augmentation"]["settings"]["parts"]  # type: ignore[index]
        parts[0]["settings"]["padding"] = 2

    # The shards carry the hash of the manifest that they were written under.
    assert "belongs to another store" in refusal(edited(write(tmp_path), pad_more))


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    assert "is no reinforced dataset: it has no manifest.json" in refusal(tmp_path)
    assert "is no reinforced dataset" in refusal(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("[]")
    assert "is not the manifest of a reinforced dataset" in refusal(tmp_path)
    (tmp_path / "manifest.json").unlink()
    shard = write(tmp_path) / "shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-40])
    assert "shard-00001.parquet is damaged" in refusal(tmp_path)


def test_other_data_are_refused(tmp_path: Path) -> None:
    store = ReinforcedStore(write(tmp_path, mixtures()))
    data = images()
    store.require(data)
    shifted = data.replace(index=data.index + 3)
    with pytest.raises(InputError, match="no records of 1 of the 40 training rows, such as 220"):
        store.require(shifted)
    brighter = data.replace(x=data.tensor.clone())
    brighter.tensor[7, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="made of other data: 1 of the 40 training rows"):
        store.require(brighter)
    with pytest.raises(InputError, match="partners that are not trained on here"):
        store.require(data[torch.arange(20)])


def test_arguments_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="records must be at least 1, got 0"):
        write(tmp_path, records=0)
    with pytest.raises(ValueError, match="top_k must be at least 1, got -1"):
        write(tmp_path, top_k=-1)
    assert files(tmp_path) == {}


def test_partners_that_nobody_knows_of_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Sequence does not say which partners it mixes in"):
        write(tmp_path, Sequence([PadCrop(1), CutMix()]))


def test_a_record_of_crop_flip_and_randaugment_takes_less_than_eighty_bytes(
    tmp_path: Path, shared_data: Path
) -> None:
    from vicinal.data.read import read_task

    task = read_task(shared_data / "cifar10-folder")
    rows = torch.arange(500)
    data = vicinal.Batch(x=task.x[rows], target=None, index=rows)
    weight = torch.randn(3072, 10, generator=torch.Generator().manual_seed(0)) / 1000
    teacher = Teacher("random", "1", lambda x: (x.float().flatten(1) @ weight).softmax(dim=1))
    reinforce(data, tmp_path, augmentation=views(), teacher=teacher, records=20, top_k=10)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size / (500 * 20) <= 80  # measured: 29
