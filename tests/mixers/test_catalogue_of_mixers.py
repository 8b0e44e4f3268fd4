"""All mixers that are registered, held to what the catalogue promises of each.

One that is added later is covered as it is.
"""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from vicinal import Batch, Draws, Mixer
from vicinal.core import registry
from vicinal.core.activation import LastFeatureMap
from vicinal.core.method import Method
from vicinal.core.params import Params
from vicinal.core.probe import ask
from vicinal.core.target import ClassTarget, RegressionTarget, Target
from vicinal.models.small_resnet import SmallResNet

ROWS, CLASSES = 4, 3
MIXERS: list[type[Mixer]] = [
    mixer for mixer in registry.components("mixer") if mixer.__module__.startswith("vicinal.")
]
OF_IMAGES = [mixer for mixer in MIXERS if mixer.card.suits("image")]
METHODS = [method for method in registry.components("method") if method.card.mixes]

#: Every row of OpenMixup's list, and the two that it names without having them, by their names
#: here. Those that train a network, or say what labels become, are methods; AugMix is a transform.
BY_NAME = {
    "AdAutoMix": "adautomix",
    "AlignMix": "alignmix",
    "AttentiveMix+": "attentivemix",
    "AugMix": "augmix",
    "AutoMix": "automix",
    "Co-Mixup": "co_mixup",
    "CutMix": "cutmix",
    "DecoupledMix": "decoupled_mixup",
    "FMix": "fmix",
    "GridMix": "gridmix",
    "GuidedMixup": "guidedmixup",
    "ManifoldMix": "manifold_mixup",
    "MergeMix": "mergemix",
    "MixPro": "mixpro",
    "Mixup": "mixup",
    "PuzzleMix": "puzzlemix",
    "RecursiveMix": "recursivemix",
    "ResizeMix": "resizemix",
    "SAMix": "samix",
    "SaliencyMix": "saliencymix",
    "SMMix": "smmix",
    "SmoothMix": "smoothmix",
    "SnapMix": "snapmix",
    "SUMix": "sumix",
    "TL-Align": "tl_align",
    "TokenMix": "tokenmix",
    "TransMix": "transmix",
}
#: Whose labels are not weighed by area, and by what they are.
OTHER_LABELS = {
    "BalancedMixup": "by how rare the classes are, too",
    "SnapMix": "by the share of the class activation that is shown; two such need not sum to one",
    "TokenMix": "by the share of the attention that is shown; two such need not sum to one",
}
by_area = [mixer for mixer in OF_IMAGES if mixer.__name__ not in OTHER_LABELS]
static = [mixer for mixer in OF_IMAGES if "uint8" in mixer.card.dtypes]
each_size = pytest.mark.parametrize("side", [32, 224])


