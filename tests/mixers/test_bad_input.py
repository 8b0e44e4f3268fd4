"""What a mixer is given and cannot use: one line says what is wrong, whichever mixer it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vicinal import Batch, CutMix, Draws, Mixer, Mixup, ResizeMix, SnapMix
from vicinal.core import registry
from vicinal.core.card import Range
from vicinal.core.probe import Probe, ask
from vicinal.core.target import ClassTarget, RegressionTarget, SoftTarget, Target
from vicinal.mixers.masks import MaskMixer, mix_by_mask
from vicinal.mixers.pairing import PERMUTATION, AnotherClass, SameClass
from vicinal.mixers.paste import PasteParams
from vicinal.testing.network import Network

ALL: list[type[Mixer]] = [
    mixer for mixer in registry.components("mixer") if mixer.__module__.startswith("vicinal.")
]
MIXERS = [mixer for mixer in ALL if mixer.card.suits("image")]
ROWS = 4


def each(mixers: list[type[Mixer]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("mixer", mixers, ids=lambda mixer: mixer.__name__)


def images(rows: int = ROWS) -> Tensor:
    return torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def labels(mixer: type[Mixer], values: Tensor) -> Target:
    """Of the kind that the mixer takes."""
    if "classes" in mixer.card.targets:
        return ClassTarget(values[:, None])
    return RegressionTarget(values.float())


def ready(mixer: type[Mixer], batch: Batch) -> tuple[Mixer, Batch]:
    """Fitted and asked as far as it has to be."""
    mix = mixer()
    batch = ask(mix.probes, {"model": Network.of(batch)}, batch)
    return (mix.fit(batch) if mix.unfitted else mix), batch


def distinct(mixer: type[Mixer]) -> tuple[Mixer, Batch]:
    return ready(mixer, Batch.of(images(), labels(mixer, torch.arange(ROWS))))


def refused(action: Callable[[], Any], *, match: str | None = None) -> None:
    """It is refused by the errors that a user's input may cause, in one line."""
    with pytest.raises((TypeError, ValueError, LookupError), match=match) as caught:
        action()
    message = str(caught.value)
    assert type(caught.value) not in (IndexError, KeyError)
    assert message
    assert "\n" not in message


def mass(target: Target | None) -> Tensor:
    assert isinstance(target, ClassTarget)
    return target.dense(ROWS)


# Little to mix.


@each(MIXERS)
def test_one_class_stays_that_class(mixer: type[Mixer]) -> None:
    ones = torch.ones(ROWS, dtype=torch.int64)
    mix, batch = ready(mixer, Batch.of(images(), labels(mixer, ones)))
    mixed = mix(batch, draws=Draws(0, batch.index))
    assert mixed.tensor.isfinite().all()
    if isinstance(mixed.target, RegressionTarget):
        torch.testing.assert_close(mixed.target.values, torch.ones(len(mixed)))
        return
    assert (mass(mixed.target)[:, [0, 2, 3]] == 0).all()
    if mixer.card.keeps_weight:
        torch.testing.assert_close(mass(mixed.target)[:, 1], torch.ones(len(mixed)))


@each(MIXERS)
def test_a_batch_of_one_is_mixed_with_itself(mixer: type[Mixer]) -> None:
    mix, batch = ready(mixer, Batch.of(images(1), labels(mixer, torch.tensor([2]))))
    mixed = mix(batch, draws=Draws(0, batch.index))
    assert mixed.tensor.shape == (1, 3, 16, 16)
    assert mixed.tensor.isfinite().all()
    assert set(mix.partners(mix.sample(batch, Draws(0, batch.index))).tolist()) == {0}


@pytest.mark.parametrize("pairing", [SameClass(), AnotherClass()], ids=repr)
def test_pairings_by_class_cope_with_one_class_and_with_one_sample(pairing: Any) -> None:
    for rows in (1, ROWS):
        batch = Batch.of(images(rows), torch.zeros(rows, dtype=torch.int64))
        partner = pairing.partner(batch, Draws(0, batch.index))
        assert partner.shape == (rows,)
        assert partner.max() < rows


# Inputs.


@each(MIXERS)
def test_values_that_are_not_finite_are_told_where_asked(mixer: type[Mixer]) -> None:
    mix, batch = distinct(mixer)
    x = batch.tensor.clone()
    x[2, 1, 3, :5] = torch.nan
    x[3, 0, 0, 0] = torch.inf
    broken = batch.replace(x=x)
    refused(lambda: mix(broken, check_finite=True), match=r"not finite: 5 of row 2, 1 of row 3$")


def test_points_are_looked_through_too() -> None:
    from vicinal.testing.samples import make_batch

    batch = make_batch("points", 3)
    batch.x["position"].values[0] = torch.nan
    first = int(batch.index[0])
    (union,) = (mixer() for mixer in ALL if mixer.card.modality == ("points",))
    refused(lambda: union(batch, check_finite=True), match=rf"not finite: 3 of row {first}$")


