from __future__ import annotations

import os
import shutil
import socket
import tempfile

import numpy as np
import pytest
import torch
from PIL import Image

from vicinal.core.errors import InputError
from vicinal.data import storage
from vicinal.data.read import read_task


def test_a_folder_of_images_becomes_a_task(folder, pets):
    root = folder(pets)
    task = read_task(root)
    assert (task.name, task.modality, task.kind) == ("photos", "image", "classification")
    assert (task.classes, task.mirrors, task.test_rows) == (("cats", "dogs"), True, None)
    assert task.y.tolist() == [0] * 10 + [1] * 10
    first = torch.from_numpy(np.array(pets["cats/0.png"])).permute(2, 0, 1)
    assert torch.equal(task.x[0], first)
    assert task.notes == ("image size 12×12, as all images have",)


def test_the_test_folder_is_the_test_part(folder, pets):
    parts = {f"{'test' if '9' in name else 'train'}/{name}": image for name, image in pets.items()}
    task = read_task(str(folder(parts)))
    assert task.test_rows.tolist() == [18, 19]
    assert task.y[task.test_rows].tolist() == [0, 1]


def test_everything_odd_at_once_is_handled_and_told(folder, pets, picture, encoded):
    jpeg = encoded(picture(7, size=(90, 60)), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    task = read_task(
        folder(
            pets
            | {
                "cats/truncated.jpg": jpeg[: len(jpeg) // 2],
                "cats/text.jpg": "no picture",
                "cats/grey.png": picture(30, mode="L"),
                "cats/alpha.png": picture(31, mode="RGBA"),
                "dogs/palette.gif": picture(32, mode="P"),
                "dogs/deep.png": Image.fromarray(np.full((9, 9), 40_000, np.uint16)),
                "dogs/turned.jpg": encoded(picture(33, size=(40, 20)), "JPEG", exif=exif),
                "dogs/cmyk.jpg": picture(34, mode="CMYK"),
                "dogs/copy.png": pets["dogs/0.png"],
                "dogs/notes.txt": "words",
                "dogs/.cache": "hidden",
            }
        )
    )
    assert tuple(task.x.shape) == (27, 3, 12, 12)
    told = "\n".join(task.notes)
    for words in (
        "skipped 2 unreadable images: cats/text.jpg (not an image), cats/truncated.jpg (",
        "ignored 1 file that is no images (1 .txt)",
        "ignored 1 hidden entry",
        "image size 12×12, as most images have: 2 images scaled and cut to the centre, 1 of them",
        "2 grey images repeated over three channels",
        "1 image with transparency, laid over white",
        "1 image with more than 8 bits",
        "1 image with a palette",
        "1 image in CMYK",
        "1 image turned upright",
        "exact copies among the training rows: 1;",
    ):
        assert words in told
    assert all("\n" not in note for note in task.notes)


def test_the_fingerprint_is_of_the_contents_and_not_of_the_place_or_time(folder, pets, tmp_path):
    root = folder(pets)
    before = read_task(root).fingerprint
    shutil.copytree(root, tmp_path / "moved")
    os.utime(tmp_path / "moved" / "cats" / "0.png", (1, 1))
    assert read_task(tmp_path / "moved").fingerprint == before
    changed = Image.open(root / "cats" / "0.png")
    changed.putpixel((0, 0), (1, 2, 3))
    changed.save(root / "cats" / "0.png")
    assert read_task(root).fingerprint != before


def test_nothing_is_written_looked_up_or_printed(folder, pets, monkeypatch, capfd, tmp_path):
    def call(*arguments):
        raise AssertionError("a look-up in the network")

    monkeypatch.setattr(socket.socket, "connect", call)
    monkeypatch.setattr(socket, "getaddrinfo", call)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    root = folder(pets | {"../tables/data.csv": "a,y\n1,u\n2,v\n"})
    before = sorted(tmp_path.rglob("*"))
    read_task(root)
    read_task(root / "../tables/data.csv")
    assert sorted(tmp_path.rglob("*")) == before
    assert capfd.readouterr() == ("", "")


def test_the_global_random_state_is_not_touched(folder, pets):
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    read_task(folder(pets))
    read_task("digits")
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


def test_images_over_the_budget_are_the_same_task_on_disk(folder, pets, monkeypatch, tmp_path):
    root = folder(pets | {"cats/bad.png": "no picture"})
    in_memory = read_task(root)
    monkeypatch.setattr(storage, "MEMORY_BUDGET", 0)
    monkeypatch.setenv("VICINAL_CACHE", str(tmp_path / "cache"))
    mapped = read_task(root)
    assert (tmp_path / "cache").is_dir()
    assert mapped.fingerprint == in_memory.fingerprint
    assert torch.equal(mapped.x, in_memory.x)


def test_an_embedded_name_means_the_same_everywhere(folder, pets, monkeypatch):
    root = folder({f"digits/{name}": image for name, image in pets.items()})
    monkeypatch.chdir(root)
    task = read_task("digits")
    assert len(task) == 1797
    assert (
        task.notes[-1] == "digits is scikit-learn's; to read the path of that name, give ./digits"
    )
    assert len(read_task("./digits")) == 20
    assert len(read_task(root / "digits")) == 20
    monkeypatch.chdir(root / "digits" / "cats")
    assert read_task("..").name == "digits"
    assert read_task("digits").notes == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", "digit: no such file, folder or embedded data; did you mean digits"),
        ("nowhere/at/all", "nowhere/at/all: no such file, folder or embedded data"),
        ("", "no data given; give a folder, a table, or one of digits, breast_cancer"),
        ("photo", "no such file.*did you mean photos"),
        ("photos/cat", "no such file.*did you mean cats"),
    ],
)
def test_a_path_that_does_not_exist_offers_what_does(folder, pets, monkeypatch, source, message):
    monkeypatch.chdir(folder(pets).parent)
    with pytest.raises(InputError, match=message):
        read_task(source)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("wine", {"drop": ["ash"]}, r"--drop does not apply to wine: it is an embedded data set"),
        (
            "wine",
            {"target": "ash", "columns": ["hue"]},
            "--target and --columns do not apply to wi",
        ),
        ("wine", {"kind": "regression"}, "--kind does not apply to wine: .*, of classification"),
        ("diabetes", {"kind": "classification"}, "--kind does not apply to .*, of regression"),
        ("digits", {"image_size": 32}, "--image-size does not apply to digits"),
        ("photos", {"drop": ("a",)}, "--drop does not apply to photos: it is a folder of images"),
        ("photos", {"columns": ["a"], "target": "y"}, "--target and --columns do not apply"),
        ("photos", {"kind": "regression"}, "--kind does not apply to photos"),
        ("table.csv", {"image_size": 32}, "--image-size does not apply to table.csv: no column"),
    ],
)
def test_options_without_effect_are_refused(folder, pets, monkeypatch, source, options, message):
    monkeypatch.chdir(folder(pets | {"../table.csv": "a,y\n1,u\n2,v\n"}).parent)
    with pytest.raises(InputError, match=message) as error:
        read_task(source, **options)
    assert "\n" not in str(error.value)


