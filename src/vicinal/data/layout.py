"""What lies where: the images of every class, or the table files of every part, below a path.

Folders are walked here and not by the `imagefolder` builder of datasets, which takes the last
folder of a path for the class, drops all labels when folders differ in depth, does not follow links
to folders, and does not tell what it passed over.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vicinal.core.errors import InputError
from vicinal.data.builders import ENDINGS

Part = Literal["train", "validation", "test"]

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".avif", ".jp2", ".tga", ".ppm", ".pgm", ".pbm", ".pnm"),
)
PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class ImageFiles:
    """Images in one folder per class, sorted by part, class and path.

    root: names are told relative to it.
    files, classes, in_test: one entry per image.
    """

    root: Path
    files: tuple[Path, ...]
    classes: tuple[str, ...]
    in_test: tuple[bool, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TableFiles:
    """Files with rows, of the training part and of the test part."""

    root: Path
    train: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Ignored:
    """Files that were passed over, by why."""

    hidden: int = 0
    outside: int = 0
    endings: Counter[str] = field(default_factory=Counter)

    def notes(self) -> Iterator[str]:
        """One line for each reason."""
        if self.hidden:
            yield f"ignored {counted(self.hidden, 'hidden entry', 'hidden entries')}"
        if self.outside:
            yield f"ignored {counted(self.outside, 'image')} outside the class folders"
        if self.endings:
            kinds = ", ".join(f"{count} {ending}" for ending, count in self.endings.most_common(6))
            total = sum(self.endings.values())
            yield f"ignored {counted(total, 'file that is', 'files that are')} no images ({kinds})"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 image`, `2 images`, `2,500 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(names: Iterable[str], *, limit: int = 8) -> str:
    """Some names in one line, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def data_name(path: Path) -> str:
    """What data are called: a file without its ending, a folder even if it is given as `.`."""
    return path.stem if path.is_file() else path.resolve().name or "data"


def find(path: Path) -> ImageFiles | TableFiles:
    """Everything to be read below an existing file or folder.

    Raises:
        InputError: there is nothing that can be read, or it is not clear what should be.
    """
    if path.is_file():
        return one_file(path)
    notes: list[str] = []
    root = inner_folder(path, notes)
    tables = table_files(root, notes)
    return image_files(root, notes, given=path) if tables is None else tables


def one_file(path: Path) -> TableFiles:
    """A file by itself."""
    ending = path.suffix.lower()
    if ending in ENDINGS:
        return TableFiles(path.parent, (path,))
    if ending in IMAGE_ENDINGS:
        raise InputError(
            f"{path}: is a single image; give the folder that holds a folder for each class"
        )
    known = ", ".join(ENDINGS)
    raise InputError(f"{path}: files with ending {ending!r} are not read; give one of {known}")


def inner_folder(root: Path, notes: list[str]) -> Path:
    """The folder that holds the data, past wrappings such as `photos/photos/` and `set/data/`."""
    given = root
    while True:
        folders, files = visible(root)
        if not folders and not files:
            raise InputError(f"{root}: is an empty folder; give a folder with images or tables")
        if len(folders) != 1 or folders[0].name.lower() in PARTS or any(map(readable, files)):
            break
        inside, below = visible(folders[0])
        if not inside and not any(file.suffix.lower() in ENDINGS for file in below):
            break
        root = folders[0]
    if root != given:
        notes.append(f"read the only folder inside: {root.relative_to(given)}")
    return root


def visible(folder: Path, ignored: Ignored | None = None) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, sorted by name, without the hidden ones.

    Raises:
        InputError: it may not be read.
    """
    folders, files = [], []
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith((".", "__MACOSX")):
                if ignored is not None:
                    ignored.hidden += 1
            # Raises as well where a folder may be listed and not entered.
            elif entry.is_dir():
                folders.append(entry)
            else:
                files.append(entry)
    except OSError as problem:
        raise InputError(
            f"{problem.filename or folder}: cannot be read ({problem.strerror}); "
            "check its permissions"
        ) from problem
    return folders, files


def readable(file: Path) -> bool:
    """Whether the ending is one of an image or a table."""
    return is_image(file) or file.suffix.lower() in ENDINGS


def is_image(file: Path) -> bool:
    """Whether the ending is an image's."""
    return file.suffix.lower() in IMAGE_ENDINGS


