"""From a user's data and a trained teacher to a reinforced dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from vicinal.compare.comparison import HOLDOUT
from vicinal.compare.trial import make_baseline
from vicinal.core.augmentation import Augmentation, Mixer
from vicinal.core.batch import Batch
from vicinal.core.errors import InputError
from vicinal.core.target import ClassTarget
from vicinal.core.task import Task
from vicinal.data.reinforced import Teacher, ensemble, reinforce
from vicinal.data.splits import splits
from vicinal.data.standardise import Standardise
from vicinal.methods.arms import parse_arms
from vicinal.mixers.with_partners import WithPartners

WEIGHTS = ".safetensors"


def reinforce_data(
    source: str,
    out: str,
    *,
    teachers: Sequence[str],
    augment: str = "randaugment",
    mix: str | None = None,
    records: int = 20,
    top_k: int = 10,
    seed: int = 0,
    holdout: float | None = None,
    target: str | None = None,
    image_size: int | None = None,
    crop: int | None = None,
    flip: bool | None = None,
    on_shard: Callable[[int, int], None] | None = None,
) -> int:
    """Write a store of the training rows of some data, as `vicinal compare` would split them.

    Args:
        source: the data, as `read_task` takes them.
        out: folder of the store; what is missing of it is made.
        teachers: `MODEL:weights.safetensors`, one or more; their probabilities are averaged. They
            take inputs standardised by the training rows.
        augment: transforms and policies, applied one after the other, after crop and flip; may be
            empty.
        mix: a mixer, for samples and partners that all of this was done to.
        records: of each row.
        top_k: classes kept of each.
        seed: of the augmentations.
        holdout: share held out where the data bring no test part.
        target: the column to be predicted, of a table.
        image_size: side of the images in pixels; None leaves it to the data.
        crop: padding of the random crop in pixels, 0 for none; None leaves it to the data.
        flip: whether images are mirrored at random; None leaves it to the data.
        on_shard: see `reinforce`.

    Returns:
        The number of records.

    Raises:
        InputError: something in the data or the arguments cannot be used.
    """
    from vicinal.data.defaults import choose
    from vicinal.data.read import read_task

    if not teachers:
        raise InputError(f"no teacher: give --teacher MODEL:weights{WEIGHTS}")
    task = read_task(source, target=target, image_size=image_size)
    if task.kind != "classification":
        raise InputError(f"{task.name} is a {task.kind}: a store keeps a teacher's classes of rows")
    rows = splits(task, holdout=HOLDOUT if holdout is None else holdout)[0].train
    choices = choose(task, len(rows), crop=crop, flip=flip)
    standardise = Standardise.fit(task.x, rows)
    try:
        reinforce(
            Batch(x=task.x[rows], target=ClassTarget(task.y[rows][:, None]), index=rows),
            out,
            augmentation=_augmentation(task, choices.crop, choices.flip, augment=augment, mix=mix),
            teacher=_teacher(teachers, task, standardise),
            records=records,
            top_k=top_k,
            seed=seed,
            name=task.name,
            on_shard=on_shard,
        )
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from None
    return len(rows) * records


def _augmentation(
    task: Task, crop: int, flip: bool, *, augment: str, mix: str | None
) -> Augmentation:
    from vicinal.transforms.sequence import Sequence as Applied

    baseline = make_baseline(task, crop=crop, flip=flip)
    parts: list[Augmentation] = [] if baseline is None else [baseline]
    for arm in parse_arms(augment) if augment.strip(", ") else []:
        built = arm.build()
        if not isinstance(built, Augmentation) or isinstance(built, Mixer):
            raise InputError(f"--augment {arm.label}: it is no transform or policy")
        if (reason := arm.unfit(task)) is not None:
            raise InputError(f"--augment {arm.label}: {reason}")
        parts.append(built)
    raw = Applied(parts) if parts else None
    if mix is None:
        if raw is None:
            raise InputError("nothing to augment with: give --augment or --mix")
        return raw
    (arm,) = parse_arms(mix)[:1]
    mixer = arm.build()
    if not isinstance(mixer, Mixer):
        raise InputError(f"--mix {arm.label}: it is no mixer")
    return WithPartners(mixer, raw)


def _teacher(names: Sequence[str], task: Task, prepare: Standardise) -> Teacher:
    networks = [_network(name, task) for name in names]
    return ensemble(networks, prepare=prepare, name=", ".join(names))


def _network(name: str, task: Task) -> nn.Module:
    """A model with weights from a file. name: `MODEL:weights.safetensors`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from vicinal.models.build import build_model

    model, _, weights = name.rpartition(":")
    if not model or not weights.endswith(WEIGHTS):
        raise InputError(f"--teacher {name}: it must be written MODEL:weights{WEIGHTS}")
    network = build_model(model, input_shape=tuple(task.x.shape[1:]), outputs=task.outputs, seed=0)
    try:
        network.load_state_dict(load_file(Path(weights).expanduser()))
    except (OSError, SafetensorError) as error:
        raise InputError(f"--teacher {name}: {weights} cannot be read: {error}") from None
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise InputError(f"--teacher {name}: the weights are of another model: {first}") from None
    return network.requires_grad_(False)