def test_options_that_say_what_is_so_are_taken(folder, pets):
    assert read_task("wine", kind="classification", drop=[]).kind == "classification"
    assert read_task("diabetes", kind="regression").kind == "regression"
    assert read_task(folder(pets), kind="classification", image_size=8).x.shape[-1] == 8


def test_one_class_is_refused(folder, picture):
    root = folder({f"cats/{number}.png": picture(number) for number in range(3)})
    with pytest.raises(InputError, match=r"photos: one class \(cats\) in the training part"):
        read_task(root)


def test_no_readable_image_is_refused(folder):
    with pytest.raises(InputError, match=r"none of 2 images can be decoded.*a.png: not an image"):
        read_task(folder({"cats/a.png": "", "dogs/b.png": ""}))


def test_photographs_of_the_real_world(shared_data, tmp_path):
    for number, photo in enumerate(sorted((shared_data / "imagenet-samples").iterdir())[:12]):
        place = tmp_path / "photos" / ("even", "odd")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        os.symlink(photo, place / photo.name)
    task = read_task(tmp_path / "photos")
    assert tuple(task.x.shape) == (12, 3, 224, 224)
    assert task.x.float().std() > 30
    assert read_task(tmp_path / "photos", image_size=48).x.shape[-1] == 48


def test_the_cifar10_folder(shared_data):
    task = read_task(shared_data / "cifar10-folder")
    assert tuple(task.x.shape) == (2500, 3, 32, 32)
    assert task.y[task.test_rows].bincount().tolist() == [50] * 10
    assert task.notes == ("image size 32×32, as all images have",)
    photo = shared_data / "cifar10-folder" / "train" / "cat" / "0007.jpg"
    row = 3 * 200 + 7
    expected = np.asarray(Image.open(photo)).transpose(2, 0, 1)
    np.testing.assert_array_equal(task.x[row], expected)