@each([mixer for mixer in MIXERS if "any" not in mixer.card.modality])
def test_x_of_another_rank_is_refused(mixer: type[Mixer]) -> None:
    mix, batch = distinct(mixer)
    ranks = {"volume": batch.tensor[..., None].expand(-1, -1, -1, -1, 2)}
    ranks |= {"series": batch.tensor[..., 0], "tabular": batch.tensor[..., 0, 0]}
    for modality, x in ranks.items():
        if not mixer.card.suits(modality):
            other = batch.replace(x=x)
            refused(lambda: mix(other, draws=Draws(0, batch.index)), match=r"shape|image|cells")  # noqa: B023


@each(MIXERS)
def test_x_that_is_no_tensor_is_refused(mixer: type[Mixer]) -> None:
    mix, batch = distinct(mixer)
    other = batch.replace(x={"image": batch.tensor})
    refused(lambda: mix(other, draws=Draws(0, batch.index)), match="one tensor, got dict")


@each([mixer for mixer in MIXERS if mixer().probes or mixer().unfitted])
def test_what_has_to_be_known_first_is_asked_for(mixer: type[Mixer]) -> None:
    batch = Batch.of(images(), labels(mixer, torch.arange(ROWS)))
    wanted = "fit" if mixer().unfitted else r"batch = ask\(mix.probes"
    refused(lambda: mixer()(batch), match=wanted)


# Targets.


@each(MIXERS)
@pytest.mark.parametrize(
    ("y", "error"),
    [
        (torch.rand(ROWS), "torch.float32 and shape .* pass SoftTarget"),
        (torch.ones(ROWS, dtype=torch.bool), "torch.bool and shape .* pass SoftTarget"),
        (torch.zeros(ROWS, 1, dtype=torch.int64), "can mean several things"),
        ([0, 1, 2, 3], "labels must be a tensor or a Target, got a list"),
        (np.arange(ROWS), "labels must be a tensor or a Target, got a ndarray"),
        (torch.arange(ROWS - 1), "target has 3 rows, and x 4"),
    ],
    ids=["floats", "booleans", "a column", "a list", "an array", "too few"],
)
def test_labels_that_are_not_integers_or_too_few_are_refused(
    mixer: type[Mixer], y: Any, error: str
) -> None:
    refused(lambda: mixer()(images(), y), match=error)


def pairs_of_targets() -> Iterator[tuple[Target, Target, str]]:
    three, four = torch.arange(3), torch.arange(4)
    yield Target.of(four), Target.of(three), "4 targets cannot be mixed with 3 by 4 weights"
    yield RegressionTarget(four.float()), RegressionTarget(three.float()), "4 targets .* with 3"
    yield SoftTarget(torch.eye(4)), SoftTarget(torch.eye(4)[:3]), "4 targets cannot be mixed with 3"
    yield Target.of(four), SoftTarget(torch.eye(4)), "of kind classes and soft do not mix"


@pytest.mark.parametrize(("own", "other", "error"), list(pairs_of_targets()))
def test_targets_of_different_lengths_or_kinds_do_not_mix(
    own: Target, other: Target, error: str
) -> None:
    refused(lambda: own.mix(other, torch.full((4,), 0.5)), match=error)


@each(MIXERS)
def test_params_of_other_rows_are_refused(mixer: type[Mixer]) -> None:
    mix, batch = distinct(mixer)
    params = mix.sample(batch, Draws(0, batch.index))
    strangers = mix.readdressed(params, mix.partners(params) + 100)
    refused(lambda: mix.apply(batch, strangers), match="are not in the batch or its pool")
    if len(params) == len(batch):  # others make one of several
        refused(lambda: mix.apply(batch, params[:3]))
        refused(lambda: mix.apply(batch[:3], params))


# Where and how much.


def test_boxes_outside_of_the_image_are_refused() -> None:
    boxed = set()
    for mixer in MIXERS:
        mix, batch = distinct(mixer)
        params: Any = mix.sample(batch, Draws(0, batch.index))
        if not hasattr(params, "stop"):
            continue
        boxed.add(mixer.__name__)
        for moved in ({"stop": params.stop + 17}, {"start": params.start - 17}):
            wrong = dataclasses.replace(params, **moved)
            refused(lambda: mix.apply(batch, wrong), match="does not lie in its sample of size")  # noqa: B023
    assert boxed >= {"CutMix", "GridMix", "ResizeMix", "SaliencyMix", "SMMix", "SnapMix"}


def test_boxes_of_another_number_of_axes_are_refused() -> None:
    corner = torch.zeros(ROWS, 3, dtype=torch.int64)
    params = PasteParams(torch.arange(ROWS), corner, corner + 2)
    refused(lambda: CutMix().apply(Batch.of(images()), params), match="3 axes, and the sample 2")


#: Fields of params that hold shares.
RATIOS = ("kept", "given", "lam", "weights", "share", "own")
RANGES = [
    (mixer, name, parameter)
    for mixer in ALL
    for name, parameter in mixer.card.parameters.items()
    if isinstance(parameter, Range)
]