def table_files(root: Path, notes: list[str]) -> TableFiles | None:
    """The tables in a folder, by part, or a single one; None without any, or with image folders."""
    folders, files = visible(root)
    tables = [file for file in files if file.suffix.lower() in ENDINGS]
    if not tables or sum(any(map(is_image, walk(folder))) for folder in folders) > 1:
        return None
    parts: dict[Part, list[Path]] = {}
    others = []
    for file in tables:
        part = part_of(file.stem)
        if part is None:
            others.append(file)
        else:
            parts.setdefault(part, []).append(file)
    if "train" not in parts:
        if len(tables) == 1:
            return TableFiles(root, tuple(tables), (), tuple(notes))
        names = ", ".join(file.name for file in tables[:10])
        raise InputError(
            f"{root}: which table is to be read? give one of {names}, or call one train"
        )
    note_others(others, "table", notes)
    train, test = share_out(parts, notes)
    return TableFiles(root, tuple(train), tuple(test), tuple(notes))


def part_of(stem: str) -> Part | None:
    """The part that a file's name begins with: `train`, `train-00000-of-00002`, `val_1`."""
    word = stem.lower().replace("_", "-").replace(".", "-").split("-")[0]
    return PARTS.get(word)


def share_out(parts: dict[Part, list[Path]], notes: list[str]) -> tuple[list[Path], list[Path]]:
    """The paths of the training part and of the test part, and where a validation part went."""
    train, test = list(parts["train"]), parts.get("test", [])
    validation = parts.get("validation", [])
    if validation and test:
        notes.append(f"{validation[0].name} joins the training part, since there is a test part")
        return train + validation, test
    if validation:
        notes.append(f"{validation[0].name} serves as the test part")
    return train, validation or test


def note_others(others: Sequence[Path], noun: str, notes: list[str]) -> None:
    """Tell of what lies beside the parts and is not read."""
    if others:
        names = listed(path.name for path in others)
        notes.append(f"ignored {counted(len(others), noun)} beside train and test: {names}")


def image_files(root: Path, notes: list[str], *, given: Path) -> ImageFiles:
    """The images below a folder, class by class."""
    ignored = Ignored()
    train, test = image_parts(root, notes, ignored)
    found: list[tuple[Path, str, bool]] = []
    empty: list[str] = []
    nested: set[str] = set()
    for part, in_test in ((train, False), (test, True)):
        for part_folder in part:
            for folder in class_folders(part_folder, ignored):
                images = [file for file in walk(folder, ignored) if keep(file, ignored)]
                found += [(file, folder.name, in_test) for file in images]
                if not images:
                    empty.append(folder.name)
                elif any(file.parent != folder for file in images):
                    nested.add(folder.name)
    if not found:
        raise InputError(f"{given}: {nothing_found(ignored)}")
    if empty:
        notes.append(f"ignored {counted(len(empty), 'folder')} without images: {listed(empty)}")
    if nested:
        names = listed(sorted(nested))
        notes.append(f"the classes are the outer folders; some have folders inside: {names}")
    files, classes, in_test_part = zip(*found, strict=True)
    return ImageFiles(root, files, classes, in_test_part, (*notes, *ignored.notes()))


def image_parts(root: Path, notes: list[str], ignored: Ignored) -> tuple[list[Path], list[Path]]:
    """The folders of the training part and of the test part; the folder itself without parts."""
    folders, files = visible(root)
    parts: dict[Part, list[Path]] = {}
    others = []
    for folder in folders:
        part = PARTS.get(folder.name.lower())
        # A class may be called `train` as well: a part has folders inside.
        if part is not None and visible(folder)[0]:
            parts.setdefault(part, []).append(folder)
        else:
            others.append(folder)
    if "train" not in parts:
        return [root], []
    visible(root, ignored)
    for file in files:
        ignored.outside += keep(file, ignored)
    note_others(others, "folder", notes)
    return share_out(parts, notes)


def class_folders(part: Path, ignored: Ignored) -> list[Path]:
    """The folders of the classes in a part; what lies beside them is counted as ignored."""
    folders, files = visible(part, ignored)
    for file in files:
        ignored.outside += keep(file, ignored)
    return folders


def keep(file: Path, ignored: Ignored) -> bool:
    """Whether a file is an image by its ending; counted as ignored if not."""
    if not is_image(file):
        ignored.endings[file.suffix.lower() or "without ending"] += 1
        return False
    return True


def walk(
    folder: Path, ignored: Ignored | None = None, above: Sequence[Path] = ()
) -> Iterator[Path]:
    """Every visible file below a folder, links followed, but never round in a circle."""
    here = Path(os.path.realpath(folder))
    if here in above:
        return
    folders, files = visible(folder, ignored)
    yield from files
    for inner in folders:
        yield from walk(inner, ignored, (*above, here))


def nothing_found(ignored: Ignored) -> str:
    """Why a folder gives no images in class folders, and what to do."""
    if ignored.outside:
        images = counted(ignored.outside, "image")
        return f"has {images} but no folder for each class; sort them into folders"
    others = ", ".join(f"{count} {ending}" for ending, count in ignored.endings.most_common(6))
    return f"holds no images ({others or 'only folders'}); give a folder with one for each class"
