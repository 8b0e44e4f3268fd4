"""What is refused before anything is trained, each in a line that says what to do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from vicinal.compare.request import Request, flag
from vicinal.compare.store import Store
from vicinal.core.errors import InputError
from vicinal.core.task import Task
from vicinal.data.splits import Split
from vicinal.methods.arms import BASELINE, Arm

#: Below this the results of a run may not fit.
FREE_BYTES = 64 << 20


def refuse_other_data(store: Store, task: Task, request: Request) -> None:
    """Refuse other data of the same name: its run and report would be written over."""
    if task.name not in store.run_names():
        return
    before = store.last_run(task.name)[0].task
    source, fingerprint = before["source"], before["fingerprint"]
    if fingerprint != task.fingerprint and Path(source).resolve() != Path(request.data).resolve():
        raise InputError(
            f"{store.place} holds the results of other data called {task.name} ({source}): "
            f"choose another {'--out' if request.store is None else '--store'}"
        )


def refuse_idle(request: Request, task: Task) -> None:
    """Refuse what was asked for and would change nothing."""
    if task.modality != "image":
        for name in ("crop", "flip"):
            if getattr(request, name) is not None:
                raise InputError(f"{flag(name)} does not apply to {task.name}: it holds no images")
    elif request.crop is not None and request.crop >= min(task.x.shape[-2:]):
        raise InputError(
            f"--crop must be below the side of {min(task.x.shape[-2:])} pixels, got {request.crop}"
        )
    if request.holdout is not None:
        if request.folds is not None:
            raise InputError("--holdout does not apply with --folds: leave one of them out")
        if task.test_rows is not None:
            raise InputError(
                f"--holdout does not apply to {task.name}: it brings a test part of its own"
            )


def labelled_rows(request: Request, task: Task, parts: Sequence[Split]) -> int | None:
    """How many training rows keep their labels, or None if all do."""
    count = request.labels_per_class
    if count is None:
        return None
    if task.kind != "classification":
        raise InputError(
            f"--labels-per-class does not apply to {task.name}: its rows have no class"
        )
    for part in parts:
        sizes = task.y[part.train].bincount(minlength=len(task.classes))
        fewest = int(sizes.argmin())
        if sizes[fewest] < count:
            raise InputError(
                f"--labels-per-class {count}: class {task.classes[fewest]} has "
                f"{int(sizes[fewest])} training rows; give at most that many"
            )
        if len(part.train) == count * len(task.classes):
            raise InputError(
                f"--labels-per-class {count} leaves no row of {task.name} without a label: "
                "give fewer, or leave it out"
            )
    return count * len(task.classes)


def refuse_lonely(arms: Sequence[Arm], left_out: Mapping[str, str]) -> None:
    """Refuse a comparison with nothing but the baseline, since nothing else fits."""
    if left_out and len(arms) < 2:
        named = "; ".join(f"{label}: {reason}" for label, reason in left_out.items())
        raise InputError(f"no method is left to compare with {BASELINE}: {named}")


def choose_device(device: str) -> str:
    """The device by name. Raises InputError if it is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is there; use --device cpu")
    return device


def check_folder(out: Path) -> None:
    """Make the folder of the results, and see that it can be written and has room.

    Raises:
        InputError: it cannot, or has not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise InputError(
            f"--out {out} cannot be written ({error.strerror or error}): choose another folder"
        ) from None
    if free < FREE_BYTES:
        raise InputError(
            f"--out {out} has {free >> 20} MB left on its disk, {FREE_BYTES >> 20} MB are needed: "
            "make room or choose another folder"
        )