def each(mixers: list[type[Mixer]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("mixer", mixers, ids=lambda mixer: mixer.__name__)


@functools.cache
def networks(side: int) -> tuple[nn.Module, nn.Module]:
    """A vision transformer with a class token, and a convolutional network; nothing is trained."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = timm.create_model(
            "vit_tiny_patch16_224", img_size=side, patch_size=side // 8, depth=2, num_classes=ROWS
        )
        return transformer, SmallResNet((3, side, side), ROWS)


@functools.cache
def images(side: int) -> Tensor:
    """Levels of 0 to 255; each image has a bright corner of its own."""
    generator = torch.Generator().manual_seed(side)
    x = torch.randint(0, 128, (ROWS, 3, side, side), generator=generator)
    half = side // 2
    for row in range(ROWS):
        top, left = row // 2 * half, row % 2 * half
        x[row, :, top : top + half, left : left + half] += 100
    return x


def labels(mixer: type[Mixer]) -> Target:
    rows = torch.arange(ROWS)
    if "classes" in mixer.card.targets:
        return Target.of(rows % CLASSES)
    return RegressionTarget(rows.float())


def asked(mix: Mixer, batch: Batch, side: int) -> Batch:
    """With what a network says: the transformer, where it is attention that is asked for."""
    transformer, convolutional = networks(side)
    maps = any(isinstance(probe, LastFeatureMap) for probe in mix.probes)
    model = transformer if mix.card.family == "attention" and not maps else convolutional
    return ask(mix.probes, {"model": model}, batch)


def drawn(mixer: type[Mixer], side: int, dtype: torch.dtype = torch.float32) -> tuple[Mixer, Batch]:
    """The mixer and a batch, both ready: fitted, and asked of the network that suits it."""
    mix = mixer()
    x = images(side)
    batch = Batch.of(x.to(dtype) if dtype == torch.uint8 else x.to(dtype) / 255, labels(mixer))
    batch = batch.replace(evidence=asked(mix, batch.replace(x=x.float() / 255), side).evidence)
    return (mix.fit(batch) if mix.unfitted else mix), batch


@pytest.mark.parametrize("name", BY_NAME.values(), ids=BY_NAME)
def test_every_mixer_of_openmixup_is_built_by_its_name(name: str) -> None:
    component = registry.find(name, kinds=("mixer", "method", "transform"))
    assert component().card.name == name


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_methods_that_mix_are_built_without_settings(method: type[Method]) -> None:
    built = method()
    assert built.card is method.card
    assert built.card.labels == "mixed"


@each(OF_IMAGES)
@each_size
def test_a_mixer_gives_images_of_the_same_size_and_a_valid_target(
    mixer: type[Mixer], side: int
) -> None:
    mix, batch = drawn(mixer, side)
    mixed, params = mix.augment(batch, Draws(0, batch.index))
    assert mixed.tensor.shape[1:] == (3, side, side)
    assert mixed.tensor.dtype == torch.float32
    assert -1e-6 <= float(mixed.tensor.min()) <= float(mixed.tensor.max()) <= 1 + 1e-6
    same = (mix.partners(params).view(len(mixed), -1) == mixed.index[:, None]).all()
    assert torch.equal(mixed.tensor, batch.take(mixed.index).tensor) == bool(same)
    if isinstance(mixed.target, RegressionTarget):
        assert float(mixed.target.values.min()) >= 0
        assert float(mixed.target.values.max()) <= ROWS - 1
        return
    assert isinstance(mixed.target, ClassTarget)
    weights = mixed.target.dense(CLASSES)
    assert float(weights.min()) >= 0
    if mixer.card.keeps_weight:
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(mixed)))


@each(OF_IMAGES)
@each_size
def test_a_stored_table_of_params_gives_the_same_again(mixer: type[Mixer], side: int) -> None:
    mix, batch = drawn(mixer, side)
    mixed, params = mix.augment(batch, Draws(1, batch.index))
    again = mix.apply(batch, Params.from_arrow(params.to_arrow()))
    assert torch.equal(again.tensor, mixed.tensor)
    assert again.target is not None
    assert again.target.equal(mixed.target)


@each(static)
@each_size
def test_bytes_are_mixed_as_numbers_are_and_rounded(mixer: type[Mixer], side: int) -> None:
    mix, batch = drawn(mixer, side, torch.uint8)
    mixed, params = mix.augment(batch, Draws(2, batch.index))
    assert mixed.tensor.dtype == torch.uint8
    exact = mix.apply(batch.replace(x=batch.tensor.double()), params)
    assert float((mixed.tensor - exact.tensor).abs().max()) <= 0.5 + 1e-3
    assert mixed.target is not None
    assert mixed.target.equal(exact.target)


@each(by_area)
@each_size
def test_ones_mixed_with_zeros_are_the_mask_and_labels_weigh_its_mean(
    mixer: type[Mixer], side: int
) -> None:
    mix, batch = drawn(mixer, side)
    rows = torch.arange(ROWS)
    # In channel i the image i is one and the others are zero: it shows the mask of image i.
    x = torch.eye(ROWS)[:, :, None, None].expand(-1, -1, side, side).contiguous()
    for seed in range(3):
        params = mix.sample(batch, Draws(seed, batch.index))
        mixed = mix.apply(Batch.of(x, Target.of(rows)), params)
        assert isinstance(mixed.target, ClassTarget)
        masks = mixed.tensor
        mean = masks.mean(dim=(2, 3), dtype=torch.float64)
        weights = mixed.target.dense(ROWS)
        # A single pixel would be 2e-5 of the largest image.
        hard = bool(((masks == 0) | (masks == 1)).all())
        atol = 1e-7 if hard else 1e-6
        torch.testing.assert_close(weights.double(), mean, rtol=0, atol=atol)


def test_the_exceptions_are_registered_and_are_exceptions() -> None:
    assert {mixer.__name__ for mixer in OF_IMAGES} >= OTHER_LABELS.keys()
    for mixer in OF_IMAGES:
        assert mixer.card.keeps_weight or mixer.__name__ in OTHER_LABELS


def test_all_but_those_of_other_samples_are_tried_on_images() -> None:
    left_out = [mixer for mixer in MIXERS if mixer not in OF_IMAGES]
    assert {mixer.card.modality for mixer in left_out} == {("points",)}
