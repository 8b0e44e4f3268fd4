"""Reading a user's data into a task."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vicinal.core.errors import InputError, nearest
from vicinal.core.task import Task
from vicinal.data.assemble import Found, assemble
from vicinal.data.builders import quiet
from vicinal.data.embedded import EMBEDDED, read_embedded
from vicinal.data.images import read_images
from vicinal.data.layout import ImageFiles, data_name, find
from vicinal.data.tables import read_table
from vicinal.data.targets import check_kind, class_labels


def read_task(
    source: str | Path,
    *,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    image_size: int | None = None,
    kind: str | None = None,
) -> Task:
    """Read and check data.

    A source is one of

    - the name of data in scikit-learn (`digits`, `breast_cancer`, `wine`, `diabetes`). It means the
      same wherever it is typed: a file or folder of that name is read as `./digits` or a `Path`;
    - a folder with a folder of images for each class, or with `train` and `test` folders of these.
      A `validation` folder is the test part if there is no other, and joins the training part if
      there is;
    - a Parquet, CSV, TSV or JSON lines file, or a folder with `train` and `test` files, with a
      target column and either numeric columns or one of images (bytes, or paths).

    Nothing is written beside the data, and no network is used.

    Args:
        source: a name or a path.
        target: the column to be predicted; needed unless a single column is called label, target,
            class or y, or is declared as class labels.
        columns: those to predict from; all others by default.
        drop: columns to leave out.
        image_size: side of the square that images are scaled and cut to, 8 to 1024; by default as
            they are if all are alike and not above 224, and otherwise from their median size.
        kind: `classification` or `regression`; by default as `vicinal.data.targets` says.

    Raises:
        InputError: there are no such data, they cannot be used, or an option has no meaning for
            them; the message says what to do.
    """
    goal = check_kind(kind)
    chosen = {"target": target, "columns": columns, "drop": tuple(drop)}
    if source in EMBEDDED:
        task = read_embedded(str(source))
        asked = None if goal == task.kind else goal
        what = f"{source}: it is an embedded data set, of {task.kind}"
        refuse_options(chosen | {"kind": asked, "image-size": image_size}, what)
        if Path(source).exists():
            note = f"{source} is scikit-learn's; to read the path of that name, give ./{source}"
            task = replace(task, notes=(*task.notes, note))
        return task
    path = Path(source).expanduser()
    check_exists(path, str(source))
    files = find(path)
    if isinstance(files, ImageFiles):
        asked = None if goal == "classification" else goal
        refuse_options(chosen | {"kind": asked}, f"{source}: it is a folder of images by class")
        return assemble(read_image_files(files, where=path, image_size=image_size))
    with tempfile.TemporaryDirectory(prefix="vicinal-", ignore_cleanup_errors=True) as cache:
        found = read_table(
            files,
            where=path,
            cache=Path(cache),
            target=target,
            columns=columns,
            drop=drop,
            image_size=image_size,
            kind=goal,
        )
    return assemble(found)


def refuse_options(given: Mapping[str, object], what: str) -> None:
    """Refuse options that would have no effect.

    Args:
        given: by name; None or empty if it was not given.
        what: the data, and what they are.

    Raises:
        InputError: one was given.
    """
    names = [f"--{name}" for name, value in given.items() if value is not None and value != ()]
    if names:
        verb = "does" if len(names) == 1 else "do"
        raise InputError(f"{' and '.join(names)} {verb} not apply to {what}")


def check_exists(path: Path, given: str) -> None:
    """Refuse a path that is not there, with the nearest names that are.

    Raises:
        InputError: there is no such file or folder, or it may not be looked at.
    """
    if not given:
        raise InputError(f"no data given; give a folder, a table, or one of {', '.join(EMBEDDED)}")
    try:
        if path.exists():
            return
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as problem:
        raise InputError(
            f"{given}: cannot be read ({problem.strerror}); check its permissions"
        ) from problem
    near = difflib.get_close_matches(path.name, beside, cutoff=0.5)
    raise InputError(
        f"{given}: no such file, folder or embedded data; {nearest(path.name, [*EMBEDDED, *near])}"
    )


def read_image_files(files: ImageFiles, *, where: Path, image_size: int | None) -> Found:
    """The images of every class."""
    import datasets

    with quiet():
        rows = datasets.Dataset.from_dict(
            {"image": [str(file.absolute()) for file in files.files]},
            features=datasets.Features({"image": datasets.Image(decode=False)}),
        )
    images = read_images(
        rows,
        root=files.root,
        name=lambda row: str(files.files[row].relative_to(files.root)),
        image_size=image_size,
    )
    return Found(
        name=data_name(where),
        where=str(where),
        modality="image",
        x=images.x,
        labels=class_labels(files.classes),
        in_test=np.array(files.in_test),
        read=images.read,
        notes=files.notes + images.notes,
    )
