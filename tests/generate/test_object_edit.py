"""Edited objects are still what they were, whoever edits them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.errors import InputError
from vicinal.generate.object_edit import DiffusionEdit, ObjectEdit


def objects(count: int = 6, channels: int = 3) -> Tensor:
    """Discs of one colour, black and transparent around."""
    place = torch.arange(32) - 15.5
    inside = place[:, None] ** 2 + (place - 4) ** 2 < 8**2
    colour = torch.tensor([200, 120, 60], dtype=torch.uint8)[:channels]
    x = torch.zeros(count, channels + 1, 32, 32, dtype=torch.uint8)
    x[:, :-1] = colour[:, None, None] * inside
    x[:, -1] = inside * 255
    return x


def edited(edit: ObjectEdit | DiffusionEdit, x: Tensor, seed: int = 0) -> Tensor:
    batch = Batch.of(x[:, :-1], torch.arange(len(x)) % 2)
    return edit(x, batch, Draws(seed, batch.index))


def middle(opacity: Tensor) -> Tensor:
    mass = opacity.double().sum(dim=(1, 2))
    place = torch.arange(32)
    across = (opacity.double().sum(dim=1) * place).sum(dim=1) / mass
    down = (opacity.double().sum(dim=2) * place).sum(dim=1) / mass
    return torch.stack([down, across], dim=1)


def test_without_strength_nothing_changes() -> None:
    x = objects()
    assert torch.equal(edited(ObjectEdit(0.0), x), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_edit_moves_and_recolours_a_little(channels: int) -> None:
    x = objects(200, channels)
    made = edited(ObjectEdit(0.3), x)
    assert (made.dtype, made.shape) == (x.dtype, x.shape)
    assert not (made == x).flatten(1).all(dim=1).any()
    area = made[:, -1].double().sum(dim=(1, 2)) / x[:, -1].double().sum(dim=(1, 2))
    assert 0.6 < area.min() < 0.97
    assert 1.03 < area.max() < 1.6
    assert (middle(made[:, -1]) - middle(x[:, -1])).abs().max() < 3


def test_no_dark_rim_is_bent_into_an_object_of_one_colour() -> None:
    made = edited(ObjectEdit(0.5), objects(100))
    for one in made:
        inside = one[-1] > 20
        spread = one[:3, inside].float().amax(dim=1) - one[:3, inside].float().amin(dim=1)
        assert spread.max() <= 2


def test_an_edit_is_the_row_s_own() -> None:
    x = objects()
    batch = Batch.of(x[:, :-1])
    draws = Draws(3, batch.index)
    some = torch.tensor([4, 1])
    whole = ObjectEdit()(x, batch, draws)
    assert torch.equal(ObjectEdit()(x[some], batch[some], draws[some]), whole[some])
    assert not torch.equal(whole, ObjectEdit()(x, batch, Draws(4, batch.index)))


class Pipeline:
    """Takes what an image-to-image pipeline of diffusers takes, and darkens."""

    def __init__(self, name: str) -> None:
        if name == "absent":
            raise OSError("absent is not a local folder\nand more")
        self.asked: dict[str, Any] = {}
        self.tokens = ""

    def to(self, device: str) -> Pipeline:
        return self

    def load_textual_inversion(self, tokens: str) -> None:
        self.tokens = tokens

    def set_progress_bar_config(self, *, disable: bool) -> None:
        assert disable

    def __call__(self, **asked: Any) -> SimpleNamespace:
        self.asked = asked
        return SimpleNamespace(images=asked["image"] * 0.5)


@pytest.fixture
def diffusers(monkeypatch: pytest.MonkeyPatch) -> list[Pipeline]:
    """A stand-in with the interface of diffusers, since its weights are not at hand."""
    made: list[Pipeline] = []

    class AutoPipelineForImage2Image:
        @staticmethod
        def from_pretrained(name: str, *, use_safetensors: bool) -> Pipeline:
            assert use_safetensors
            made.append(Pipeline(name))
            return made[-1]

    module = ModuleType("diffusers")
    module.AutoPipelineForImage2Image = AutoPipelineForImage2Image  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", module)
    return made


def test_a_diffusion_model_sees_the_object_on_grey_and_opacity_stays(
    diffusers: list[Pipeline],
) -> None:
    edit = DiffusionEdit("model", classes=("cat", "dog"), tokens="learnt", side=48, strength=0.25)
    x = objects()
    made = edited(edit, x)
    (pipeline,) = diffusers
    assert pipeline.tokens == "learnt"
    assert pipeline.asked["prompt"] == ["a photo of a cat", "a photo of a dog"] * 3
    assert pipeline.asked["strength"] == 0.25
    image = pipeline.asked["image"]
    assert image.shape == (6, 3, 48, 48)
    torch.testing.assert_close(image[:, :, 0, 0], torch.full((6, 3), 0.5))
    assert torch.equal(made[:, -1], x[:, -1])
    assert (made[:, :3, 15, 20].int() - x[:, :3, 15, 20].int() // 2).abs().max() <= 1
    seeds = [generator.initial_seed() for generator in pipeline.asked["generator"]]
    assert len(set(seeds)) == 6
    edited(edit, x[[2, 2]])
    again = [generator.initial_seed() for generator in pipeline.asked["generator"]]
    assert again == seeds[:2]  # of the row and its draw, not of the object


def test_what_diffusion_lacks_is_said_in_a_line(
    diffusers: list[Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InputError, match="the model absent cannot be loaded: absent is not a local"
    ):
        DiffusionEdit("absent")
    with pytest.raises(ValueError, match="colour images, got 1 channels"):
        edited(DiffusionEdit("model"), objects(channels=1))
    with pytest.raises(ValueError, match=r"strength must be in \(0, 1\]"):
        DiffusionEdit("model", strength=0)
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\]"):
        ObjectEdit(1.5)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"install vicinal\[generate\]"):
        DiffusionEdit("model")