@pytest.mark.parametrize(
    ("mixer", "name", "parameter"),
    RANGES,
    ids=[f"{mixer.__name__}-{name}" for mixer, name, _ in RANGES],
)
def test_parameters_out_of_range_are_refused_by_name(
    mixer: type[Mixer], name: str, parameter: Range
) -> None:
    low, high = (float(end) for end in parameter.valid[1:-1].split(","))
    outside: list[Any] = [math.nan, "1", True]
    outside += [low if parameter.valid[0] == "(" else low - 0.5] if math.isfinite(low) else []
    outside += [high if parameter.valid[-1] == ")" else high + 0.5] if math.isfinite(high) else []
    for value in outside:
        refused(lambda: mixer(**{name: value}), match=name)  # noqa: B023


def test_every_alpha_is_positive_and_every_share_within_0_and_1() -> None:
    valid = {(name, parameter.valid) for _, name, parameter in RANGES}
    assert {span for name, span in valid if name == "alpha"} == {"(0, inf)"}
    assert {span for name, span in valid if name in ("prob", "share")} == {"[0, 1]"}


def test_ratios_out_of_range_are_refused() -> None:
    found = set()
    for mixer in MIXERS:
        mix, batch = distinct(mixer)
        params: Any = mix.sample(batch, Draws(0, batch.index))
        ratios = {name: getattr(params, name, None) for name in RATIOS}
        for name, ratio in ratios.items():
            if not isinstance(ratio, Tensor) or mixer is SnapMix:
                continue  # whose labels weigh up to 2, where both are of one class
            found.add((mixer.__name__, name))
            for change in (-1.1, 1.1, math.nan):
                wrong = dataclasses.replace(params, **{name: ratio + change})
                error = r"must be in \[0, 1\], got"
                refused(lambda: mix.apply(batch, wrong), match=error)  # noqa: B023
    assert found >= {("Mixup", "kept"), ("KWayMixup", "weights"), ("PuzzleMix", "share")}


@pytest.mark.parametrize(
    "make",
    [
        lambda: CutMix(minmax=(0.5, 1.5)),
        lambda: CutMix(minmax=(-0.1, 0.5)),
        lambda: ResizeMix((0.0, 0.5)),
        lambda: ResizeMix((0.1, 1.1)),
        lambda: ResizeMix((0.8, 0.1)),
    ],
)
def test_pairs_of_shares_out_of_range_are_refused(make: Callable[[], Mixer]) -> None:
    refused(make, match=r"(minmax|scale) must be .* got")


# Masks.


@pytest.mark.parametrize("shape", [(ROWS, 16, 15), (ROWS, 16), (3, 16, 16), (ROWS, 3, 16, 16)])
def test_masks_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    class Mine(MaskMixer):
        def sample(self, batch: Batch, draws: Draws) -> Any:
            return Mixup().sample(batch, draws)

        def own_share(self, batch: Batch, params: Any) -> Tensor:
            return torch.ones(shape, dtype=torch.bool)

    error = r"the mask of x \(4, 3, 16, 16\) must be \(4, 16, 16\), got"
    refused(lambda: Mine(PERMUTATION)(images(), torch.arange(ROWS)), match=error)


def test_soft_masks_of_whole_numbers_are_refused() -> None:
    batch = Batch.of(images().long())
    own = torch.full((ROWS, 16, 16), 0.5)
    refused(lambda: mix_by_mask(batch, batch.index, own), match="floating point or uint8")


# Models.


class WithoutClassToken(nn.Module):
    """Patches attend to each other, and no token stands for the class."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, ROWS)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).movedim(2, 1)
        output: Tensor = self.head(self.block(tokens).mean(dim=1))
        return output


class OwnAttention(WithoutClassToken):
    """It has a class token, and attention that nothing is known of."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))


class Frozen(nn.Module):
    """Nothing in it is trained, and nothing is looked at."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :ROWS]


def answered(probe: Probe, model: nn.Module, batch: Batch) -> None:
    """As a method does it: refused in set-up, or else by the first batch."""
    probe.require(model)
    probe.answer(model, batch)


PROBING = [mixer for mixer in MIXERS if mixer().probes]


@each(PROBING)
def test_a_model_without_layers_is_refused_in_set_up(mixer: type[Mixer]) -> None:
    for probe in mixer().probes:
        refused(lambda: probe.require(Frozen()), match="model|network|layer")  # noqa: B023


@each([mixer for mixer in PROBING if mixer.card.family == "attention"])
@pytest.mark.parametrize("model", [WithoutClassToken, OwnAttention])
def test_a_transformer_without_attention_to_be_heard_is_refused(
    mixer: type[Mixer], model: type[nn.Module]
) -> None:
    batch = Batch.of(images(), torch.arange(ROWS))
    for probe in mixer().probes:
        refused(
            lambda: answered(probe, model(), batch),  # noqa: B023
            match="OwnAttention (is not heard|has a class token)|to read the mean of a feature map",
        )


def test_a_head_that_reads_all_patches_is_refused_in_set_up() -> None:
    import timm

    from vicinal.core.attention import ClassAttention
    from vicinal.core.token_scores import TokenScores

    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, depth=1, global_pool="avg"
    )
    for probe in (ClassAttention(), TokenScores()):
        refused(lambda: probe.require(model), match="global_pool='avg': set it to 'token'")  # noqa: B023
