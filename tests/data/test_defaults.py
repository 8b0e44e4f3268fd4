from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.task import Task
from vicinal.data.defaults import choose
from vicinal.data.embedded import rooms


def images(side=32, *, mirrors=True):
    x = torch.zeros(4, 3, side, side, dtype=torch.uint8)
    y = torch.tensor([0, 1, 0, 1])
    return Task("photos", "image", "classification", x, y, classes=("a", "b"), mirrors=mirrors)


def table():
    return Task("rows", "tabular", "regression", torch.zeros(4, 2), torch.zeros(4))


def test_a_slice_of_cifar10_trains_in_about_nine_hundred_steps_and_digits_in_three_hundred():
    assert choose(images(8), 1438).epochs * (1438 // 64) == 308
    choices = choose(images(), 2000)
    assert (choices.model, choices.crop, choices.flip) == ("small-resnet", 4, True)
    assert (choices.batch_size, choices.epochs) == (64, 30)
    assert (choices.optimiser, choices.learning_rate) == ("sgd", 0.05)


def test_digits_are_cropped_by_a_pixel_and_not_mirrored():
    choices = choose(images(8, mirrors=False), 1438)
    assert (choices.crop, choices.flip) == (1, False)
    assert "may mean something else" in choices.reasons["flip"]


def test_tables_get_a_perceptron_and_no_crop():
    choices = choose(table(), 455)
    assert (choices.model, choices.optimiser, choices.crop, choices.flip) == (
        "mlp",
        "adamw",
        0,
        False,
    )
    assert choose(table(), 455, model="mine:make").optimiser == "adamw"


@pytest.mark.parametrize(
    "name", ["small-vit", "vit_tiny_patch16_224", "swin_tiny", "mixer_s16_224"]
)
def test_attention_gets_adamw_and_a_low_rate(name):
    choices = choose(images(), 2000, model=name)
    assert (choices.model, choices.optimiser) == (name, "adamw")
    assert choices.learning_rate <= 2e-3
    assert choices.reasons["model"] == "as asked for"
    assert choose(images(), 2000, model="resnet18").optimiser == "sgd"


@given(st.integers(1, 2_000_000), st.booleans())
def test_choices_are_usable_for_data_of_any_size(train_size, image):
    choices = choose(images() if image else table(), train_size)
    assert 1 <= choices.batch_size <= min(128, train_size)
    assert 10 <= choices.epochs <= 60
    assert choices.learning_rate > 0
    steps = choices.epochs * max(1, train_size // choices.batch_size)
    # More data never mean fewer steps than enough, but for what is tiny.
    assert steps >= (600 if image else 250) or train_size < 200


def test_every_choice_has_a_reason_in_one_line():
    for task in (images(), table(), replace(images(), mirrors=False)):
        choices = choose(task, 500)
        assert set(choices.reasons) == set(vars(choices)) - {"reasons"}
        assert all(reason and "\n" not in reason for reason in choices.reasons.values())


def test_a_training_part_without_rows_is_a_programming_error():
    with pytest.raises(ValueError, match="train_size must be positive, got 0"):
        choose(table(), 0)


def test_a_learning_rate_follows_the_optimiser_and_batch_size_that_are_given():
    assert choose(images(), 2000, batch_size=32).learning_rate == 0.025
    assert choose(images(), 2000, optimiser="adamw").learning_rate < 0.01
    assert choose(table(), 455, optimiser="sgd").learning_rate == 0.0025


def test_what_is_given_is_taken_and_said_to_be_asked_for():
    choices = choose(images(), 2000, epochs=3, flip=False, weight_decay=0.0)
    assert (choices.epochs, choices.flip, choices.weight_decay) == (3, False, 0.0)
    asked = {name for name, why in choices.reasons.items() if why == "as asked for"}
    assert asked == {"epochs", "flip", "weight_decay"}


def test_a_batch_is_never_larger_than_the_data_and_says_so():
    choices = choose(table(), 142, batch_size=100_000)
    assert choices.batch_size == 142
    assert "no more" in choices.reasons["batch_size"]


def test_what_is_said_of_mirroring_is_what_is_done():
    """Scenes of points are turned and mirrored whatever is asked for; tables never are."""
    assert "turned about z and mirrored" in choose(rooms(), 120).reasons["flip"]
    assert "not mirrored" in choose(table(), 100).reasons["flip"]
