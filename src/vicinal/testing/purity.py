"""Same params, same result: `apply` is a function, and `sample` one of its draws."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.testing.failure import expect, expect_same, given
from vicinal.testing.subject import Named, Subject, described


def same_params_give_the_same_result(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)):
        params = subject.params(batch)
        first = subject.apply(batch, params)
        again = subject.apply(batch, params)
        expect_same(again, first, "the same result when the same params are applied again")
        copied = subject.apply(_copied(batch), copy.deepcopy(params))
        expect_same(copied, first, "the same result for copies of batch and params")


def same_seed_gives_the_same_params(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)):
        first, again = subject.params(batch, seed=5), subject.params(batch, seed=5)
        expect_same(again, first, "the same params from draws of the same seed")
        one, other = (
            subject.ready(batch).sample(
                batch, Draws.from_generator(torch.Generator().manual_seed(5), batch.index)
            )
            for _ in range(2)
        )
        expect_same(other, one, "the same params from generators of the same seed")


def a_call_samples_and_applies(subject: Subject) -> None:
    batch = subject.batch()
    augmentation = subject.ready(batch)
    with given(described(batch)):
        wanted = subject.result(batch)
        expect_same(augmentation(batch, draws=subject.draws(batch)), wanted, "sample, then apply")
        result, params = augmentation.augment(batch, subject.draws(batch))
        expect_same(result, wanted, "augment gives the result of sample, then apply")
        expect_same(params, subject.params(batch), "augment gives the params of sample")
    if augmentation.probes or "labels" in subject.card.needs:
        return  # the evidence travels in the batch, and so do labels
    with given(f"{described(batch)} and no labels"):
        alone = batch.replace(target=None)
        result = augmentation.apply(alone, augmentation.sample(alone, subject.draws(alone)))
        expect_same(result.x, wanted.x, "the same x as with labels")
        expect(result.target is None, "no target", "a target from nowhere")


def input_is_left_as_it_is(subject: Subject) -> None:
    batch = subject.batch()
    before = _copied(batch)
    with given(described(batch)):
        params = subject.params(batch)
        expect_same(batch, before, "sample leaves the batch as it is")
        kept = copy.deepcopy(params)
        subject.apply(batch, params)
        expect_same(batch, before, "apply leaves the batch as it is")
        expect_same(params, kept, "apply leaves the params as they are")


def global_random_state_is_not_read(subject: Subject) -> None:
    batch = subject.batch()
    with given(f"{described(batch)}, and global random states of two kinds"), _states_restored():
        _scramble(1)
        params = subject.params(batch)
        _scramble(2)
        expect_same(subject.params(batch), params, "the same params whatever the global states")
        _scramble(3)
        result = subject.apply(batch, params)
        _scramble(4)
        again = subject.apply(batch, params)
        expect_same(again, result, "the same result whatever the global states")


def global_random_state_is_not_touched(subject: Subject) -> None:
    batch = subject.batch()
    with given(described(batch)), _states_restored():
        _scramble(1)
        before = _states()
        params = subject.params(batch)
        expect_same(_states(), before, "sample leaves the global random states as they are")
        subject.apply(batch, params)
        expect_same(_states(), before, "apply leaves the global random states as they are")


def attributes_stay_as_they_are(subject: Subject) -> None:
    batch = subject.batch()
    subject = subject.fitted(batch)
    before = copy.deepcopy(vars(subject.augmentation))
    with given(described(batch)):
        params = subject.params(batch)
        expect_same(vars(subject.augmentation), before, "sample changes no attribute")
        subject.apply(batch, params)
        expect_same(vars(subject.augmentation), before, "apply changes no attribute")


def _copied(batch: Batch) -> Batch:
    copied = batch.map(lambda tensor: tensor.clone())
    if batch.pool is None:
        return copied
    return copied.replace(pool=batch.pool.map(lambda tensor: tensor.clone()))


def _states() -> dict[str, Any]:
    """The states of the three global generators on the host."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global one is what is watched
    return {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).copy()), *rest),
        "random": random.getstate(),
    }


def _scramble(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


@contextmanager
def _states_restored() -> Iterator[None]:
    """Give the user's global random states back in the end."""
    on_torch, on_random = torch.get_rng_state(), random.getstate()
    on_numpy = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(on_torch)
        np.random.set_state(on_numpy)  # noqa: NPY002
        random.setstate(on_random)


def checks(subject: Subject) -> Iterator[Named]:
    """All of them, for every augmentation."""
    for check in (
        same_params_give_the_same_result,
        same_seed_gives_the_same_params,
        a_call_samples_and_applies,
        input_is_left_as_it_is,
        global_random_state_is_not_read,
        global_random_state_is_not_touched,
        attributes_stay_as_they_are,
    ):
        yield check.__name__, check
